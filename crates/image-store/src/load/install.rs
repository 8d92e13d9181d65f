//! From a described image to one in the store.

use super::{Described, Loaded, MAX_DOCUMENT, archive::Spooled, invalid};
use crate::{
    Compression, ImageDocument, ImageId, ImageStore, Progress,
    files::Temporary,
    image::{Layer, chain_ids},
    layout,
    lease::Lease,
    pipeline::{self, Keep, Plan},
    records::ImageRecord,
};
use gantry_model::{Digest, Error, Reference, Result, error::Context};
use std::{
    fs::File,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

/// Layers that are extracted at once; each is a small pipeline already.
const PARALLEL: usize = 2;

pub(super) struct Installer<'a> {
    pub(super) store: &'a ImageStore,
    pub(super) spooled: &'a mut Spooled,
    pub(super) progress: &'a mut dyn FnMut(Progress),
}

/// A layer's blob, and what the image says its archive is.
struct Wanted {
    blob: Digest,
    size: u64,
    compression: Compression,
    diff_id: Digest,
    chain_id: Digest,
}

/// A layer that is ready, with its directory unless the store has that.
struct Ready {
    size: u64,
    directory: Option<Temporary>,
}

impl Installer<'_> {
    pub(super) fn install(mut self, image: Described) -> Result<Loaded> {
        let text = self.spooled.read_small(&image.document, MAX_DOCUMENT)?;
        let document: ImageDocument =
            serde_json::from_slice(&text).map_err(|e| invalid(format_args!("image configuration: {e}")))?;
        let diff_ids = check(&document, &image)?;
        let mut lease = Lease::new(&self.store.inner);
        let (digest, document_size, _) = self.spooled.keep(&image.document, &mut lease)?;
        let id = ImageId::new(digest);
        // A known document has known layers; only names can be new.
        let known = self.store.inner.read_state().get(&id).map(|known| known.record.clone());
        let record = match known {
            Some(record) => record,
            None => self.record(&image, text, document_size, &diff_ids, &mut lease)?,
        };
        self.commit(id, record, image.names, lease)
    }

    fn record(
        &mut self,
        image: &Described,
        text: Vec<u8>,
        document_size: u64,
        diff_ids: &[Digest],
        lease: &mut Lease,
    ) -> Result<ImageRecord> {
        let layers = self.layers(&image.layers, diff_ids, lease)?;
        let (manifest, manifest_size) = if let Some(path) = &image.manifest {
            let (digest, size, _) = self.spooled.keep(path, lease)?;
            (digest, size)
        } else {
            let document = self.spooled.digest(&image.document)?;
            let manifest = layout::manifest(document, document_size, &layers);
            (self.store.store_blob(&manifest, lease)?, manifest.len() as u64)
        };
        let parent = image.parent.clone().filter(|parent| self.store.get(parent).is_some());
        let document = String::from_utf8(text).map_err(|_| invalid("an image configuration is not UTF-8"))?;
        Ok(ImageRecord { parent, ..ImageRecord::new(document, manifest, manifest_size, layers) })
    }

    fn commit(self, id: ImageId, record: ImageRecord, names: Vec<Reference>, lease: Lease) -> Result<Loaded> {
        for moved in self.store.inner.commit_image(&id, record, &names, lease)? {
            (self.progress)(Progress::Moved(moved));
        }
        Ok(Loaded { id, names })
    }

    /// Stores the blobs, then extracts and verifies what the store does not know, several layers at once.
    fn layers(&mut self, members: &[Vec<u8>], diff_ids: &[Digest], lease: &mut Lease) -> Result<Vec<Layer>> {
        let mut wanted = Vec::with_capacity(members.len());
        for ((member, diff_id), chain_id) in members.iter().zip(diff_ids).zip(chain_ids(diff_ids)) {
            let (blob, size, compression) = self.spooled.keep(member, lease)?;
            wanted.push(Wanted { blob, size, compression, diff_id: diff_id.clone(), chain_id });
        }
        let present: Vec<bool> = wanted.iter().map(|w| lease.use_layer(&w.diff_id)).collect();
        let ready = self.unpack_all(&wanted, &present)?;
        let mut layers = Vec::with_capacity(wanted.len());
        for (wanted, ready) in wanted.into_iter().zip(ready) {
            if let Some(directory) = ready.directory {
                lease.add_layer(directory, &wanted.diff_id)?;
            }
            layers.push(Layer {
                blob: wanted.blob,
                blob_size: wanted.size,
                compression: wanted.compression,
                diff_id: wanted.diff_id,
                chain_id: wanted.chain_id,
                size: ready.size,
            });
        }
        Ok(layers)
    }

    fn unpack_all(&mut self, wanted: &[Wanted], present: &[bool]) -> Result<Vec<Ready>> {
        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Option<Result<Ready>>>> = wanted.iter().map(|_| Mutex::new(None)).collect();
        let store = self.store;
        let (tell, told) = channel();
        thread::scope(|scope| {
            for _ in 0..PARALLEL.min(wanted.len()) {
                let (next, done, tell) = (&next, &done, tell.clone());
                scope.spawn(move || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let (Some(layer), Some(present)) = (wanted.get(at), present.get(at)) else { return };
                        let result = unpack(store, at, layer, *present, &tell);
                        if result.is_err() {
                            // The others need not begin what will be thrown away.
                            next.store(wanted.len(), Ordering::Relaxed);
                        }
                        *done[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    }
                });
            }
            drop(tell);
            for step in told {
                (self.progress)(step);
            }
        });
        let results: Vec<Option<Result<Ready>>> =
            done.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let mut ready = Vec::with_capacity(results.len());
        let mut skipped = false;
        for result in results {
            match result {
                Some(result) => ready.push(result?),
                None => skipped = true,
            }
        }
        if skipped { Err(Error::internal("a layer was left out")) } else { Ok(ready) }
    }
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
    Ok(rootfs.diff_ids.clone())
}

