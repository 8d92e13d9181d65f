//! What can go wrong while a layer arrives.

use crate::extract::ExtractError;
use gantry_model::{Digest, Error, ErrorKind};
use std::io;

/// Why a layer could not be extracted while it arrived.
#[derive(Debug)]
pub enum ExtractFailure {
    /// The bytes are not the blob's, and were thrown away. Where some came from an earlier attempt it is worth trying
    /// once more, from the first byte.
    Damaged {
        /// Whether some bytes were there before this attempt.
        resumed: bool,
        /// What is wrong with them.
        error: Error,
    },
    /// Anything else. What arrived is kept for the next attempt, unless the disk is full or the layer is unusable.
    Failed(Error),
}

impl From<ExtractFailure> for Error {
    fn from(failure: ExtractFailure) -> Self {
        match failure {
            ExtractFailure::Damaged { error, .. } | ExtractFailure::Failed(error) => error,
        }
    }
}

/// An error that several threads are told.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    kind: ErrorKind,
    message: String,
}

impl From<&Error> for Shared {
    fn from(e: &Error) -> Self {
        Self { kind: e.kind(), message: e.message().to_owned() }
    }
}

impl From<&Shared> for Error {
    fn from(e: &Shared) -> Self {
        Self::new(e.kind, e.message.clone())
    }
}

/// The bytes under this digest are others.
pub(super) fn wrong_blob(digest: &Digest) -> Error {
    Error::invalid(format!("filesystem layer verification failed for digest {digest}"))
}

/// The bytes under this digest are no archive, so most likely not those that the digest was made of.
pub(super) fn unreadable(digest: &Digest, error: &Error) -> Error {
    Error::invalid(format!("filesystem layer verification failed for digest {digest}: {}", error.message()))
}

/// The layers are not those that the document names.
pub(super) fn wrong_layers() -> Error {
    Error::invalid("layers from manifest don't match image configuration")
}

pub(super) fn no_space() -> Error {
    Error::internal("no space left on device")
}

pub(super) fn is_no_space(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether an error of the pipeline says that the disk is full.
pub(super) fn says_no_space(e: &Error) -> bool {
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        if matches!(cause.downcast_ref(), Some(ExtractError::NoSpace)) || cause.downcast_ref().is_some_and(is_no_space)
        {
            return true;
        }
        source = cause.source();
    }
    false
}
