//! What a result is kept under: a digest of everything that it comes of.

use crate::digest::hex;
use sha2::{Digest as _, Sha256};

/// A key that is being made. Parts are told apart by their lengths.
pub(crate) struct Key(Sha256);

impl Key {
    /// A key for results of one kind, upon an image.
    pub(crate) fn new(kind: &str, parent: Option<&str>) -> Self {
        // Another version of what follows must not find the results of this one.
        Self(Sha256::new()).with("1").with(kind).with(parent.unwrap_or("scratch"))
    }

    pub(crate) fn with(mut self, part: &str) -> Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(crate) fn with_all<'p>(self, parts: impl IntoIterator<Item = &'p String>) -> Self {
        let mut count = 0u64;
        let whole = parts.into_iter().fold(self, |key, part| {
            count += 1;
            key.with(part)
        });
        whole.with(&count.to_string())
    }

    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}
