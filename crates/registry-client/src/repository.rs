//! One repository of a registry.

use crate::{BlobBody, Error, Head, Manifest, Mount, Result, UploadSession, Which};
use bytes::Bytes;
use gantry_model::Digest;

/// What a repository is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
}

/// A repository. Clones share the tokens, and what was learnt about where it is.
#[derive(Debug, Clone)]
pub struct Repository {}

fn later<T>() -> std::future::Ready<Result<T>> {
    std::future::ready(Err(Error::Protocol("not there yet".to_owned())))
}

impl Repository {
    /// Fetches a manifest.
    pub async fn manifest(&self, _which: Which<'_>) -> Result<Manifest> {
        later().await
    }

    /// Asks about a manifest.
    pub async fn manifest_head(&self, _which: Which<'_>) -> Result<Option<Head>> {
        later().await
    }

    /// Stores a manifest; returns its digest.
    pub async fn put_manifest(&self, _which: Which<'_>, _media_type: &str, _bytes: Bytes) -> Result<Digest> {
        later().await
    }

    /// All tags.
    pub async fn tags(&self) -> Result<Vec<String>> {
        later().await
    }

    /// Opens a blob at `from`, up to before `to`.
    pub async fn blob(&self, _digest: &Digest, _from: u64, _to: Option<u64>) -> Result<BlobBody> {
        later().await
    }

    /// Opens a blob that is elsewhere. No credentials go there.
    pub async fn foreign_blob(&self, _url: &str, _from: u64) -> Result<BlobBody> {
        later().await
    }

    /// The size of a blob that the registry has.
    pub async fn blob_size(&self, _digest: &Digest) -> Result<Option<u64>> {
        later().await
    }

    /// Takes a blob over from another repository of this registry, or begins to upload it.
    pub async fn mount_blob(&self, _digest: &Digest, _from_repository: &str) -> Result<Mount> {
        later().await
    }

    /// Begins an upload.
    pub async fn start_upload(&self) -> Result<UploadSession> {
        later().await
    }
}
