//! How far a fetch is, as its watchers see it. They may miss steps, never the last one.

use super::Lease;
use gantry_model::{Error, ErrorKind};
use std::sync::Arc;

/// Where a fetch is.
#[derive(Debug, Clone)]
pub(crate) enum Phase {
    /// Nothing has happened yet.
    Starting,
    /// For its turn.
    Waiting,
    /// Bytes are missing.
    Downloading,
    /// So many seconds from now it is tried again.
    Retrying(u64),
    /// Every byte is here.
    Unpacking,
    /// The layer is in the store.
    Done(Lease),
    /// It failed.
    Failed(Failure),
}

/// An error that several pulls tell their clients.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: Arc<str>,
}

/// A fetch at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    /// Bytes of the blob that are here.
    pub(crate) received: u64,
    /// Bytes of the blob that are unpacked.
    pub(crate) unpacked: u64,
    /// Bytes of the blob.
    pub(crate) total: u64,
}

impl Snapshot {
    pub(super) fn new(total: u64) -> Self {
        Self { phase: Phase::Starting, received: 0, unpacked: 0, total }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Failed(_))
    }
}

impl From<&Error> for Failure {
    fn from(e: &Error) -> Self {
        Self { kind: e.kind(), message: e.message().into() }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, &*failure.message)
    }
}
