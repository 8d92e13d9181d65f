//! Images into one archive: a Docker archive and an OCI layout at once, as Docker 25 and later write it.

use crate::{
    Image, ImageStore,
    layout::{self, MARKER},
    lease::Lease,
    resolve,
    state::State,
};
use gantry_model::{AnyReference, Digest, Error, Reference, Result, error::Context};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
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
            if !blobs(image).all(|blob| lease.use_blob(blob)) {
                return Err(resolve::no_such_image(image.id.as_str()));
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
    if let AnyReference::Named(reference) = AnyReference::parse(name)? {
        if reference.is_name_only() {
            let same = |known: &&Reference| known.tag().is_some() && known.name() == reference.name();
            let tags: Vec<_> = state.references.keys().filter(same).cloned().collect();
            if !tags.is_empty() {
                let image = |tag: Reference| Ok((resolve::resolve(state, &tag.to_string())?, Some(tag)));
                return tags.into_iter().map(image).collect();
            }
            let by_id = resolve::by_id_prefix(state, name)?;
            return by_id.map(|image| vec![(image, None)]).ok_or_else(|| resolve::no_such_image(&reference.familiar()));
        }
        let image = resolve::resolve(state, name)?;
        let tag = Some(reference).filter(|r| state.references.contains_key(r) && r.tag().is_some());
        return Ok(vec![(image, tag)]);
    }
    Ok(vec![(resolve::resolve(state, name)?, None)])
}

impl SavePlan {
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
            let mut file = File::open(self.store.inner.files.blob(blob))?;
            let size = file.metadata()?.len();
            header(out, &path(blob), size, tar::EntryType::Regular)?;
            copy(&mut file, out, size, &mut buffer)?;
        }
        let index = layout::index(
            self.images.iter().map(|(image, names)| (&**image, names.iter().map(ToString::to_string).collect())),
        );
        let documents: [(&str, &[u8]); 4] = [
            ("index.json", &index),
            ("manifest.json", &self.docker_manifest()),
            ("oci-layout", MARKER),
            ("repositories", &self.repositories()),
        ];
        for (name, contents) in documents {
            header(out, name, contents.len() as u64, tar::EntryType::Regular)?;
            copy(&mut &contents[..], out, contents.len() as u64, &mut buffer)?;
        }
        out.write_all(&[0; 1024])?;
        out.flush()
    }

    fn docker_manifest(&self) -> Vec<u8> {
        let item = |(image, names): &(Arc<Image>, Vec<Reference>)| {
            let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
            let layers: Vec<String> = image.layers.iter().map(|l| path(&l.blob)).collect();
            let source = |l: &crate::Layer| {
                let descriptor =
                    json!({"mediaType": l.compression.media_type(), "size": l.blob_size, "digest": l.blob.as_str()});
                (l.diff_id.to_string(), descriptor)
            };
            let sources: Map<String, Value> = image.layers.iter().map(source).collect();
            let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
            json!({"Config": path(image.id.digest()), "RepoTags": tags, "Layers": layers, "LayerSources": sources})
        };
        Value::Array(self.images.iter().map(item).collect()).to_string().into_bytes()
    }

    /// What engines before 1.10 read.
    fn repositories(&self) -> Vec<u8> {
        let mut repositories: BTreeMap<String, BTreeMap<&str, &str>> = BTreeMap::new();
        for (image, names) in &self.images {
            let top = image.layers.last().map_or("", |l| l.blob.hex());
            for name in names {
                repositories.entry(name.familiar_name()).or_default().insert(name.tag().unwrap_or_default(), top);
            }
        }
        json!(repositories).to_string().into_bytes()
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
