//! What can go wrong with the state file.

use gantry_model::Error;
use std::path::{Path, PathBuf};

/// The result type of this crate.
pub type Result<T, E = DbError> = std::result::Result<T, E>;

/// A failure of the state file. Clonable, because one failed fsync is the failure of every batch that shared it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The file is not a database, or its contents do not hold together.
    #[error("the state database {} is corrupt: {reason}; restore it from a copy or move it away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// Another process has it open.
    #[error("the state database {} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer program.
    #[error("the state database {} has schema version {found}, newer than {known}, the newest that this program knows", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Reading or writing failed; nothing of the batch is stored.
    #[error("state database {}: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A stored value does not have the form that the program expects.
    #[error("the state database {} holds an unreadable value in table {table} under {key:?}: {reason}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
        /// The key.
        key: String,
        /// The parser's words.
        reason: String,
    },
    /// A value cannot be written as JSON.
    #[error("cannot encode a value for table {table} under {key:?}: {reason}")]
    Encode {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// The encoder's words.
        reason: String,
    },
    /// A migration gave up.
    #[error("cannot bring the state database to schema version {version}: {reason}")]
    Migration {
        /// The version it was to reach.
        version: u32,
        /// Why.
        reason: String,
    },
}

impl DbError {
    /// Classifies a failure of redb about the file at `path`.
    pub(crate) fn from_redb(path: &Path, e: &redb::Error) -> Self {
        let path = path.to_owned();
        match e {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Io(io) if is_damage(io) => Self::Corrupt { path, reason: io.to_string() },
            redb::Error::Corrupted(reason) => Self::Corrupt { path, reason: reason.clone() },
            redb::Error::RepairAborted | redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. } => {
                Self::Corrupt { path, reason: e.to_string() }
            }
            other => Self::Io { path, reason: other.to_string() },
        }
    }
}

/// redb reports a wrong magic number and a file that ends too early as I/O errors of these kinds.
fn is_damage(e: &std::io::Error) -> bool {
    matches!(e.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

impl From<DbError> for Error {
    fn from(e: DbError) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}
