//! Images into one archive: a Docker archive and an OCI layout at once, as Docker 25 and later write it.

use crate::{
    Compression, Image, ImageId, ImageStore, Layer,
    layout::{self, Descriptor, MARKER},
    lease::Lease,
    resolve,
    state::State,
};
use gantry_model::{AnyReference, Digest, Error, Reference, Result, error::Context};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
    sync::Arc,
};

/// Images that are ready to be written. Their files stay while this lives.
pub struct SavePlan {
    store: ImageStore,
    images: Vec<(Arc<Image>, Vec<Reference>)>,
    _lease: Lease,
}

impl ImageStore {
    /// Finds the images that `names` mean; a repository without a tag means all its tags. Errors come here, so that a
    /// caller can begin its answer knowing that there is something to write.
    pub fn prepare_save(&self, names: &[String]) -> Result<SavePlan> {
        let mut images: Vec<(Arc<Image>, Vec<Reference>)> = Vec::new();
        let mut lease = Lease::new(&self.inner);
        {
            let state = self.inner.read_state();
            for name in names {
                for (image, reference) in named(&state, name)? {
                    let at = images.iter().position(|(known, _)| known.id == image.id).unwrap_or(images.len());
                    if at == images.len() {
                        images.push((image, Vec::new()));
                    }
                    let names = &mut images[at].1;
                    names.extend(reference.filter(|reference| !names.contains(reference)));
                }
            }
        }
        for (image, _) in &images {
            if let Some(blob) = blobs(image).find(|blob| !lease.use_blob(blob)) {
                // It was removed a moment ago, or it is not whole.
                return Err(match self.get(&image.id) {
                    Some(_) => Error::from(damaged(blob)).context(format_args!("image {}", image.id)),
                    None => resolve::no_such_image(image.id.as_str()),
                });
            }
        }
        Ok(SavePlan { store: self.clone(), images, _lease: lease })
    }

    /// Writes the images that `names` mean.
    pub fn save(&self, names: &[String], out: &mut dyn Write) -> Result<()> {
        self.prepare_save(names)?.write(out)
    }
}

fn blobs(image: &Image) -> impl Iterator<Item = &Digest> {
    [image.id.digest(), &image.manifest].into_iter().chain(image.layers.iter().map(|l| &l.blob))
}

/// The images of one argument, with the tag to save where a name was given.
fn named(state: &State, name: &str) -> Result<Vec<(Arc<Image>, Option<Reference>)>> {
    let AnyReference::Named(reference) = AnyReference::parse(name)? else {
        return Ok(vec![(resolve::resolve(state, name)?, None)]);
    };
    if !reference.is_name_only() {
        // A tag or a digest can only mean what it names; ids are not tried.
        if !state.references.contains_key(&reference) {
            return Err(Error::not_found("reference does not exist"));
        }
        let image = resolve::resolve(state, name)?;
        return Ok(vec![(image, Some(reference).filter(|reference| reference.tag().is_some()))]);
    }
    let same = |known: &&Reference| known.tag().is_some() && known.name() == reference.name();
    let tags: Vec<_> = state.references.keys().filter(same).cloned().collect();
    if !tags.is_empty() {
        let image = |tag: Reference| Ok((resolve::resolve(state, &tag.to_string())?, Some(tag)));
        return tags.into_iter().map(image).collect();
    }
    let by_id = resolve::by_id_prefix(state, name)?;
    by_id.map(|image| vec![(image, None)]).ok_or_else(|| resolve::no_such_image(&reference.familiar()))
}

/// An entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'i> {
    config: String,
    /// `null` for an image without names.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'i str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layer_sources: BTreeMap<&'i str, Descriptor>,
}

impl SavePlan {
    /// The images, and by which tags each was asked for.
    pub fn images(&self) -> impl Iterator<Item = (&Arc<Image>, &[Reference])> {
        self.images.iter().map(|(image, names)| (image, names.as_slice()))
    }

    /// Writes the archive.
    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        self.write_archive(out).map_err(Error::from).context("cannot write the archive")
    }

    fn write_archive(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 20];
        directory(out, "blobs/")?;
        directory(out, "blobs/sha256/")?;
        let unique: BTreeSet<&Digest> = self.images.iter().flat_map(|(image, _)| blobs(image)).collect();
        for blob in unique {
            // It digests what it reads: an archive that is not what it says must not look complete.
            let mut file = self.store.open_blob(blob).map_err(io::Error::other)?.ok_or_else(|| damaged(blob))?;
            let size = file.size();
            header(out, &path(blob), size, tar::EntryType::Regular)?;
            copy(&mut file, out, size, &mut buffer)?;
        }
        let index = layout::index(
            self.images.iter().map(|(image, names)| (&**image, names.iter().map(ToString::to_string).collect())),
        );
        let (table, repositories) = (self.docker_manifest(), self.repositories());
        let documents: [(&str, &[u8]); 4] = [
            ("index.json", &index),
            ("manifest.json", &table),
            ("oci-layout", MARKER),
            ("repositories", repositories.as_deref().unwrap_or_default()),
        ];
        for (name, contents) in documents.into_iter().filter(|(_, contents)| !contents.is_empty()) {
            header(out, name, contents.len() as u64, tar::EntryType::Regular)?;
            copy(&mut &contents[..], out, contents.len() as u64, &mut buffer)?;
        }
        out.write_all(&[0; 1024])?;
        out.flush()
    }

    fn docker_manifest(&self) -> Vec<u8> {
        let saved: BTreeSet<&ImageId> = self.images.iter().map(|(image, _)| &image.id).collect();
        let item = |(image, names): &'_ (Arc<Image>, Vec<Reference>)| {
            let source = |l: &Layer| Descriptor::new(Compression::media_type(l.compression), &l.blob, l.blob_size);
            json!(Item {
                config: path(image.id.digest()),
                repo_tags: Some(names.iter().map(Reference::familiar).collect()).filter(|_| !names.is_empty()),
                layers: image.layers.iter().map(|l| path(&l.blob)).collect(),
                parent: image.parent.as_ref().filter(|parent| saved.contains(parent)).map(ImageId::as_str),
                layer_sources: image.layers.iter().map(|l| (l.diff_id.as_str(), source(l))).collect(),
            })
        };
        Value::Array(self.images.iter().map(item).collect()).to_string().into_bytes()
    }

    /// What engines before 1.10 read; not there when no image has a name.
    fn repositories(&self) -> Option<Vec<u8>> {
        let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
        for (image, names) in &self.images {
            let top = image.layers.last().map_or("", |l| l.blob.hex());
            for name in names {
                repositories.entry(name.familiar_name()).or_default().insert(name.tag().unwrap_or_default(), top);
            }
        }
        Some(json!(repositories).to_string().into_bytes()).filter(|_| !repositories.is_empty())
    }
}

fn path(blob: &Digest) -> String {
    format!("blobs/sha256/{}", blob.hex())
}

fn directory(out: &mut dyn Write, path: &str) -> io::Result<()> {
    header(out, path, 0, tar::EntryType::Directory)
}

fn header(out: &mut dyn Write, path: &str, size: u64, kind: tar::EntryType) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    // A size beyond the field's eleven octal digits is written in base 256, which every reader knows.
    header.set_size(size);
    header.set_entry_type(kind);
    header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn damaged(blob: &Digest) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("blob {blob} is missing or damaged"))
}

/// Exactly `size` bytes and zeros up to the block's end.
fn copy(from: &mut dyn Read, out: &mut dyn Write, size: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut left = size;
    while left > 0 {
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = from.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    out.write_all(&[0; 512][..(size.next_multiple_of(512) - size) as usize])
}
