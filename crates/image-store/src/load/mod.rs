//! Archives of images: Docker's in all its ages, and OCI layouts, as any program writes them.
//!
//! The archive is taken in member by member, because its table of contents may come last. Only what the table names is
//! kept.

mod archive;
mod docker;
mod install;
mod oci;
mod unpack;

use crate::{ImageId, ImageStore, Progress};
use archive::Spooled;
use gantry_model::{Error, Platform, Reference, Result};
use install::Installer;
use std::io::Read;

/// Bytes of a table of contents.
const MAX_MANIFEST: u64 = 4 << 20;
/// Bytes of an image's document.
const MAX_DOCUMENT: u64 = 8 << 20;
/// Images of an archive.
const MAX_IMAGES: usize = 1000;

/// An image that came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image.
    pub id: ImageId,
    /// The names it got.
    pub names: Vec<Reference>,
}

/// An image as an archive's table describes it.
struct Described {
    /// The member that is its document.
    document: Vec<u8>,
    /// The members that are its layers, the lowest first.
    layers: Vec<Vec<u8>>,
    /// Docker's archives have none.
    manifest: Option<OwnManifest>,
    parent: Option<ImageId>,
    names: Vec<Reference>,
}

/// The manifest that an image came with.
#[derive(Clone)]
struct OwnManifest {
    member: Vec<u8>,
    media_type: String,
}

impl ImageStore {
    /// Loads every image of the archive in `body`, which may be compressed as a whole. Where it has an image for
    /// several platforms, the one for `platform` is taken, or for this machine.
    pub fn load(
        &self,
        body: &mut dyn Read,
        platform: Option<&Platform>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        let describe = |archive: &Spooled| describe(archive, platform);
        let (mut spooled, described) = Spooled::read(&self.inner, body, describe, progress)?;
        let mut loaded = Vec::new();
        for image in described {
            loaded.push(Installer { store: self, spooled: &mut spooled, platform, progress }.install(image)?);
        }
        Ok(loaded)
    }
}

fn describe(archive: &Spooled, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let described = if archive.contains(docker::TABLE.as_bytes()) {
        docker::describe(archive, platform)?
    } else if archive.contains(oci::TABLE.as_bytes()) {
        oci::describe(archive, platform)?
    } else {
        return Err(Error::invalid("invalid archive: it has neither manifest.json nor index.json"));
    };
    if described.len() > MAX_IMAGES {
        return Err(invalid(format_args!("it has more than {MAX_IMAGES} images")));
    }
    Ok(described)
}

/// An error about the archive's contents.
fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("invalid archive: {what}"))
}

/// There is an image, but for other machines.
fn other_platform(name: impl std::fmt::Display, wanted: &Platform) -> Error {
    Error::invalid(format!(
        "image with reference {name} was found but does not provide the specified platform ({wanted})"
    ))
}
