//! Why a layer cannot be extracted.

use crate::tar::TarError;
use gantry_model::Error;
use rustix::io::Errno;

/// Why a layer cannot be extracted.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The archive itself is broken.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// A name leads out of the layer.
    #[error("{0:?} is outside of the layer's root")]
    Outside(String),
    /// A name leads through something that is not a directory.
    #[error("{0:?} leads through a symbolic link or something else that is not a directory")]
    NotBeneath(String),
    /// A name that no file can have.
    #[error("{0:?} is not a usable file name")]
    Name(String),
    /// A hard link to something that the layer does not have.
    #[error("hard link {path:?} names {target:?}, which is no file of the layer")]
    HardLink {
        /// The link.
        path: String,
        /// What it names.
        target: String,
    },
    /// A directory would become something else, or the other way round.
    #[error("cannot overwrite {was} {path:?} with {becomes} {into:?}")]
    Overwrite {
        /// What is there.
        was: &'static str,
        /// Where.
        path: String,
        /// What the archive has.
        becomes: &'static str,
        /// The directory that was extracted into.
        into: String,
    },
    /// A symbolic link leads out of the directory.
    #[error("invalid symlink {path:?} -> {target:?}")]
    Symlink {
        /// The link.
        path: String,
        /// Its target.
        target: String,
    },
    /// An owner that the container's user namespace does not have.
    #[error("{path:?}: the owner {uid}:{gid} is not in the container's user namespace")]
    Unmapped {
        /// The file.
        path: String,
        /// Its user.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Somebody else replaced what was just made.
    #[error("{0:?} was replaced while it was extracted")]
    Changed(String),
    /// The archive asks for more than is allowed.
    #[error("the archive exceeds the limit on {0}")]
    Limit(&'static str),
    /// The disk is full.
    #[error("no space left on device")]
    NoSpace,
    /// The kernel refused.
    #[error("{what} {path:?}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: String,
        /// The kernel's answer.
        source: Errno,
    },
}

impl ExtractError {
    pub(super) fn system(what: &'static str, path: &[u8], source: Errno) -> Self {
        match source {
            Errno::NOSPC | Errno::DQUOT => Self::NoSpace,
            // ELOOP and EXDEV are openat2's words for a path that tries to leave.
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR => Self::NotBeneath(lossy(path)),
            Errno::NAMETOOLONG | Errno::ILSEQ => Self::Name(lossy(path)),
            source => Self::System { what, path: lossy(path), source },
        }
    }

    fn is_the_archives_fault(&self) -> bool {
        match self {
            Self::Archive(_)
            | Self::Outside(_)
            | Self::NotBeneath(_)
            | Self::Name(_)
            | Self::HardLink { .. }
            | Self::Overwrite { .. }
            | Self::Symlink { .. }
            | Self::Unmapped { .. }
            | Self::Limit(_) => true,
            Self::NoSpace | Self::Changed(_) => false,
            Self::System { source, .. } => {
                matches!(
                    *source,
                    Errno::INVAL | Errno::NOENT | Errno::ISDIR | Errno::EXIST | Errno::MLINK | Errno::FBIG
                )
            }
        }
    }
}

impl From<ExtractError> for Error {
    fn from(e: ExtractError) -> Self {
        let message = format!("cannot extract the archive: {e}");
        if e.is_the_archives_fault() { Self::invalid(message) } else { Self::internal(message).with_source(e) }
    }
}

pub(super) fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
