//! The build cache as clients see it: in `/system/df`, and `POST /build/prune`.
//!
//! A record of a step leads to an image. Removing the record removes the image too, if it is there for the cache alone:
//! no name, no other image made from it, no container. Cache mounts are directories.

use super::files::image_id;
use super::run_mounts::{ID, USED};
use crate::filters::Filters;
use crate::{Engine, blocking, until};
use gantry_api_types::{BuildCache, BuildPruneResponse};
use gantry_image_builder::cache::Record;
use gantry_image_store::pack::{Step, Walk};
use gantry_image_store::{Deleted, Image, ImageId, InUse, RemoveOptions};
use gantry_model::error::Context;
use gantry_model::{Error, Id, Result, Timestamp};
use regex_lite::Regex;
use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// What to remove.
#[derive(Debug, Clone, Default)]
pub struct BuildPrune {
    /// Also what named images were made of.
    pub all: bool,
    /// Bytes that may stay.
    pub reserved: u64,
    /// Bytes beyond which something goes; 0 is no bound.
    pub max_used: u64,
    /// Bytes of the disk that should be free; 0 is no wish.
    pub min_free: u64,
    /// Which.
    pub filters: Filters,
}

/// A record with what is known of it.
struct Entry {
    shown: BuildCache,
    used: Timestamp,
    what: What,
}

enum What {
    Step(String),
    Mount,
}

/// Filters by what a record says, each of one value. An id's is a regular expression, as in Docker.
const FIELDS: [&str; 7] = ["id", "parent", "type", "description", "inuse", "shared", "private"];
/// Filters that are known beside them. `unused-for` is what `until` was called once. `docker system prune` sends its
/// filters here, too; no record has a label.
const OTHERS: [&str; 4] = ["until", "unused-for", "label", "label!"];

impl Engine {
    /// The records of the build cache. Blocks.
    pub(crate) fn build_cache_usage(&self) -> Result<Vec<BuildCache>> {
        Ok(self.cache_entries()?.into_iter().map(|entry| entry.shown).collect())
    }

    /// Removes records of the build cache.
    pub async fn build_prune(&self, prune: BuildPrune) -> Result<BuildPruneResponse> {
        prune.filters.accept_only(&[&FIELDS[..], &OTHERS[..]].concat())?;
        if FIELDS.iter().any(|field| prune.filters.get(field).count() > 1) {
            return Err(Error::invalid("filters expect only one value"));
        }
        let before = until::parse(&prune.filters)?;
        let engine = self.arc();
        blocking(move || engine.prune_cache(&prune, before)).await
    }

    fn prune_cache(&self, prune: &BuildPrune, before: Option<Timestamp>) -> Result<BuildPruneResponse> {
        let entries = self.cache_entries()?;
        let total: u64 = entries.iter().map(|entry| size(&entry.shown)).sum();
        let goal = self.goal(prune, total)?;
        let ids = ids(&prune.filters)?;
        let wanted = |entry: &Entry| {
            let shown = &entry.shown;
            !shown.in_use
                && (prune.all || !shown.shared)
                && before.is_none_or(|before| entry.used <= before)
                && matches(&prune.filters, ids.as_ref(), shown)
        };
        let mut response = BuildPruneResponse::default();
        let mut chosen = Vec::new();
        let mut freed = 0;
        for entry in entries.into_iter().filter(wanted) {
            if goal.is_some_and(|goal| freed >= goal) {
                break;
            }
            freed += size(&entry.shown);
            chosen.push(entry);
        }
        let keys: HashSet<String> =
            chosen.iter().filter(|e| matches!(e.what, What::Step(_))).map(|e| e.shown.id.clone()).collect();
        self.build_cache.forget(&keys)?;
        let images: HashMap<String, u64> = chosen
            .iter()
            .filter_map(|e| if let What::Step(image) = &e.what { Some((image.clone(), size(&e.shown))) } else { None })
            .collect();
        response.space_reclaimed = self.remove_cached(images);
        for entry in chosen {
            if matches!(entry.what, What::Mount) {
                if !self.remove_mount(&entry.shown.id)? {
                    continue;
                }
                response.space_reclaimed += size(&entry.shown);
            }
            response.caches_deleted.get_or_insert_default().push(entry.shown.id);
        }
        self.prune_event("builder", response.space_reclaimed);
        Ok(response)
    }

