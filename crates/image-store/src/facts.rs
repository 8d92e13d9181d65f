//! What is asked about the store as a whole, and the documents behind an image.

use crate::{Image, ImageId, ImageStore};
use gantry_model::Result;
use std::{collections::HashMap, io::Read};

impl ImageStore {
    /// Bytes of all layers, each counted once however many images stand on it. Layers of removed images that a
    /// container still needs count too.
    pub fn layers_size(&self) -> u64 {
        let state = self.inner.read_state();
        let layers = state.records().flat_map(|record| &record.layers);
        let distinct: HashMap<_, u64> = layers.map(|layer| (&layer.diff_id, layer.size)).collect();
        distinct.values().sum()
    }

    /// The exact text of an image's document.
    pub fn document_text(&self, id: &ImageId) -> Option<String> {
        self.inner.read_state().get(id).map(|known| known.record.document.clone())
    }

    /// The text of the index that an image was chosen from.
    pub fn index_text(&self, image: &Image) -> Result<Option<Vec<u8>>> {
        let Some(index) = &image.index else { return Ok(None) };
        let Some(mut blob) = self.open_blob(&index.digest)? else { return Ok(None) };
        let mut text = Vec::new();
        blob.read_to_end(&mut text)?;
        Ok(Some(text))
    }
}
