//! Every image: do its document, its manifest, its record and its names agree.

use super::{Severity, Subject, Verifier};
use crate::{
    ImageDocument, ImageId,
    image::chain_ids,
    layout::Manifest,
    records::{ImageRecord, REFERENCES},
};
use gantry_model::{Digest, Error, Result};
use gantry_state_db::Batch;
use sha2::{Digest as _, Sha256};

impl Verifier<'_> {
    pub(super) fn images(&mut self) -> Result<()> {
        for (id, record) in std::mem::take(&mut self.records) {
            self.report.images += 1;
            for what in self.image(&id, &record) {
                self.find(Subject::Image(id.clone()), Severity::Damage, what, false);
            }
            self.records.push((id, record));
        }
        self.names()
    }

    fn image(&self, id: &ImageId, record: &ImageRecord) -> Vec<String> {
        let mut wrong = Vec::new();
        if Digest::sha256(Sha256::digest(record.document.as_bytes()).into()) != *id.digest() {
            wrong.push("its document is not the one that its id stands for".to_owned());
        }
        let diff_ids: Vec<Digest> = record.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        match serde_json::from_str::<ImageDocument>(&record.document) {
            Err(e) => wrong.push(format!("its document cannot be read: {e}")),
            Ok(document) if document.rootfs.as_ref().is_some_and(|rootfs| rootfs.diff_ids == diff_ids) => {}
            Ok(_) => wrong.push("its layers are not those that its document names".to_owned()),
        }
        if !chain_ids(&diff_ids).iter().eq(record.layers.iter().map(|layer| &layer.chain_id)) {
            wrong.push("the chain ids of its layers are wrong".to_owned());
        }
        // A manifest whose blob is damaged was reported as such.
        if self.good.contains(&record.manifest) {
            wrong.extend(self.manifest(id, record));
        }
        wrong
    }

    fn manifest(&self, id: &ImageId, record: &ImageRecord) -> Option<String> {
        let read = std::fs::read(self.inner.files.blob(&record.manifest)).map_err(|e| e.to_string());
        let parsed = read.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).map_err(|e| e.to_string()));
        let manifest = match parsed {
            Ok(manifest) => manifest,
            Err(e) => return Some(format!("its manifest cannot be read: {e}")),
        };
        if manifest.config.digest != *id.digest() {
            return Some("its manifest names another document".to_owned());
        }
        let named = manifest.layers.iter().map(|layer| (&layer.digest, layer.size));
        if named.eq(record.layers.iter().map(|layer| (&layer.blob, layer.blob_size))) {
            return None;
        }
        Some("its manifest names other layers".to_owned())
    }

    fn names(&mut self) -> Result<()> {
        let lost = self.inner.read_state().lost_names();
        for name in lost {
            if self.options.repair {
                let batch = Batch::new().delete(REFERENCES, &name.to_string());
                self.inner.db.commit(batch).map_err(Error::from)?;
                self.inner.write_state().references.remove(&name);
            }
            let what = "it leads to an image that is not there";
            self.find(Subject::Name(name.familiar()), Severity::Damage, what, self.options.repair);
        }
        Ok(())
    }
}
