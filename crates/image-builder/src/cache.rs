//! Results of steps that can be used again, as records in the state file.
//!
//! A result is an image, so that the record is only a way to it: when the image is gone the record says nothing, and
//! goes. The number of records is bounded; those that were not used for the longest time go first.

use gantry_model::error::Context;
use gantry_model::{Error, Result, Timestamp};
use gantry_state_db::{Batch, Db, Table};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records that are kept.
const MOST: usize = 10_000;
/// That many go at once, so that not every build pays for it.
const SPARE: usize = 500;

const RECORDS: Table<Record> = Table::new("build_cache");

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The image.
    pub image: String,
    /// What that was made from.
    pub parent: Option<String>,
    /// The instruction, for people.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
    /// How often.
    pub uses: u64,
}

/// The records.
#[derive(Debug)]
pub struct Cache {
    db: Db,
    records: Mutex<HashMap<String, Record>>,
}

impl Cache {
    /// Reads the records.
    pub fn open(db: &Db) -> Result<Self> {
        let records = db.load(RECORDS).map_err(Error::from).context("the build cache")?;
        Ok(Self { db: db.clone(), records: Mutex::new(records.into_iter().collect()) })
    }

    /// The image under a key, if `there` says that it still is one. Counts as a use.
    pub fn find(&self, key: &str, there: impl FnOnce(&str) -> bool) -> Option<String> {
        let mut records = self.lock();
        let record = records.get_mut(key)?;
        if !there(&record.image) {
            let batch = Batch::new().delete(RECORDS, key);
            records.remove(key);
            drop(records);
            self.write(batch);
            return None;
        }
        record.used = Timestamp::now();
        record.uses += 1;
        let (image, batch) = (record.image.clone(), Batch::new().put(RECORDS, key, record));
        drop(records);
        // How often something was used is worth no waiting.
        if let Ok(batch) = batch {
            self.write(batch);
        }
        Some(image)
    }

    /// Keeps a result. Only a crash loses it, and then it is made again.
    pub fn keep(&self, key: &str, image: &str, parent: Option<&str>, description: &str) {
        const LONGEST: usize = 200;
        let now = Timestamp::now();
        let record = Record {
            image: image.to_owned(),
            parent: parent.map(str::to_owned),
            description: description.chars().take(LONGEST).collect(),
            created: now,
            used: now,
            uses: 0,
        };
        let Ok(mut batch) = Batch::new().put(RECORDS, key, &record) else { return };
        let mut records = self.lock();
        records.insert(key.to_owned(), record);
        if records.len() > MOST {
            let mut by_use: Vec<(Timestamp, String)> = records.iter().map(|(k, r)| (r.used, k.clone())).collect();
            by_use.sort_unstable();
            for (_, old) in by_use.into_iter().take(SPARE) {
                records.remove(&old);
                batch = batch.delete(RECORDS, &old);
            }
        }
        drop(records);
        self.write(batch);
    }

    /// Every record with its key, the least recently used first.
    pub fn list(&self) -> Vec<(String, Record)> {
        let mut all: Vec<_> = self.lock().iter().map(|(key, record)| (key.clone(), record.clone())).collect();
        all.sort_unstable_by(|a, b| (a.1.used, &a.0).cmp(&(b.1.used, &b.0)));
        all
    }

    /// Forgets records; durable on return.
    pub fn forget(&self, keys: &HashSet<String>) -> Result<()> {
        let batch = keys.iter().fold(Batch::new(), |batch, key| batch.delete(RECORDS, key));
        self.lock().retain(|key, _| !keys.contains(key));
        if batch.is_empty() {
            return Ok(());
        }
        self.db.commit(batch).map_err(Error::from)
    }

    fn write(&self, batch: Batch) {
        self.db.submit(batch, |written| {
            if let Err(e) = written {
                tracing::warn!("the build cache: {e}");
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_last_and_lead_to_images_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        {
            let cache = Cache::open(&Db::open(&path).unwrap()).unwrap();
            cache.keep("k", "sha256:1", None, "RUN x");
            cache.keep("gone", "sha256:2", Some("sha256:1"), "RUN y");
            assert_eq!(cache.find("k", |image| image == "sha256:1").as_deref(), Some("sha256:1"));
            assert_eq!(cache.find("gone", |_| false), None);
            assert_eq!(cache.find("none", |_| true), None);
            cache.forget(&HashSet::new()).unwrap();
            // Waits for what was submitted.
            cache.forget(&["other".to_owned()].into()).unwrap();
        }
        let cache = Cache::open(&Db::open(&path).unwrap()).unwrap();
        let all = cache.list();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].0.as_str(), all[0].1.uses), ("k", 1));
        cache.forget(&["k".to_owned()].into()).unwrap();
        assert!(cache.list().is_empty());
    }

    #[test]
    fn the_number_of_records_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&Db::open(&dir.path().join("state.redb")).unwrap()).unwrap();
        for n in 0..=MOST {
            cache.keep(&n.to_string(), "sha256:1", None, "");
        }
        assert_eq!(cache.list().len(), MOST + 1 - SPARE);
        assert!(cache.find(&MOST.to_string(), |_| true).is_some());
    }
}
