//! Registries: finding them, proving who one is, and moving manifests and blobs, one request at a time.
//!
//! The crate speaks the distribution protocol (schema 2 and OCI) over its own transport, and knows no disk besides
//! the certificate directories. What is retried here are small requests; a blob's body is one attempt, and whoever
//! reads it decides where to go on.

mod auth;
mod blob;
mod client;
mod config;
mod error;
mod headers;
mod login;
mod manifest;
mod refuse;
mod repository;
mod retry;
mod search;
mod session;
mod tags;
mod transport;
mod upload;

pub use blob::BlobBody;
pub use client::{Client, Login};
pub use config::{Config, Credentials};
pub use error::{Error, Failure, Refusal};
pub use manifest::{Head, Manifest, Which};
pub use repository::{Access, Repository};
pub use search::SearchResult;
pub use upload::{Mount, UploadSession};

/// The result type of this room.
pub type Result<T, E = Error> = std::result::Result<T, E>;
