//! What can go wrong with a registry.

use std::time::Duration;

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry said no, and why.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Something is not as the protocol wants it.
    #[error("{0}")]
    Protocol(String),
}

/// An error as a registry words it.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The registry's code, as in `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The registry's message.
    pub message: String,
    /// The name that was asked for, as people write it.
    pub name: String,
    /// How long the registry wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        false
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        None
    }
}

impl From<Error> for gantry_model::Error {
    fn from(e: Error) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}