    /// How many bytes are enough; `None` for all.
    fn goal(&self, prune: &BuildPrune, total: u64) -> Result<Option<u64>> {
        let most = total.saturating_sub(prune.reserved);
        if prune.max_used == 0 && prune.min_free == 0 {
            return Ok((prune.reserved > 0).then_some(most));
        }
        let by_use = if prune.max_used > 0 { total.saturating_sub(prune.max_used) } else { 0 };
        let by_free = if prune.min_free > 0 {
            let disk = rustix::fs::statvfs(&self.config.data_root).map_err(io::Error::from)?;
            prune.min_free.saturating_sub(disk.f_bavail.saturating_mul(disk.f_frsize))
        } else {
            0
        };
        Ok(Some(by_use.max(by_free).min(most)))
    }

    /// Removes images that nothing needs any more, children first; the bytes of their own layers.
    fn remove_cached(&self, mut images: HashMap<String, u64>) -> u64 {
        let mut freed = 0;
        let users = |id: &ImageId| self.images().in_use(id);
        let options = RemoveOptions { force: false, prune: false };
        loop {
            let mut gone = Vec::new();
            for (id, size) in &images {
                let Ok(parsed) = image_id(id) else { continue };
                let Some(image) = self.images.get(&parsed) else { continue };
                if !image.is_unnamed() || self.images.has_children(&parsed) || users(&parsed) != InUse::None {
                    continue;
                }
                match self.images.remove(id, options, &users) {
                    Ok(deleted) => {
                        let layer = deleted.iter().any(|step| matches!(step, Deleted::Layer(_)));
                        freed += if layer { *size } else { 0 };
                        self.images().report(deleted, &[image]);
                        gone.push(id.clone());
                    }
                    Err(e) => tracing::debug!("the build cache keeps {id}: {e}"),
                }
            }
            if gone.is_empty() {
                return freed;
            }
            for id in gone {
                images.remove(&id);
            }
        }
    }

    fn remove_mount(&self, name: &str) -> Result<bool> {
        let dir = self.config.data_root.join("build/mounts").join(name);
        let trash = self.config.data_root.join("trash").join(Id::random().to_string());
        let moved = self.cache_mounts.if_unused(name, || fs::rename(&dir, &trash));
        let Some(moved) = moved else { return Ok(false) };
        moved.context(dir.display())?;
        fs::remove_dir_all(&trash).context(trash.display())?;
        Ok(true)
    }

    /// Everything that is kept, the least recently used first.
    fn cache_entries(&self) -> Result<Vec<Entry>> {
        let images: HashMap<String, Arc<Image>> =
            self.images.list().into_iter().map(|image| (image.id.to_string(), image)).collect();
        let shared = shared(&images);
        let records = self.build_cache.list();
        let by_image: HashMap<String, String> =
            records.iter().map(|(key, record)| (record.image.clone(), key.clone())).collect();
        let mut entries = Vec::new();
        // Several records may lead to one image; its size counts once.
        let mut counted = HashSet::new();
        for (key, record) in records {
            let Some(image) = images.get(&record.image) else { continue };
            let size = if counted.insert(record.image.clone()) { own_size(image) } else { 0 };
            let parent = record.parent.as_ref().and_then(|parent| by_image.get(parent)).cloned();
            let in_use = self.images().in_use(&image.id) != InUse::None;
            entries.push(step(key, record, size, parent, shared.contains(image.id.as_str()), in_use));
        }
        entries.extend(self.mount_entries()?);
        entries.sort_by_key(|entry| entry.used);
        Ok(entries)
    }

