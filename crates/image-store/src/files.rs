//! Where blobs and layers lie, and temporary files that vanish unless they are published.
//!
//! `images/` is an OCI image layout with the blobs as they came; `layers/<chain id>/diff` is a layer's directory for
//! overlayfs. What is being made lies under a temporary name on the same file system until it is complete.

use gantry_model::{Digest, Error, Id, Result, error::Context};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(crate) struct Files {
    images: PathBuf,
    layers: PathBuf,
}

impl Files {
    /// The files below `data_root`; what an earlier process left unfinished is removed.
    pub(crate) fn open(data_root: &Path) -> Result<Self> {
        let files = Self { images: data_root.join("images"), layers: data_root.join("layers") };
        for directory in [files.images.join("blobs/sha256"), files.ingest(), files.layers.clone()] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o710).create(&directory);
            made.map_err(Error::from).context(format_args!("cannot make {}", directory.display()))?;
        }
        for (directory, is_unfinished) in
            [(files.ingest(), any as fn(&str) -> bool), (files.layers.clone(), is_temporary)]
        {
            for name in names(&directory)?.filter(|name| is_unfinished(name)) {
                remove_all(&directory.join(name));
            }
        }
        Ok(files)
    }

    pub(crate) fn images(&self) -> &Path {
        &self.images
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.images.join("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn layer(&self, chain_id: &Digest) -> PathBuf {
        self.layers.join(chain_id.hex())
    }

    pub(crate) fn temporary_file(&self) -> Result<Temporary> {
        let path = self.ingest().join(Id::random().short());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(Error::from).context("cannot make a temporary file")?;
        Ok(Temporary { path, file: Some(file) })
    }

    /// An empty directory with a `diff` in it.
    pub(crate) fn temporary_layer(&self) -> Result<Temporary> {
        let path = self.layers.join(format!("{TEMPORARY}{}", Id::random().short()));
        let temporary = Temporary { path, file: None };
        fs::DirBuilder::new()
            .mode(0o710)
            .create(&temporary.path)
            .and_then(|()| fs::DirBuilder::new().mode(0o755).create(temporary.path.join("diff")))
            .map_err(Error::from)
            .context("cannot make a directory for the layer")?;
        Ok(temporary)
    }

    /// Hex names of the blobs that are there.
    pub(crate) fn blob_names(&self) -> Result<impl Iterator<Item = String>> {
        names(&self.images.join("blobs/sha256"))
    }

    /// Hex names of the layers that are there.
    pub(crate) fn layer_names(&self) -> Result<impl Iterator<Item = String>> {
        names(&self.layers)
    }

    /// Takes a blob away; the space is freed when the result is dropped, which may take time.
    pub(crate) fn discard_blob(&self, hex: &str) -> Option<Temporary> {
        let path = self.ingest().join(Id::random().short());
        discard(&self.images.join("blobs/sha256").join(hex), path)
    }

    /// Takes a layer away; the space is freed when the result is dropped, which may take time.
    pub(crate) fn discard_layer(&self, hex: &str) -> Option<Temporary> {
        discard(&self.layers.join(hex), self.layers.join(format!("{TEMPORARY}{}", Id::random().short())))
    }

    /// Replaces a small file of the image layout as a whole.
    pub(crate) fn replace(&self, name: &str, contents: &[u8]) -> Result<()> {
        let mut temporary = self.temporary_file()?;
        temporary.file().write_all(contents)?;
        temporary.publish(&self.images.join(name))
    }

    /// Any file of the store's file system, to sync it.
    pub(crate) fn any(&self) -> io::Result<File> {
        File::open(&self.images)
    }

    fn ingest(&self) -> PathBuf {
        self.images.join("ingest")
    }
}

const TEMPORARY: &str = "tmp-";

fn any(_: &str) -> bool {
    true
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

fn names(directory: &Path) -> Result<impl Iterator<Item = String> + use<>> {
    let entries = fs::read_dir(directory).map_err(Error::from).context(directory.display())?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
}

fn discard(from: &Path, to: PathBuf) -> Option<Temporary> {
    match fs::rename(from, &to) {
        Ok(()) => Some(Temporary { path: to, file: None }),
        Err(e) => {
            if e.kind() != io::ErrorKind::NotFound {
                tracing::warn!("cannot remove {}: {e}; the next start tries again", from.display());
            }
            None
        }
    }
}

/// Removes a file or a tree, and goes on without it: the next start sweeps again.
fn remove_all(path: &Path) {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    if let Err(e) = removed
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {e}", path.display());
    }
}

/// A file or directory that is removed when it is dropped without having been published.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    file: Option<File>,
}

impl Temporary {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; only a temporary file has one.
    pub(crate) fn file(&mut self) -> &mut File {
        self.file.as_mut().expect("temporary_file opened it, and only directories are made without")
    }

    /// Gives it its lasting name.
    pub(crate) fn publish(mut self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).map_err(Error::from).context(format_args!("cannot store {}", to.display()))?;
        // Nothing is left to remove.
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            remove_all(&self.path);
        }
    }
}
