//! Where blobs have been seen, so that a registry can take them over from another of its repositories, and what layers
//! became when they were compressed. Both only save work: forgetting them harms nobody, so they are bounded and written
//! lazily.

use super::layers::Sent;
use gantry_model::{Digest, Reference, Result};
use gantry_state_db::{Batch, Db, Table};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Blobs that are remembered.
const MOST: usize = 2048;
/// Repositories that are remembered of each.
const REPOSITORIES: usize = 4;
const PLACES: Table<Place> = Table::new("blob-places");

/// What is known of one blob, or of the layer with that diff id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Place {
    /// Full names, the latest first.
    repositories: Vec<String>,
    /// Digest and size of the layer with this diff id, compressed.
    gzipped: Option<(Digest, u64)>,
    /// The larger, the later it was touched.
    touched: u64,
}

/// What is known of blobs.
#[derive(Debug)]
pub(crate) struct Places {
    db: Db,
    known: Mutex<HashMap<Digest, Place>>,
}

impl Places {
    pub(crate) fn open(db: &Db) -> Result<Self> {
        let known = db.load(PLACES)?.into_iter().filter_map(|(digest, place)| Some((digest.parse().ok()?, place)));
        Ok(Self { db: db.clone(), known: Mutex::new(known.collect()) })
    }

    /// Notes that a repository has a blob.
    pub(crate) fn add(&self, blob: &Digest, repository: &Reference) {
        let name = repository.name();
        self.change(blob, |place| {
            if place.repositories.first() == Some(&name) {
                return false;
            }
            place.repositories.retain(|other| *other != name);
            place.repositories.insert(0, name);
            place.repositories.truncate(REPOSITORIES);
            true
        });
    }

    /// Paths of other repositories of the same registry that had a blob.
    pub(super) fn elsewhere(&self, blob: &Digest, repository: &Reference) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let names = known.get(blob).into_iter().flat_map(|place| &place.repositories);
        let other = |name: &String| {
            let other = Reference::parse(name).ok()?;
            let fits = other.domain() == repository.domain() && other.path() != repository.path();
            fits.then(|| other.path().to_owned())
        };
        names.filter_map(other).collect()
    }

    /// What the layer with this diff id became when it was compressed.
    pub(super) fn gzipped(&self, diff_id: &Digest) -> Option<Sent> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (digest, size) = known.get(diff_id)?.gzipped.clone()?;
        Some(Sent { digest, size })
    }

    /// Notes what a layer became.
    pub(super) fn remember_gzipped(&self, diff_id: &Digest, sent: &Sent) {
        let gzipped = Some((sent.digest.clone(), sent.size));
        self.change(diff_id, |place| {
            let news = place.gzipped != gzipped;
            place.gzipped = gzipped;
            news
        });
    }

    fn change(&self, digest: &Digest, change: impl FnOnce(&mut Place) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch::new();
        let next = known.values().map(|place| place.touched).max().unwrap_or(0) + 1;
        if known.len() >= MOST && !known.contains_key(digest) {
            // Half at a time, so that it is not done for each.
            let mut ages: Vec<u64> = known.values().map(|place| place.touched).collect();
            let median = *ages.select_nth_unstable(MOST / 2).1;
            known.retain(|old, place| {
                let stays = place.touched > median;
                if !stays {
                    batch = std::mem::take(&mut batch).delete(PLACES, old.as_str());
                }
                stays
            });
        }
        let place = known.entry(digest.clone()).or_default();
        if !change(place) {
            return;
        }
        place.touched = next;
        match batch.put(PLACES, digest.as_str(), place) {
            // In the order of the changes: the lock is held.
            Ok(batch) => self.db.submit(batch, |written| {
                if let Err(e) = written {
                    tracing::debug!("where blobs are was not written: {e}");
                }
            }),
            Err(e) => tracing::debug!("where blobs are was not written: {e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    fn digest(n: usize) -> Digest {
        format!("sha256:{n:064x}").parse().unwrap()
    }

    #[test]
    fn the_same_registry_elsewhere_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Places::open(&Db::open(&dir.path().join("db")).unwrap()).unwrap();
        let places = open();
        for repository in ["r:5000/a", "r:5000/b", "other/c", "r:5000/a:tag"] {
            places.add(&digest(1), &name(repository));
        }
        let sent = Sent { digest: digest(7), size: 9 };
        places.remember_gzipped(&digest(2), &sent);
        // A later batch is durable after an earlier one.
        places.db.commit(Batch::new().delete(PLACES, "")).unwrap();
        drop(places);
        let places = open();
        assert_eq!(places.elsewhere(&digest(1), &name("r:5000/c")), ["a", "b"]);
        assert_eq!(places.elsewhere(&digest(1), &name("r:5000/a")), ["b"]);
        assert!(places.elsewhere(&digest(2), &name("r:5000/a")).is_empty());
        assert_eq!(places.gzipped(&digest(2)), Some(sent));
    }

    #[test]
    fn bounded() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::open(&Db::open(&dir.path().join("db")).unwrap()).unwrap();
        for n in 0..=MOST {
            places.add(&digest(n), &name("r:5000/a"));
        }
        for n in 0..10 {
            places.add(&digest(MOST), &name(&format!("r:5000/{n}")));
        }
        let known = places.known.lock().unwrap();
        assert!(known.len() <= MOST / 2 + 1, "{}", known.len());
        assert!(!known.contains_key(&digest(0)) && known.contains_key(&digest(MOST - 1)));
        assert_eq!(known[&digest(MOST)].repositories.len(), REPOSITORIES);
    }
}
