//! Blobs on their way here.

use crate::Result;
use bytes::Bytes;

/// The body of a blob, or of a part of it, as it arrives.
#[derive(Debug)]
pub struct BlobBody {
    /// The offset in the blob of the first byte that comes. Not what was asked for, if the registry knows no ranges.
    pub start: u64,
    /// The size of the whole blob, if the registry says.
    pub total: Option<u64>,
    /// Whether the registry understood a range.
    pub ranged: bool,
}

impl BlobBody {
    /// The next bytes; `None` after the last, if the registry sent as many as it promised.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        std::future::ready(Ok(None)).await
    }
}
