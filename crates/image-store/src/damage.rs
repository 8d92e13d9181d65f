//! Blobs whose bytes turned out to be others than their digest says. They are remembered, so that the next pull fetches
//! them again, and forgotten when good bytes have replaced them.

use crate::{ImageStore, lease::Lease, records::DAMAGED, store::Inner};
use gantry_model::{Digest, Error, Result, error::Context};
use gantry_state_db::Batch;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read},
};

/// A blob being read: digested on the way, so that damage does not travel. It stays in the store while this lives.
#[derive(Debug)]
pub struct BlobReader {
    file: File,
    digest: Digest,
    size: u64,
    left: u64,
    hasher: Sha256,
    checked: bool,
    store: ImageStore,
    _lease: Lease,
}

impl ImageStore {
    /// Opens a blob; `None` when the store does not have it in full.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<BlobReader>> {
        let mut lease = Lease::new(&self.inner);
        if !lease.use_blob(digest) {
            return Ok(None);
        }
        let open = || File::open(self.inner.files.blob(digest)).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = open().map_err(Error::from).context(format_args!("blob {digest}"))?;
        let (store, digest, hasher) = (self.clone(), digest.clone(), Sha256::new());
        Ok(Some(BlobReader { file, digest, size, left: size, hasher, checked: false, store, _lease: lease }))
    }

    /// The blobs that are known to be damaged, and how that showed.
    pub fn damaged(&self) -> Vec<(Digest, String)> {
        self.inner.read_state().damaged.iter().map(|(digest, what)| (digest.clone(), what.clone())).collect()
    }
}

impl BlobReader {
    /// Bytes of the whole blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Compares the digest once all bytes were read.
    fn check(&mut self) -> io::Result<()> {
        if self.checked {
            return Ok(());
        }
        self.checked = true;
        let found = Digest::sha256(std::mem::take(&mut self.hasher).finalize().into());
        if self.left == 0 && found == self.digest {
            return Ok(());
        }
        let what = if self.left == 0 { format!("its digest is {found}") } else { "it became shorter".to_owned() };
        self.store.inner.mark_damaged(&self.digest, &what);
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("blob {} is damaged: {what}", self.digest)))
    }
}

impl Read for BlobReader {
    /// The last bytes are given only when the whole is sound, so that whoever sends them on cannot send a damaged blob
    /// in full.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 && self.left > 0 {
            return Ok(0);
        }
        let read = if most == 0 { 0 } else { self.file.read(&mut buffer[..most])? };
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 || read == 0 {
            self.check()?;
        }
        Ok(read)
    }
}

impl Inner {
    /// Remembers that a blob is damaged.
    pub(crate) fn mark_damaged(&self, blob: &Digest, what: &str) {
        tracing::warn!("blob {blob} is damaged: {what}; the next pull of an image with it fetches it again");
        let new = self.write_state().damaged.insert(blob.clone(), what.to_owned()).is_none();
        if new {
            let batch = Batch::new().put(DAMAGED, blob.as_str(), &what.to_owned());
            self.note_damage(batch.map_err(Error::from), blob);
        }
    }

    /// Forgets the damage of a blob that was replaced.
    pub(crate) fn mended(&self, blob: &Digest) {
        if self.write_state().damaged.remove(blob).is_some() {
            self.note_damage(Ok(Batch::new().delete(DAMAGED, blob.as_str())), blob);
        }
    }

    /// What cannot be written down is found out again.
    fn note_damage(&self, batch: Result<Batch>, blob: &Digest) {
        if let Err(e) = batch.and_then(|batch| self.db.commit(batch).map_err(Error::from)) {
            tracing::warn!("cannot note the state of blob {blob}: {e}");
        }
    }
}
