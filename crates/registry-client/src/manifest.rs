//! Manifests.

use bytes::Bytes;
use gantry_model::Digest;

/// How a manifest is asked for, or what it is stored as.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// By tag.
    Tag(&'a str),
    /// By digest.
    Digest(&'a Digest),
}

/// A manifest or an index of manifests, as the registry has it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Its digest; computed, and compared with what was asked for and what the registry claims.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a registry says of a manifest without sending it.
#[derive(Debug, Clone)]
pub struct Head {
    /// The digest that the registry claims.
    pub digest: Option<Digest>,
    /// The media type.
    pub media_type: String,
    /// The size in bytes.
    pub size: u64,
}
