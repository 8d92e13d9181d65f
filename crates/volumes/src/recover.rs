//! Bringing directories and rows together after a crash; the table is in the crate's documentation.

use crate::error::{Result, VolumeError};
use crate::options::{VOLUME_DRIVER, check_name};
use crate::uses;
use crate::volume::Volume;
use crate::volumes::{VOLUMES, make_dirs};
use gantry_model::{Id, Timestamp};
use gantry_state_db::{Batch, Db};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Settles `root` and returns the volumes that exist.
pub(crate) fn settle(root: &Path, db: &Db) -> Result<BTreeMap<String, Volume>> {
    let mut volumes: BTreeMap<String, Volume> = db.load(VOLUMES)?.into_iter().collect();
    let mut adopted = Batch::new();
    for entry in fs::read_dir(root).map_err(VolumeError::io("", "read directory"))? {
        let entry = entry.map_err(VolumeError::io("", "read directory"))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if let Some(name) = name.strip_prefix(".new-").or_else(|| name.strip_prefix(".old-")) {
            put_back_or_delete(root, &entry.path(), name, volumes.contains_key(name));
        } else if !volumes.contains_key(&name) && check_name(&name).is_ok() && entry.path().join("_data").is_dir() {
            let created = entry.metadata().and_then(|m| m.modified()).ok().map_or_else(Timestamp::now, from_system);
            let anonymous = name.parse::<Id>().is_ok();
            let driver = VOLUME_DRIVER.to_owned();
            let volume = Volume { name: name.clone(), driver, created, labels: None, options: None, anonymous };
            adopted = adopted.put(VOLUMES, &name, &volume)?;
            volumes.insert(name, volume);
        }
    }
    if !adopted.is_empty() {
        db.commit(adopted)?;
    }
    for name in volumes.values().filter(|volume| volume.is_local()).map(|volume| &volume.name) {
        let home = root.join(name);
        if home.exists() {
            settle_fill(&home);
        } else {
            tracing::warn!("volume {name}: its directory was gone; it is empty now");
            make_dirs(&home).map_err(VolumeError::io(name, "create directory"))?;
        }
    }
    Ok(volumes)
}

fn settle_fill(home: &Path) {
    if let Err(e) = uses::settle(home) {
        tracing::warn!("{}: a copy of an image's files was interrupted, which cannot be settled: {e}", home.display());
    }
}

fn put_back_or_delete(root: &Path, path: &Path, name: &str, wanted: bool) {
    let home = root.join(name);
    let settled = if wanted && !home.exists() { fs::rename(path, &home) } else { fs::remove_dir_all(path) };
    if let Err(e) = settled {
        tracing::warn!("{}: left over and not removable: {e}", path.display());
    }
}

fn from_system(time: std::time::SystemTime) -> Timestamp {
    let nanos = time.duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    Timestamp::from_unix_nanos(i128::try_from(nanos).unwrap_or(0))
}
