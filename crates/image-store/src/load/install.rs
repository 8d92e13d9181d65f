//! From a described image to one in the store.

use super::{
    Described, Loaded, MAX_DOCUMENT,
    archive::{Kept, Spooled},
    invalid, other_platform,
    unpack::{self, Unpacked},
};
use crate::{
    Compression, ImageDocument, ImageId, ImageStore, Progress,
    image::{Layer, chain_ids, check_layer_count},
    layout,
    lease::Lease,
    pipeline::{self, Keep, Plan},
    records::ImageRecord,
};
use gantry_model::{Digest, Error, Platform, Reference, Result, error::Context};
use std::{collections::HashMap, fs::File};

pub(super) struct Installer<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) spooled: &'a mut Spooled,
    pub(super) platform: Option<&'a Platform>,
    pub(super) progress: &'a mut dyn FnMut(Progress),
}

impl Installer<'_> {
    pub(super) fn install(mut self, image: Described) -> Result<Loaded> {
        let text = self.spooled.read_small(&image.document, MAX_DOCUMENT)?;
        let document: ImageDocument =
            serde_json::from_slice(&text).map_err(|e| invalid(format_args!("image configuration: {e}")))?;
        let diff_ids = check(&document, &image)?;
        self.check_platform(&document, &image)?;
        let mut lease = Lease::new(&self.store.inner);
        let kept = self.spooled.keep(&image.document, &mut lease)?;
        let id = ImageId::new(kept.digest.clone());
        // A known document has known layers; only names can be new, if all its files are here and stay.
        let known = self.store.inner.read_state().get(&id).map(|known| known.record.clone());
        let (record, replace) = match known.filter(|record| lease.use_record(&id, record)) {
            Some(record) => (record, false),
            None => (self.record(&image, text, &kept, &diff_ids, &mut lease)?, true),
        };
        let (moved, _) = self.store.inner.commit(&id, record, &image.names, replace)?;
        // Its uses end only after the image's own were counted.
        drop(lease);
        for moved in moved {
            (self.progress)(Progress::Moved(moved));
        }
        Ok(Loaded { id, names: image.names })
    }

    fn record(
        &mut self,
        image: &Described,
        text: Vec<u8>,
        document: &Kept,
        diff_ids: &[Digest],
        lease: &mut Lease,
    ) -> Result<ImageRecord> {
        let layers = self.layers(&image.layers, diff_ids, lease)?;
        let (manifest, size, media_type) = if let Some(own) = &image.manifest {
            let kept = self.spooled.keep(&own.member, lease)?;
            (kept.digest, kept.size, own.media_type.clone())
        } else {
            let manifest = layout::manifest(&document.digest, document.size, &layers);
            (self.store.store_blob(&manifest, lease)?, manifest.len() as u64, layout::MANIFEST.to_owned())
        };
        let parent = image.parent.clone().filter(|parent| self.store.get(parent).is_some());
        let text = String::from_utf8(text).map_err(|_| invalid("an image configuration is not UTF-8"))?;
        Ok(ImageRecord { parent, manifest_type: media_type, ..ImageRecord::new(text, manifest, size, layers) })
    }

    /// Stores the blobs and the directories that were extracted on the way in.
    fn layers(&mut self, members: &[Vec<u8>], diff_ids: &[Digest], lease: &mut Lease) -> Result<Vec<Layer>> {
        let mut layers = Vec::with_capacity(members.len());
        // Sizes of layers that no image in the store has yet.
        let mut fresh: HashMap<&Digest, u64> = HashMap::new();
        for (at, ((member, diff_id), chain_id)) in members.iter().zip(diff_ids).zip(chain_ids(diff_ids)).enumerate() {
            let kept = self.spooled.keep(member, lease)?;
            let present = lease.use_layer(diff_id);
            let size = fresh.get(diff_id).copied().filter(|_| present);
            let size = size.or_else(|| self.known_size(diff_id).filter(|_| present));
            let size = match size {
                Some(size) if self.is_verified(&kept, diff_id) => size,
                Some(size) => {
                    self.verify(at, member, &kept, diff_id)?;
                    size
                }
                None => {
                    let unpacked = self.unpacked(at, member, &kept, diff_id)?;
                    lease.add_layer(unpacked.directory, diff_id)?;
                    unpacked.size
                }
            };
            fresh.insert(diff_id, size);
            let Kept { digest: blob, size: blob_size, compression } = kept;
            layers.push(Layer { blob, blob_size, compression, diff_id: diff_id.clone(), chain_id, size });
        }
        Ok(layers)
    }

    fn known_size(&self, diff_id: &Digest) -> Option<u64> {
        self.store.inner.read_state().layer_size(diff_id)
    }

    /// Whether it is known that the blob holds this archive.
    fn is_verified(&self, kept: &Kept, diff_id: &Digest) -> bool {
        match kept.compression {
            Compression::None => kept.digest == *diff_id,
            _ => self.store.inner.read_state().verified(&kept.digest, diff_id).is_some(),
        }
    }

    /// Checks a blob whose layer's directory is there already.
    fn verify(&mut self, at: usize, member: &[u8], kept: &Kept, diff_id: &Digest) -> Result<()> {
        let found = match self.spooled.take_unpacked(member) {
            Some(Ok(unpacked)) => unpacked.diff_id,
            _ if kept.compression == Compression::None => kept.digest.clone(),
            _ => {
                let inner = &self.store.inner;
                let plan = Plan { known: Some(&kept.digest), keep: Keep::No, extract: None, limits: inner.limits };
                let mut blob = File::open(inner.files.blob(&kept.digest))?;
                pipeline::run(&mut blob, &plan, &mut |_| ()).context(format_args!("layer {at}"))?.diff_id
            }
        };
        if found == *diff_id { Ok(()) } else { Err(mismatch(at, diff_id, &found)) }
    }

    /// The directory of a layer: the one from its way in, or extracted now.
    fn unpacked(&mut self, at: usize, member: &[u8], kept: &Kept, diff_id: &Digest) -> Result<Unpacked> {
        if kept.compression == Compression::None && kept.digest != *diff_id {
            return Err(mismatch(at, diff_id, &kept.digest));
        }
        let inner = &self.store.inner;
        let mut report = |done| {
            let step = Progress::Layer { id: diff_id.short().to_owned(), done, total: kept.size };
            (self.progress)(step);
        };
        let unpacked = if let Some(unpacked) = self.spooled.take_unpacked(member) {
            unpacked.inspect(|_| report(kept.size))
        } else {
            let mut blob = File::open(inner.files.blob(&kept.digest))?;
            unpack::unpack(inner, &mut blob, &kept.digest, &mut report)
        };
        let unpacked = unpacked.context(format_args!("layer {at}"))?;
        if unpacked.diff_id == *diff_id { Ok(unpacked) } else { Err(mismatch(at, diff_id, &unpacked.diff_id)) }
    }

    fn check_platform(&self, document: &ImageDocument, image: &Described) -> Result<()> {
        let Some(wanted) = self.platform else { return Ok(()) };
        let offered = Platform::new(&document.os, &document.architecture, &document.variant);
        if wanted.suitability(&offered).is_some() {
            return Ok(());
        }
        let name = image.names.first().map_or_else(|| "-".to_owned(), Reference::familiar);
        Err(other_platform(name, wanted))
    }
}

fn mismatch(at: usize, expected: &Digest, found: &Digest) -> Error {
    invalid(format_args!("invalid diffID for layer {at}: expected {:?}, got {:?}", expected.as_str(), found.as_str()))
}

/// What the document says about its layers, if that fits the archive and this machine.
fn check<'d>(document: &'d ImageDocument, image: &Described) -> Result<Vec<Digest>> {
    if !matches!(document.os.as_str(), "" | "linux") {
        return Err(Error::invalid(format!("cannot load {} image on linux", document.os)));
    }
    let rootfs: &'d _ = document.rootfs.as_ref().ok_or_else(|| invalid("invalid image JSON, no RootFS key"))?;
    let (expected, got) = (image.layers.len(), rootfs.diff_ids.len());
    if expected != got {
        return Err(invalid(format_args!("invalid manifest, layers length mismatch: expected {expected}, got {got}")));
    }
    check_layer_count(got)?;
    Ok(rootfs.diff_ids.clone())
}
