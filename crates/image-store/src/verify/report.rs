//! What verifying the store found out.

use crate::ImageId;
use gantry_model::Digest;
use std::fmt;

/// What is being looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyStep {
    /// A blob, one of so many.
    Blob {
        /// Its digest.
        digest: Digest,
        /// How many were looked at before.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// A layer's directory, one of so many.
    Layer {
        /// Its diff id.
        diff_id: Digest,
        /// How many were looked at before.
        done: usize,
        /// How many there are.
        total: usize,
    },
}

/// The outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Images that were looked at, removed ones that containers stand on included.
    pub images: usize,
    /// Blobs that were read.
    pub blobs: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Layer directories that were compared with their blobs.
    pub layers: usize,
    /// Everything that is not as it should be.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is damaged or lost.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Leftover)
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Something that is needed is missing or wrong.
    Damage,
    /// Something could not be looked at.
    Unchecked,
    /// A process died in the middle of something; the next start of the daemon puts it right.
    Leftover,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// What.
    pub what: String,
    /// Whether it was put right, as far as that is possible here.
    pub repaired: bool,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A blob.
    Blob(Digest),
    /// An image.
    Image(ImageId),
    /// A layer's directory, by diff id.
    Layer(Digest),
    /// An image's name.
    Name(String),
    /// A file of the store, relative to the data root.
    File(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(digest) => write!(f, "blob {digest}"),
            Self::Image(id) => write!(f, "image {id}"),
            Self::Layer(diff_id) => write!(f, "layer {diff_id}"),
            Self::Name(name) => write!(f, "name {name}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)
    }
}
