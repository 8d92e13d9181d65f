//! What can go wrong, with Docker's words.

use gantry_model::{Error, ErrorKind};

/// The result type of this crate.
pub type Result<T, E = PluginError> = std::result::Result<T, E>;

/// A failure of a plugin, or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No socket and no file of this name.
    #[error("plugin {0:?} not found")]
    NotFound(String),
    /// It is there, for other things.
    #[error("plugin does not implement the requested driver: {name:?} is no {kind}")]
    NotImplemented {
        /// The plugin.
        name: String,
        /// The subsystem that was asked for.
        kind: &'static str,
    },
    /// The file that names its address makes no sense.
    #[error("plugin {name:?}: {reason}")]
    Specification {
        /// The plugin.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Nobody there, or the line broke.
    #[error("Post {url:?}: {reason}")]
    Unreachable {
        /// As Go's HTTP client names it.
        url: String,
        /// What the kernel or the peer said.
        reason: String,
    },
    /// An answer with a status other than 200.
    #[error("{method}: {message}")]
    Status {
        /// `VolumeDriver.Create` and the like.
        method: String,
        /// HTTP's.
        status: u16,
        /// The plugin's words.
        message: String,
    },
    /// `Err` was not empty.
    #[error("{0}")]
    Refused(String),
    /// An answer that is not what the protocol says.
    #[error("{method}: {reason}")]
    Answer {
        /// `VolumeDriver.Create` and the like.
        method: String,
        /// What is wrong.
        reason: String,
    },
}

impl PluginError {
    /// Whether it says something about the way to the plugin, not about what was asked for.
    pub fn is_communication(&self) -> bool {
        !matches!(self, Self::Status { .. } | Self::Refused(_))
    }
}

impl From<PluginError> for Error {
    fn from(e: PluginError) -> Self {
        let kind = match &e {
            PluginError::NotFound(_) => ErrorKind::NotFound,
            PluginError::NotImplemented { .. } => ErrorKind::InvalidArgument,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, e.to_string()).with_source(e)
    }
}
