//! Archives of images: Docker's in all its ages, and OCI layouts, as any program writes them.
//!
//! The archive is spooled member by member under its digests first, because its table of contents may come last. Only
//! what the table names is kept.

mod archive;
mod docker;
mod install;
mod oci;

use crate::{ImageId, ImageStore, Progress};
use archive::Spooled;
use gantry_model::{Error, Reference, Result};
use install::Installer;
use std::io::Read;

/// Bytes of a table of contents.
const MAX_MANIFEST: u64 = 4 << 20;
/// Bytes of an image's document.
const MAX_DOCUMENT: u64 = 8 << 20;

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
    /// The member that is its manifest; Docker's archives have none.
    manifest: Option<Vec<u8>>,
    parent: Option<ImageId>,
    names: Vec<Reference>,
}

impl ImageStore {
    /// Loads every image of the archive in `body`, which may be compressed as a whole.
    pub fn load(&self, body: &mut dyn Read, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Loaded>> {
        let mut spooled = Spooled::read(&self.inner, body, progress)?;
        let described = if spooled.contains(docker::TABLE) {
            docker::describe(&spooled)?
        } else if spooled.contains(oci::TABLE) {
            oci::describe(&spooled)?
        } else {
            return Err(Error::invalid("invalid archive: it has neither manifest.json nor index.json"));
        };
        let mut loaded = Vec::new();
        for image in described {
            loaded.push(Installer { store: self, spooled: &mut spooled, progress }.install(image)?);
        }
        Ok(loaded)
    }
}

/// An error about the archive's contents.
fn invalid(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("invalid archive: {what}"))
}
