//! Small blobs, whole.

use super::Attempts;
use bytes::BytesMut;
use gantry_model::{Digest, Error, Result};
use gantry_registry_client::{self as registry, Repository};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A connection on which nothing comes for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Fetches an image's configuration of at most `limit` bytes.
pub(crate) async fn small_blob(repository: &Repository, digest: &Digest, limit: u64, attempts: u32) -> Result<Vec<u8>> {
    let mut attempts = Attempts::new(attempts);
    loop {
        let failure = match attempt(repository, digest, limit).await {
            Ok(bytes) => return bytes,
            Err(failure) if failure.is_transient() => failure,
            Err(failure) => return Err(failure.into()),
        };
        let Some(pause) = attempts.pause(0, failure.retry_after()) else { return Err(failure.into()) };
        tokio::time::sleep(pause).await;
    }
}

/// The inner result is final.
async fn attempt(repository: &Repository, digest: &Digest, limit: u64) -> Result<Result<Vec<u8>>, registry::Error> {
    let mut body = repository.blob(digest, 0, None).await?;
    let mut all = BytesMut::new();
    loop {
        let Ok(next) = tokio::time::timeout(STALLED, body.next()).await else {
            return Ok(Err(Error::unavailable(format!("blob {digest}: nothing arrived for {STALLED:?}"))));
        };
        let Some(bytes) = next? else { return Ok(verified(all.into(), digest)) };
        if (all.len() + bytes.len()) as u64 > limit {
            return Ok(Err(Error::invalid(format!("blob {digest} has more than {limit} bytes"))));
        }
        all.extend_from_slice(&bytes);
    }
}

fn verified(bytes: Vec<u8>, digest: &Digest) -> Result<Vec<u8>> {
    if Digest::sha256(Sha256::digest(&bytes).into()) == *digest {
        return Ok(bytes);
    }
    Err(Error::invalid(format!("image config verification failed for digest {digest}")))
}
