//! What can go wrong.

use gantry_model::Error as ModelError;
use std::io;

/// The result of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A name server could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sockets in the container's network namespace.
    #[error("open the name server's sockets: {0}")]
    Sockets(#[source] io::Error),
    /// The rules that redirect port 53 to them.
    #[error("redirect 127.0.0.11:53 to the name server: {0}")]
    Redirect(#[source] io::Error),
    /// The container's network namespace could not be entered.
    #[error("enter the container's network namespace: {0}")]
    Namespace(#[source] io::Error),
}

impl From<Error> for ModelError {
    fn from(e: Error) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}
