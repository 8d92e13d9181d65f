//! What can go wrong, with Docker's words.

use gantry_model::names::RESTRICTED_NAME_CHARS;
use gantry_model::{Error, ErrorKind};
use gantry_state_db::DbError;
use std::io;

/// The result type of this crate.
pub type Result<T, E = VolumeError> = std::result::Result<T, E>;

/// A failure of the volumes room.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is no such volume.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// Containers use it.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    InUse {
        /// The volume.
        name: String,
        /// Ids of the containers.
        users: Vec<String>,
    },
    /// Docker asks for two characters.
    #[error("create {0}: volume name is too short, names should be at least two alphanumeric characters")]
    NameTooShort(String),
    /// The name has characters that a directory name should not have.
    #[error(
        "create {0}: {0:?} includes invalid characters for a local volume name, only \"{RESTRICTED_NAME_CHARS}\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    )]
    NameInvalid(String),
    /// Another driver has a volume of this name.
    #[error("create {name}: driver '{driver}' already has volume '{name}': volume name must be unique")]
    NameTaken {
        /// The volume.
        name: String,
        /// The driver that has it.
        driver: String,
    },
    /// A driver option that makes no sense.
    #[error("create {name}: {reason}")]
    Option {
        /// The volume.
        name: String,
        /// Docker's words.
        reason: String,
    },
    /// The file system refused.
    #[error("volume {name}: {what}: {source}")]
    Io {
        /// The volume.
        name: String,
        /// What was being done.
        what: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The state file refused.
    #[error(transparent)]
    Db(#[from] DbError),
}

impl VolumeError {
    /// For `map_err`: an I/O error about volume `name` while doing `what`.
    pub(crate) fn io(name: &str, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let name = name.to_owned();
        move |source| Self::Io { name, what, source }
    }
}

impl From<VolumeError> for Error {
    fn from(e: VolumeError) -> Self {
        let kind = match &e {
            VolumeError::NotFound(_) => ErrorKind::NotFound,
            VolumeError::InUse { .. } | VolumeError::NameTaken { .. } => ErrorKind::Conflict,
            VolumeError::NameTooShort(_) | VolumeError::NameInvalid(_) | VolumeError::Option { .. } => {
                ErrorKind::InvalidArgument
            }
            VolumeError::Io { .. } | VolumeError::Db(_) => ErrorKind::Internal,
        };
        Self::new(kind, e.to_string()).with_source(e)
    }
}
