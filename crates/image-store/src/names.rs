//! The names of images, by name and by image.

use crate::{ImageId, records::ReferenceRecord};
use gantry_model::Reference;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What names lead to which images.
#[derive(Debug, Default)]
pub(crate) struct References {
    records: BTreeMap<Reference, ReferenceRecord>,
    by_image: HashMap<ImageId, BTreeSet<Reference>>,
}

impl References {
    /// Points a name at an image; returns what it was before.
    pub(crate) fn insert(&mut self, name: Reference, record: ReferenceRecord) -> Option<ReferenceRecord> {
        let old = self.remove(&name);
        self.by_image.entry(record.image.clone()).or_default().insert(name.clone());
        self.records.insert(name, record);
        old
    }

    pub(crate) fn remove(&mut self, name: &Reference) -> Option<ReferenceRecord> {
        let record = self.records.remove(name)?;
        if let Some(names) = self.by_image.get_mut(&record.image) {
            names.remove(name);
            if names.is_empty() {
                self.by_image.remove(&record.image);
            }
        }
        Some(record)
    }

    pub(crate) fn get(&self, name: &Reference) -> Option<&ReferenceRecord> {
        self.records.get(name)
    }

    pub(crate) fn contains_key(&self, name: &Reference) -> bool {
        self.records.contains_key(name)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Reference> {
        self.records.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Reference, &ReferenceRecord)> {
        self.records.iter()
    }

    /// The names of one image.
    pub(crate) fn of(&self, image: &ImageId) -> impl Iterator<Item = (&Reference, &ReferenceRecord)> {
        let names = self.by_image.get(image).into_iter().flatten();
        names.filter_map(|name| self.records.get_key_value(name))
    }
}
