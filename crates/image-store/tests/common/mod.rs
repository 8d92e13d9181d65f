//! A store in a directory of its own.

#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod remote;

use gantry_image_store::{ImageId, ImageStore, ImportOptions, extract::Limits, import_name};
use gantry_model::Result;
use gantry_state_db::Db;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) store: ImageStore,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(&dir.path().join("state.db")).unwrap();
        let store = ImageStore::open_with_limits(dir.path(), db, limits).unwrap();
        Self { dir, store }
    }

    /// Closes the store and opens it again, as a new process would.
    pub(crate) fn reopen(self) -> Self {
        let Self { dir, store } = self;
        store.flush();
        drop(store);
        let db = Db::open(&dir.path().join("state.db")).unwrap();
        let store = ImageStore::open(dir.path(), db).unwrap();
        Self { dir, store }
    }

    pub(crate) fn import(&self, archive: &[u8], name: &str) -> Result<ImageId> {
        let options = ImportOptions { name: import_name(name, "")?, source: "-".into(), ..ImportOptions::default() };
        self.store.import(&mut &archive[..], options, &mut |_| ())
    }

    /// The directory of an image's only layer.
    pub(crate) fn tree(&self, id: &ImageId) -> PathBuf {
        self.store.rootfs_of(id).unwrap().remove(0)
    }

    /// Files that are there although no image is.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        // The index is written behind everybody's back, under a temporary name.
        self.store.flush();
        let list = |path: &str| {
            let entries = fs::read_dir(self.dir.path().join(path)).unwrap();
            entries.map(move |e| format!("{path}/{}", e.unwrap().file_name().to_string_lossy())).collect::<Vec<_>>()
        };
        [list("layers"), list("images/blobs/sha256"), list("images/ingest")].concat()
    }
}

/// A file in an archive that a test builds.
pub(crate) fn file(builder: &mut tar::Builder<Vec<u8>>, path: &str, contents: &[u8]) {
    let mut header = header(tar::EntryType::Regular, contents.len() as u64);
    builder.append_data(&mut header, path, contents).unwrap();
}

pub(crate) fn header(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(if kind == tar::EntryType::Directory { 0o755 } else { 0o644 });
    header.set_mtime(1_000_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// An archive with one file of this content.
pub(crate) fn small(content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "file", content.as_bytes());
    builder.into_inner().unwrap()
}

/// Something that does not compress to nothing.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}
