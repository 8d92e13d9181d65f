//! Where blobs and layers lie, and temporary files that vanish unless they are published.
//!
//! `images/` is an OCI image layout with the blobs as they came; `layers/<diff id>/diff` is a layer's directory for
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
    /// The files below `data_root`, as they are.
    pub(crate) fn at(data_root: &Path) -> Self {
        Self { images: data_root.join("images"), layers: data_root.join("layers") }
    }

    /// The same; what an earlier process left unfinished is removed.
    pub(crate) fn open(data_root: &Path) -> Result<Self> {
        let files = Self::at(data_root);
        for directory in [files.images.join("blobs/sha256"), files.ingest(), files.partials(), files.layers.clone()] {
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
        self.blob_named(digest.hex())
    }

    pub(crate) fn blob_named(&self, hex: &str) -> PathBuf {
        self.images.join("blobs/sha256").join(hex)
    }

    /// The size of a blob that is there.
    pub(crate) fn blob_size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.blob(digest)).ok().filter(fs::Metadata::is_file).map(|found| found.len())
    }

    /// A blob that has not arrived in full.
    pub(crate) fn partial(&self, hex: &str) -> PathBuf {
        self.partials().join(hex)
    }

    /// What of it is there.
    pub(crate) fn journal(&self, hex: &str) -> PathBuf {
        self.partials().join(format!("{hex}{JOURNAL}"))
    }

    /// Forgets how a blob arrived that an image has now.
    pub(crate) fn forget_journal(&self, blob: &Digest) {
        drop(fs::remove_file(self.journal(blob.hex())));
    }

    /// Hex names of the blobs that have not arrived in full; of some only the journal is there.
    pub(crate) fn partial_names(&self) -> Result<impl Iterator<Item = String>> {
        let stem = |name: String| name.strip_suffix(JOURNAL).map(str::to_owned).unwrap_or(name);
        Ok(names(&self.partials())?.map(stem))
    }

    /// Bytes that the file system still has for us.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.images)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    pub(crate) fn layer(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        self.layer(diff_id).join("diff").is_dir()
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

    /// The same without those that are not finished, or retired.
    pub(crate) fn finished_layer_names(&self) -> Result<impl Iterator<Item = String>> {
        let finished = |name: &String| !is_temporary(name) && !name.starts_with(RETIRED);
        Ok(self.layer_names()?.filter(finished))
    }

    /// What is being made, or was when a process died; relative to the data root.
    pub(crate) fn unfinished(&self) -> Result<Vec<String>> {
        let ingest = names(&self.ingest())?.map(|name| format!("images/ingest/{name}"));
        let layers = self.layer_names()?.filter(|name| is_temporary(name)).map(|name| format!("layers/{name}"));
        Ok(ingest.chain(layers).collect())
    }

    /// Puts a layer's directory in place of another that a container may stand on.
    pub(crate) fn replace_layer(&self, diff_id: &Digest, fresh: Temporary, boot: &str) -> Result<()> {
        let place = self.layer(diff_id);
        match fs::rename(&place, self.retired(boot)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e)?,
            _ => fresh.publish(&place),
        }
    }

    /// Takes a blob away; the space is freed when the result is dropped, which may take time.
    pub(crate) fn discard_blob(&self, hex: &str) -> Option<Temporary> {
        let path = self.ingest().join(Id::random().short());
        discard(&self.blob_named(hex), path)
    }

    /// Takes a layer away; the space is freed when the result is dropped, which may take time.
    pub(crate) fn discard_layer(&self, hex: &str) -> Option<Temporary> {
        discard(&self.layers.join(hex), self.layers.join(format!("{TEMPORARY}{}", Id::random().short())))
    }

    /// Gives a layer the name of its archive. Where that is taken the directory is only retired: a container that was
    /// started before may stand on it.
    pub(crate) fn rename_layer(&self, name: &str, diff_id: &Digest, boot: &str) -> Result<()> {
        let to = self.layer(diff_id);
        let to = if to.exists() { self.retired(boot) } else { to };
        let renamed = fs::rename(self.layers.join(name), &to).map_err(Error::from);
        renamed.context(format_args!("cannot rename the layer {name}"))
    }

    /// A name for a layer's directory that stays until the machine restarts.
    fn retired(&self, boot: &str) -> PathBuf {
        self.layers.join(format!("{RETIRED}{boot}-{}", Id::random().short()))
    }

    /// Whether this is the name of a directory that was retired since the machine started.
    pub(crate) fn is_retired(name: &str, boot: &str) -> bool {
        name.strip_prefix(RETIRED).is_some_and(|rest| rest.starts_with(boot))
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

    fn partials(&self) -> PathBuf {
        self.images.join("partial")
    }

    fn ingest(&self) -> PathBuf {
        self.images.join("ingest")
    }
}

const TEMPORARY: &str = "tmp-";
const JOURNAL: &str = ".ranges";
const RETIRED: &str = "old-";

fn any(_: &str) -> bool {
    true
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY)
}

fn names(directory: &Path) -> Result<impl Iterator<Item = String> + use<>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => Some(entries),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).context(directory.display()),
    };
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok()))
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
        self.file.as_mut().expect("temporary_file opened it, and nobody asks after closing it")
    }

    /// Closes the file, which stays where it is.
    pub(crate) fn close(&mut self) {
        self.file = None;
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
