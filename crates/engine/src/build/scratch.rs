//! Directories in which layers are made.

use crate::Engine;
use gantry_model::error::Context;
use gantry_model::{Id, Result};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that goes with the value: an overlay's upper and work directory, and places to mount at.
pub(super) struct Scratch {
    path: PathBuf,
    trash: PathBuf,
    handle: tokio::runtime::Handle,
}

impl Engine {
    /// `<data-root>/build`, made when it is first needed.
    pub(super) fn build_dir(&self) -> Result<PathBuf> {
        let dir = self.config.data_root.join("build");
        for dir in [dir.join("tmp"), dir.join("mounts")] {
            DirBuilder::new().recursive(true).mode(0o710).create(&dir).context(dir.display())?;
        }
        Ok(dir)
    }

    /// A new directory of a build's own.
    pub(super) fn scratch(&self) -> Result<Scratch> {
        let id = Id::random().to_string();
        let path = self.build_dir()?.join("tmp").join(&id);
        let trash = self.config.data_root.join("trash").join(format!("build-{id}"));
        let scratch = Scratch { path, trash, handle: self.handle.clone() };
        DirBuilder::new().mode(0o710).create(&scratch.path).context(scratch.path.display())?;
        for (dir, mode) in [("diff", 0o755), ("work", 0o700), ("merged", 0o700), ("empty", 0o755)] {
            let dir = scratch.path.join(dir);
            DirBuilder::new().create(&dir).context(dir.display())?;
            // Whatever the daemon's umask is: `diff` becomes a root directory.
            fs::set_permissions(&dir, Permissions::from_mode(mode)).context(dir.display())?;
        }
        Ok(scratch)
    }
}

impl Scratch {
    pub(super) fn upper(&self) -> PathBuf {
        self.path.join("diff")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    pub(super) fn place(&self) -> PathBuf {
        self.path.join("merged")
    }

    /// A directory with nothing in it, for images without layers.
    pub(super) fn empty(&self) -> PathBuf {
        self.path.join("empty")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Out of sight at once; a large tree takes time to delete.
        let gone = if fs::rename(&self.path, &self.trash).is_ok() { self.trash.clone() } else { self.path.clone() };
        self.handle.spawn_blocking(move || {
            if let Err(e) = fs::remove_dir_all(&gone) {
                tracing::warn!("{}: {e}", gone.display());
            }
        });
    }
}

/// Removes what builds left that a daemon did not see the end of.
pub(crate) fn sweep(data_root: &Path) {
    for entry in fs::read_dir(data_root.join("build/tmp")).into_iter().flatten().flatten() {
        if let Err(e) = fs::remove_dir_all(entry.path()) {
            tracing::warn!("{}: {e}", entry.path().display());
        }
    }
}
