//! Images that arrive from a registry, layer by layer.
//!
//! An [`Arrival`] begins with manifest and document, says which layers are wanted and collects them; its commit makes
//! the image. Each missing layer is an [`IncomingLayer`], which several arrivals may share: downloads write the bytes
//! at their offsets in any order, and extraction follows behind.

mod error;
mod follow;
mod incoming;
mod lease;
mod manifest;

use crate::{
    ImageId, ImageStore, Moved,
    image::{Layer, chain_ids},
    lease::Lease,
    records::{ImageRecord, IndexRecord},
};
pub use error::ExtractFailure;
use error::wrong_layers;
use gantry_model::{Digest, Error, Reference, Result};
pub use incoming::IncomingLayer;
pub use lease::LayerLease;

/// What a registry says about an image.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The manifest's bytes. Their digest was verified by whoever fetched them.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub media_type: String,
    /// The image's document.
    pub document: Vec<u8>,
    /// Media type and bytes of the index that the manifest was chosen from.
    pub index: Option<(String, Vec<u8>)>,
}

/// A layer as the manifest and the document describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedLayer {
    /// Digest of the blob.
    pub blob: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Its media type.
    pub media_type: String,
    /// Where else than in the registry it can be had.
    pub urls: Vec<String>,
    /// Digest of the archive in it.
    pub diff_id: Digest,
    /// Whether it is here already.
    pub present: bool,
}

/// What became of an arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The image.
    pub id: ImageId,
    /// Names that other images lost to it.
    pub moved: Vec<Moved>,
    /// Whether the image was not here before.
    pub new: bool,
}

/// An image that is being put together.
#[derive(Debug)]
pub struct Arrival {
    store: ImageStore,
    id: ImageId,
    incoming: Incoming,
    document: String,
    layers: Vec<WantedLayer>,
    /// The layers that are here, in the same order.
    held: Vec<Option<Layer>>,
    /// The image as it is here, if all its files are: by an earlier manifest perhaps.
    complete: Option<ImageRecord>,
    lease: Lease,
}

impl ImageStore {
    /// Checks what a registry says about an image, and takes hold of the layers that are here.
    pub fn arrival(&self, incoming: Incoming) -> Result<Arrival> {
        let checked = manifest::check(&incoming, self.inner.limits)?;
        let mut arrival = Arrival {
            store: self.clone(),
            id: checked.id,
            incoming,
            document: checked.document,
            held: vec![None; checked.layers.len()],
            layers: checked.layers,
            complete: None,
            lease: Lease::arriving(&self.inner),
        };
        arrival.look();
        Ok(arrival)
    }
}

impl Arrival {
    /// The image's id.
    pub fn id(&self) -> &ImageId {
        &self.id
    }

    /// The layers, the lowest first.
    pub fn layers(&self) -> &[WantedLayer] {
        &self.layers
    }

    /// Finds out what is here.
    fn look(&mut self) {
        let known = self.store.inner.read_state().get(&self.id).map(|known| known.record.clone());
        // A document says which archives its layers are, so an image that is here in full needs nothing, whatever the
        // blobs of this manifest are.
        if let Some(record) = known
            && self.lease.use_record(&self.id, &record)
        {
            self.complete = Some(record);
            self.layers.iter_mut().for_each(|layer| layer.present = true);
            return;
        }
        for (wanted, held) in self.layers.iter_mut().zip(&mut self.held) {
            let verified = self.store.inner.read_state().verified(&wanted.blob, &wanted.diff_id);
            let sound = verified.filter(|layer| {
                self.lease.use_sized_blob(&layer.blob, layer.blob_size) && self.lease.use_layer(&layer.diff_id)
            });
            wanted.present = sound.is_some();
            *held = sound;
        }
    }

    /// Takes hold of a layer that has arrived.
    pub fn hold(&mut self, index: usize, lease: &LayerLease) -> Result<()> {
        let wanted = self.layers.get(index).ok_or_else(|| Error::internal("the image has no such layer"))?;
        let layer = lease.layer();
        // Another image may have shared the download, with its own idea of what is in the blob.
        if (&layer.blob, &layer.diff_id) != (&wanted.blob, &wanted.diff_id) {
            return Err(wrong_layers());
        }
        if !(self.lease.use_blob(&layer.blob) && self.lease.use_layer(&layer.diff_id)) {
            return Err(Error::internal(format!("layer {} went away", layer.blob)));
        }
        self.held[index] = Some(layer.clone());
        Ok(())
    }

    /// Makes the image, which must have all its layers now, and gives it its names: tags as well as names by digest.
    pub fn commit(mut self, names: &[Reference]) -> Result<Committed> {
        let names: Vec<Reference> = names.iter().map(lasting).collect::<Result<_>>()?;
        let inner = self.store.inner.clone();
        let mut documents = Lease::new(&inner);
        let known = self.complete.take();
        let as_known = known.is_some();
        let record = known.map_or_else(|| self.record(&mut documents), Ok);
        let committed = record.and_then(|record| inner.commit(&self.id, record, &names, !as_known));
        let (moved, new) = committed.map_err(|e| incoming::clear(&inner, e))?;
        // Only now do the image's own uses count.
        drop((documents, self.lease));
        Ok(Committed { id: self.id, moved, new })
    }

    fn record(&mut self, documents: &mut Lease) -> Result<ImageRecord> {
        let held: Option<Vec<Layer>> = std::mem::take(&mut self.held).into_iter().collect();
        let mut layers = held.ok_or_else(|| Error::internal("a layer of the image has not arrived"))?;
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
        for (layer, chain_id) in layers.iter_mut().zip(chain_ids(&diff_ids)) {
            layer.chain_id = chain_id;
        }
        let Incoming { manifest, media_type, document, index } = &self.incoming;
        self.store.store_blob(document, documents)?;
        let digest = self.store.store_blob(manifest, documents)?;
        let mut record = ImageRecord::new(std::mem::take(&mut self.document), digest, manifest.len() as u64, layers);
        record.manifest_type.clone_from(media_type);
        if let Some((media_type, bytes)) = index {
            let digest = self.store.store_blob(bytes, documents)?;
            let size = bytes.len() as u64;
            record.index = Some(IndexRecord { digest, media_type: media_type.clone(), size });
        }
        Ok(record)
    }
}

/// A name as it is kept: `name:tag@digest` is a name by digest.
pub(crate) fn lasting(name: &Reference) -> Result<Reference> {
    match name.digest() {
        Some(digest) => Ok(Reference::parse(&format!("{}@{digest}", name.name()))?),
        None => Ok(name.clone().or_latest()),
    }
}
