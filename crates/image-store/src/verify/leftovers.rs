//! Files that nobody needs, and the layout's documents.

use super::{Severity, Subject, Verifier};
use crate::layout;
use gantry_model::Result;

impl Verifier<'_> {
    pub(super) fn leftovers(&mut self) -> Result<()> {
        let repair = self.options.repair;
        let mut discarded = Vec::new();
        let (blobs, layers) = {
            // Files come and go only while the state is locked for writing; these go before somebody has a use for them.
            let mut state = self.inner.write_state();
            let blobs: Vec<String> =
                self.inner.files.blob_names()?.filter(|hex| !state.uses.blobs().contains_hex(hex)).collect();
            let layers: Vec<String> =
                self.inner.files.finished_layer_names()?.filter(|hex| !state.uses.layers().contains_hex(hex)).collect();
            if repair {
                discarded.extend(blobs.iter().filter_map(|hex| self.inner.files.discard_blob(hex)));
                discarded.extend(layers.iter().filter_map(|hex| self.inner.files.discard_layer(hex)));
            }
            (blobs, layers)
        };
        drop(discarded);
        for hex in blobs {
            self.leftover(format!("images/blobs/sha256/{hex}"), "no image needs it");
        }
        for hex in layers {
            self.leftover(format!("layers/{hex}"), "no image needs it");
        }
        if !self.inner.swept {
            for path in self.inner.files.unfinished()? {
                self.leftover(path, "a process died before it was finished");
            }
        }
        let stale = layout::stale(&self.inner.files, &self.inner.read_state());
        for (name, what) in stale {
            if repair {
                layout::mark(&self.inner.files)?;
                layout::update(&self.inner.files, &self.inner.read_state());
            }
            self.leftover(format!("images/{name}"), what);
        }
        Ok(())
    }

    fn leftover(&mut self, path: String, what: &str) {
        self.find(Subject::File(path), Severity::Leftover, what, self.options.repair);
    }
}
