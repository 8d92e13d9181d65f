//! After a power failure: images whose files may not have reached the disk.

use crate::{
    extract::Limits,
    files::Files,
    pipeline::{self, Keep, Plan},
    records::ImageRecord,
};
use gantry_model::{Digest, Error, Result, error::Context};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Names this boot of the machine; files written in it are complete even where they are not on disk yet.
pub(crate) fn boot() -> Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(Error::from).context("boot_id")?;
    Ok(id.trim().to_owned())
}

/// Why an image was not restored.
enum Failure {
    /// Its bytes are lost.
    Damaged(Error),
    /// They are here, but something is in the way: a full disk, say.
    Unable(Error),
}

/// Checks the images that were not synced before this boot: damaged ones are taken out of `records`, and their ids
/// returned; the layers of the others are extracted again. Where that cannot be done now, the next start tries again.
pub(crate) fn check(files: &Files, limits: Limits, records: &mut Vec<(String, ImageRecord)>) -> Result<Vec<String>> {
    let boot = boot()?;
    let doubtful = |record: &ImageRecord| record.unsynced.as_ref().is_some_and(|written| *written != boot);
    if !records.iter().any(|(_, record)| doubtful(record)) {
        return Ok(Vec::new());
    }
    // Layers of images that are known to be on disk need no second look.
    let mut sound: HashSet<Digest> = records
        .iter()
        .filter(|(_, record)| !doubtful(record))
        .flat_map(|(_, record)| record.layers.iter().map(|l| l.diff_id.clone()))
        .collect();
    let mut dropped = Vec::new();
    records.retain_mut(|(id, record)| {
        if !doubtful(record) {
            return true;
        }
        match restore(files, limits, id, record, &mut sound) {
            Ok(()) => {
                record.unsynced = Some(boot.clone());
                true
            }
            Err(Failure::Unable(e)) => {
                tracing::error!("image {id} cannot be used until the next start, because it was not checked: {e}");
                true
            }
            Err(Failure::Damaged(e)) => {
                tracing::warn!("image {id} did not survive the machine's last stop and is removed: {e}");
                dropped.push(id.clone());
                false
            }
        }
    });
    Ok(dropped)
}

fn restore(
    files: &Files,
    limits: Limits,
    id: &str,
    record: &ImageRecord,
    sound: &mut HashSet<Digest>,
) -> Result<(), Failure> {
    let document: Digest = id.parse().map_err(|_| Failure::Damaged(Error::internal("the id is no digest")))?;
    let index = record.index.as_ref().map(|index| &index.digest);
    for blob in [&document, &record.manifest].into_iter().chain(index) {
        verify(files, blob)?;
    }
    for layer in &record.layers {
        verify(files, &layer.blob)?;
        if !sound.contains(&layer.diff_id) {
            extract(files, limits, &layer.blob, &layer.diff_id).map_err(Failure::Unable)?;
            sound.insert(layer.diff_id.clone());
        }
    }
    Ok(())
}

/// Replaces a layer's directory by what a sound blob holds.
fn extract(files: &Files, limits: Limits, blob: &Digest, diff_id: &Digest) -> Result<()> {
    drop(files.discard_layer(diff_id.hex()));
    let fresh = files.temporary_layer()?;
    let plan = Plan { known: Some(blob), keep: Keep::No, extract: Some(&fresh.path().join("diff")), limits };
    pipeline::run(&mut File::open(files.blob(blob))?, &plan, &mut |_| ())?;
    fresh.publish(&files.layer(diff_id))
}

fn verify(files: &Files, blob: &Digest) -> Result<(), Failure> {
    match digest_of(&files.blob(blob)) {
        Ok(found) if found == *blob => Ok(()),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Failure::Unable(e.into())),
        _ => Err(Failure::Damaged(Error::internal(format!("blob {blob} is missing or damaged")))),
    }
}

/// The digest of a file.
pub(crate) fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(Digest::sha256(hasher.finalize().into()))
}
