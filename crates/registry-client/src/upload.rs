//! Blobs on their way there.

use crate::{Error, Result};
use bytes::Bytes;
use futures_util::Stream;
use gantry_model::Digest;
use std::io;

/// The answer to the wish to take a blob over from another repository of the same registry.
#[derive(Debug)]
pub enum Mount {
    /// The blob is there now.
    Mounted,
    /// It has to be sent.
    Upload(UploadSession),
}

/// A blob's upload that has been announced.
#[derive(Debug)]
pub struct UploadSession {}

impl UploadSession {
    /// Sends the blob, of which the registry checks the digest.
    pub async fn send(
        self,
        _digest: &Digest,
        _size: u64,
        _body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        std::future::ready(Err(Error::Protocol("not there yet".to_owned()))).await
    }
}
