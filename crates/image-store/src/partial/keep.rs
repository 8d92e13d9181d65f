//! Which partial blobs stay when nobody fetches them.

use super::{Journal, Ranges, journal::UNFINISHED};
use crate::{ImageStore, files::Files, recover, store::Inner};
use gantry_model::{Digest, Result};
use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

/// How long a partial blob waits for somebody to go on with it.
const LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl ImageStore {
    /// Removes the partial blobs that nobody is fetching; returns how many bytes that freed.
    pub fn prune_partials(&self) -> Result<u64> {
        self.inner.prune_partials()
    }
}

impl Inner {
    pub(crate) fn prune_partials(&self) -> Result<u64> {
        // Nobody begins to fetch one of them meanwhile.
        let fetching = self.fetching();
        let mut freed = 0;
        for hex in self.files.partial_names()? {
            // A journal that is being begun belongs to a fetch too.
            let blob = hex.strip_suffix(UNFINISHED).unwrap_or(&hex);
            if !fetching.iter().any(|digest| digest.hex() == blob) {
                freed += remove(&self.files, &hex);
            }
        }
        Ok(freed)
    }

    /// Keeps a verified blob that no image has, in case somebody wants it again.
    pub(crate) fn set_aside(&self, blob: &Digest) {
        let (from, to) = (self.files.blob(blob), self.files.partial(blob.hex()));
        let kept = fs::metadata(&from).and_then(|found| {
            let boot = recover::boot().map_err(|e| io::Error::other(e.to_string()))?;
            let mut whole = Ranges::default();
            whole.insert(0..found.len());
            let journal = self.files.journal(blob.hex());
            Journal::create(&journal, &boot, found.len(), &whole).map_err(|e| io::Error::other(e.to_string()))?;
            fs::rename(&from, &to)
        });
        if let Err(e) = kept {
            tracing::debug!("blob {blob} is not kept: {e}");
            drop(self.files.discard_blob(blob.hex()));
        }
    }
}

/// Removes partial blobs that nobody went on with for a week, and journals that belong to nothing.
pub(crate) fn sweep(files: &Files) -> Result<()> {
    let now = SystemTime::now();
    let names: HashSet<String> = files.partial_names()?.collect();
    for hex in names {
        if hex.ends_with(UNFINISHED) {
            remove(files, &hex);
            continue;
        }
        let age = fs::metadata(files.partial(&hex)).and_then(|found| found.modified());
        let old = age.map(|then| now.duration_since(then).is_ok_and(|age| age > LIFETIME));
        // A journal without data: the blob is in the store, or was never begun.
        if old.unwrap_or(true) {
            remove(files, &hex);
        }
    }
    Ok(())
}

/// Takes a blob back that a process had verified before it died, unless an image has it.
pub(crate) fn take_back(files: &Files, hex: &str) -> bool {
    files.journal(hex).exists() && fs::rename(files.blob_named(hex), files.partial(hex)).is_ok()
}

fn remove(files: &Files, hex: &str) -> u64 {
    let data = files.partial(hex);
    let blocks = fs::metadata(&data).map_or(0, |found| found.blocks() * 512);
    let gone = |path: &Path| match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {e}", path.display());
            false
        }
        _ => true,
    };
    let freed = gone(&data);
    gone(&files.journal(hex));
    if freed { blocks } else { 0 }
}