    fn mount_entries(&self) -> Result<Vec<Entry>> {
        let dir = self.config.data_root.join("build/mounts");
        let mut entries = Vec::new();
        for found in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let (path, name) = (found.path(), found.file_name().to_string_lossy().into_owned());
            let Ok(id) = fs::read_to_string(path.join(ID)) else { continue };
            let measure = || -> io::Result<_> {
                let (used, uses) = (path.join(USED), fs::metadata(path.join(USED))?.len());
                Ok((written(&path.join(ID))?, written(&used)?, uses, tree_size(&path.join("data"))?))
            };
            let (created, used, uses, size) = match measure() {
                // It was removed meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                measured => measured.context(path.display())?,
            };
            let shown = BuildCache {
                r#type: "exec.cachemount".to_owned(),
                description: format!("cached mount {id}"),
                in_use: self.cache_mounts.is_used(&name),
                size: i64::try_from(size).unwrap_or(i64::MAX),
                created_at: created.to_string(),
                last_used_at: Some(used.to_string()),
                usage_count: i64::try_from(uses).unwrap_or(i64::MAX),
                id: name,
                ..BuildCache::default()
            };
            entries.push(Entry { shown, used, what: What::Mount });
        }
        Ok(entries)
    }
}

fn step(key: String, record: Record, size: u64, parent: Option<String>, shared: bool, in_use: bool) -> Entry {
    let shown = BuildCache {
        id: key,
        parents: parent.map(|parent| vec![parent]),
        r#type: "regular".to_owned(),
        description: record.description,
        in_use,
        shared,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        created_at: record.created.to_string(),
        last_used_at: Some(record.used.to_string()),
        usage_count: i64::try_from(record.uses).unwrap_or(i64::MAX),
        ..BuildCache::default()
    };
    Entry { shown, used: record.used, what: What::Step(record.image) }
}

/// When a file was last written.
fn written(path: &Path) -> io::Result<Timestamp> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Timestamp::from_unix_nanos(i128::try_from(since.as_nanos()).unwrap_or(0)))
}

fn size(shown: &BuildCache) -> u64 {
    u64::try_from(shown.size).unwrap_or(0)
}

/// Images with a name, and what they were made from.
fn shared(images: &HashMap<String, Arc<Image>>) -> HashSet<String> {
    let mut shared = HashSet::new();
    for image in images.values().filter(|image| !image.is_unnamed()) {
        let mut step = Some(image);
        while let Some(image) = step {
            if !shared.insert(image.id.to_string()) {
                break;
            }
            step = image.parent.as_ref().and_then(|parent| images.get(parent.as_str()));
        }
    }
    shared
}

/// Bytes of an image's last step.
fn own_size(image: &Image) -> u64 {
    let empty = image.document.history.last().is_none_or(|step| step.empty_layer);
    if empty { 0 } else { image.layers.last().map_or(0, |layer| layer.size) }
}

fn tree_size(path: &Path) -> io::Result<u64> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = openat(CWD, path, flags, Mode::empty())?;
    let mut walk = Walk::new(&dir, b"")?;
    let mut size = 0;
    while let Some(step) = walk.step()? {
        let Step::Found(found) = step else { continue };
        match found.kind() {
            FileType::RegularFile => size += u64::try_from(found.stat.st_size).unwrap_or(0),
            FileType::Directory => walk.enter(&found)?,
            _ => {}
        }
    }
    Ok(size)
}

/// The regular expression of the `id` filter.
fn ids(filters: &Filters) -> Result<Option<Regex>> {
    let wrong = |e| Error::invalid(format!("invalid filter for ids: {e}"));
    filters.get("id").next().map(|text| Regex::new(text).map_err(wrong)).transpose()
}

fn matches(filters: &Filters, ids: Option<&Regex>, shown: &BuildCache) -> bool {
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| !filters.has(key) || filters.get(key).any(fits);
    let switch = |key: &str, is: bool| any(key, &|value| is != matches!(value, "0" | "false"));
    ids.is_none_or(|ids| ids.is_match(&shown.id))
        && any("parent", &|id| shown.parents.iter().flatten().any(|parent| parent == id))
        && any("type", &|kind| shown.r#type == kind)
        && any("description", &|text| shown.description == text)
        && !filters.has("label")
        && switch("inuse", shown.in_use)
        && switch("shared", shown.shared)
        && switch("private", !shown.shared)
}
