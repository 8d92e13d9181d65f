//! What is known about images, in memory: the database's tables, and who uses which files.

use crate::{Image, ImageId, image::Layer, names::References, records::ImageRecord};
use gantry_model::{Digest, Id, Reference, Result};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

#[derive(Debug, Default)]
pub(crate) struct State {
    images: BTreeMap<ImageId, Known>,
    /// Removed, but a container still runs on the layers.
    pub(crate) detached: BTreeMap<ImageId, ImageRecord>,
    pub(crate) references: References,
    /// Which image each container stands on.
    pub(crate) holds: HashMap<Id, ImageId>,
    pub(crate) uses: Uses,
    /// Blobs that hold other bytes than they should, and how that showed.
    pub(crate) damaged: BTreeMap<Digest, String>,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) record: ImageRecord,
    pub(crate) image: Arc<Image>,
}

/// How many images, detached images and running operations need each file. What nobody needs is not on disk.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    blobs: HashMap<Digest, usize>,
    /// By diff id: a layer's directory is the same on every base.
    layers: HashMap<Digest, usize>,
    /// Layers on top of what is below them. They have no files, but removals are told by them.
    chains: HashMap<Digest, usize>,
}

impl Uses {
    pub(crate) fn blobs(&mut self) -> Counter<'_> {
        Counter(&mut self.blobs)
    }

    pub(crate) fn layers(&mut self) -> Counter<'_> {
        Counter(&mut self.layers)
    }

    pub(crate) fn chains(&mut self) -> Counter<'_> {
        Counter(&mut self.chains)
    }

    /// Counts everything an image needs.
    pub(crate) fn add(&mut self, id: &ImageId, record: &ImageRecord) {
        for blob in record.blobs(id) {
            self.blobs().add(blob);
        }
        for layer in &record.layers {
            self.layers().add(&layer.diff_id);
            self.chains().add(&layer.chain_id);
        }
    }
}

pub(crate) struct Counter<'u>(&'u mut HashMap<Digest, usize>);

impl Counter<'_> {
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains_key(digest)
    }

    pub(crate) fn contains_hex(&self, hex: &str) -> bool {
        format!("sha256:{hex}").parse().is_ok_and(|digest| self.0.contains_key(&digest))
    }

    pub(crate) fn add(&mut self, digest: &Digest) {
        *self.0.entry(digest.clone()).or_default() += 1;
    }

    /// Whether that was the last use.
    pub(crate) fn remove(&mut self, digest: &Digest) -> bool {
        let Some(uses) = self.0.get_mut(digest) else { return false };
        *uses -= 1;
        let last = *uses == 0;
        if last {
            self.0.remove(digest);
        }
        last
    }
}

impl State {
    /// Whether nothing is known against a blob.
    pub(crate) fn is_sound(&self, blob: &Digest) -> bool {
        self.damaged.is_empty() || !self.damaged.contains_key(blob)
    }

    pub(crate) fn get(&self, id: &ImageId) -> Option<&Known> {
        self.images.get(id)
    }

    pub(crate) fn images(&self) -> impl Iterator<Item = &Arc<Image>> {
        self.images.values().map(|known| &known.image)
    }

    pub(crate) fn record_mut(&mut self, id: &ImageId) -> Option<&mut ImageRecord> {
        self.images.get_mut(id).map(|known| &mut known.record)
    }

    /// Adds an image or replaces its record. Uses are counted by the caller.
    pub(crate) fn insert(&mut self, id: &ImageId, record: ImageRecord) -> Result<()> {
        let image = Arc::new(record.image(id)?);
        self.images.insert(id.clone(), Known { record, image });
        self.rename(id);
        Ok(())
    }

    pub(crate) fn remove(&mut self, id: &ImageId) -> Option<ImageRecord> {
        self.images.remove(id).map(|known| known.record)
    }

    /// Gives an image the names that lead to it now.
    pub(crate) fn rename(&mut self, id: &ImageId) {
        let mut tags = Vec::new();
        let mut digests = Vec::new();
        let mut last_tagged = gantry_model::Timestamp::ZERO;
        for (reference, record) in self.references.of(id) {
            if reference.digest().is_some() {
                digests.push(reference.familiar());
            } else {
                tags.push(reference.familiar());
                last_tagged = last_tagged.max(record.since);
            }
        }
        tags.sort_unstable();
        digests.sort_unstable();
        if let Some(known) = self.images.get_mut(id) {
            let image = Arc::make_mut(&mut known.image);
            (image.repo_tags, image.repo_digests, image.last_tagged) = (tags, digests, last_tagged);
        }
    }

    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        self.references.of(id).map(|(name, _)| name.clone()).collect()
    }

    /// Images made directly from this one.
    pub(crate) fn children(&self, id: &ImageId) -> impl Iterator<Item = &Arc<Image>> {
        self.images().filter(move |image| image.parent.as_ref() == Some(id))
    }

    /// Images whose digits begin with `prefix`, at most two: the caller wants to know which, or that there are more.
    pub(crate) fn by_prefix(&self, prefix: &str) -> Vec<Arc<Image>> {
        let whole = format!("sha256:{prefix}");
        let matching = self.images().skip_while(|image| image.id.as_str() < whole.as_str());
        matching.take_while(|image| image.id.as_str().starts_with(&whole)).take(2).cloned().collect()
    }

    /// The layers of an image that exists, or did when a container was made from it.
    pub(crate) fn layers(&self, id: &ImageId) -> Option<&[Layer]> {
        let known = self.images.get(id).map(|known| &known.record);
        known.or_else(|| self.detached.get(id)).map(|record| record.layers.as_slice())
    }

    /// A layer that was verified before: the same blob holding the same archive.
    pub(crate) fn verified(&self, blob: &Digest, diff_id: &Digest) -> Option<Layer> {
        self.records().flat_map(|record| &record.layers).find(|l| l.blob == *blob && l.diff_id == *diff_id).cloned()
    }

    /// The layers whose chain ids are among these names, by that name.
    pub(crate) fn diff_ids_by_chain(&self, names: &HashSet<String>) -> HashMap<String, Digest> {
        if names.is_empty() {
            return HashMap::new();
        }
        let layers = self.records().flat_map(|record| &record.layers);
        let named = layers.filter(|layer| names.contains(layer.chain_id.hex()));
        named.map(|layer| (layer.chain_id.hex().to_owned(), layer.diff_id.clone())).collect()
    }

    /// Every image, removed ones that containers stand on included.
    pub(crate) fn every_record(&self) -> Vec<(ImageId, ImageRecord)> {
        let images = self.images.iter().map(|(id, known)| (id, &known.record));
        images.chain(&self.detached).map(|(id, record)| (id.clone(), record.clone())).collect()
    }

    /// Names that lead to no image.
    pub(crate) fn lost_names(&self) -> Vec<Reference> {
        let lost = self.references.iter().filter(|(_, record)| !self.images.contains_key(&record.image));
        lost.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &ImageRecord> {
        self.images.values().map(|known| &known.record).chain(self.detached.values())
    }

    /// The size of a layer's directory that some image already has.
    pub(crate) fn layer_size(&self, diff_id: &Digest) -> Option<u64> {
        self.records().flat_map(|record| &record.layers).find(|l| l.diff_id == *diff_id).map(|l| l.size)
    }
}
