//! What can be wrong with an archive.

use std::io;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream ended inside an entry.
    #[error("unexpected end of the archive")]
    Truncated,
    /// A header block does not have the form of one.
    #[error("invalid tar header: {0}")]
    Header(&'static str),
    /// An extended header is malformed.
    #[error("invalid extended tar header: {0}")]
    Extended(&'static str),
    /// A sparse map does not fit its file.
    #[error("invalid sparse file map")]
    Sparse,
    /// A type of entry that has no meaning here.
    #[error("unhandled tar entry type {0:#04x}")]
    Type(u8),
    /// An extended header, name or map is larger than any honest one.
    #[error("tar entry exceeds the limit on {0}")]
    Limit(&'static str),
    /// The stream under the archive failed.
    #[error(transparent)]
    Io(io::Error),
}

impl From<io::Error> for TarError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Io(e) }
    }
}