/// Extracts a layer, or only verifies it where its directory is there already.
fn unpack(store: &ImageStore, at: usize, layer: &Wanted, present: bool, tell: &Sender<Progress>) -> Result<Ready> {
    let inner = &store.inner;
    let known_size = inner.read_state().layer_size(&layer.diff_id).filter(|_| present);
    let plain = layer.compression == Compression::None;
    let verified = if plain {
        layer.blob == layer.diff_id
    } else {
        inner.read_state().verified(&layer.blob, &layer.diff_id).is_some()
    };
    if let (Some(size), true) = (known_size, verified) {
        return Ok(Ready { size, directory: None });
    }
    let mismatch = |found: &Digest| {
        invalid(format_args!(
            "invalid diffID for layer {at}: expected {:?}, got {:?}",
            layer.diff_id.as_str(),
            found.as_str()
        ))
    };
    if plain && !verified {
        return Err(mismatch(&layer.blob));
    }
    let directory = if known_size.is_some() { None } else { Some(inner.files.temporary_layer()?) };
    let diff = directory.as_ref().map(|directory| directory.path().join("diff"));
    let plan = Plan { known: Some(&layer.blob), keep: Keep::No, extract: diff.as_deref(), limits: inner.limits };
    let mut blob = File::open(inner.files.blob(&layer.blob))?;
    let mut report = |done| {
        let step = Progress::Layer { id: layer.diff_id.short().to_owned(), done, total: layer.size };
        // Nobody listens any more only when another layer failed.
        drop(tell.send(step));
    };
    let arrived = pipeline::run(&mut blob, &plan, &mut report).context(format_args!("layer {at}"))?;
    if arrived.diff_id != layer.diff_id {
        return Err(mismatch(&arrived.diff_id));
    }
    let size = known_size.or(arrived.extracted.map(|e| e.size)).unwrap_or_default();
    Ok(Ready { size, directory })
}
