//! Why a container or a process in it could not be started.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;

/// Steps that fail in ways that the API tells apart; the same set as the shim protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The runtime itself, cgroups, namespaces, limits, privileges.
    Setup,
    /// A mount, a device node, a masked path.
    Mount,
    /// The user or a group was not found.
    User,
    /// The working directory.
    WorkingDir,
    /// The program is not there (127).
    NotFound,
    /// The program cannot be executed (126).
    NotExecutable,
    /// The container is not in a state for this.
    State,
}

/// The message about a process that ended without a word, for instance because somebody killed it.
pub const DIED_IN_SETUP: &str = "the container's process died while it was being set up";

/// A failed start: where, why (errno, 0 if none), and a message for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step.
    pub stage: Stage,
    /// errno, 0 when there is none.
    pub errno: i32,
    /// What a person reads.
    pub message: String,
}

/// The result of runtime operations.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that no system call caused.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, errno: 0, message: message.into() }
    }

    /// A failed system call: the message is `what: <error>`.
    pub fn os(stage: Stage, what: impl fmt::Display, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        Self { stage, errno, message: format!("{what}: {}", errno_text(error)) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for gantry_model::error::Error {
    fn from(failure: Failure) -> Self {
        use gantry_model::error::ErrorKind;
        let kind = match failure.stage {
            Stage::Setup | Stage::Mount => ErrorKind::Internal,
            Stage::User | Stage::WorkingDir | Stage::NotFound | Stage::NotExecutable => ErrorKind::InvalidArgument,
            Stage::State => ErrorKind::Conflict,
        };
        Self::new(kind, failure.message)
    }
}

/// Turns an error of a system call into a [`Failure`] that says what was tried.
pub trait OrFail<T> {
    /// The failure's stage and what was being done.
    fn or_fail<D: fmt::Display>(self, stage: Stage, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<io::Error>> OrFail<T> for std::result::Result<T, E> {
    fn or_fail<D: fmt::Display>(self, stage: Stage, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| Failure::os(stage, what(), &e.into()))
    }
}

/// The errors' texts as Go (and so every Docker client's user) knows them: lower case, no number.
pub fn errno_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        // `I/O error` keeps its capital, as in Go's `input/output error` nobody matches on it.
        Some(first) if !text.starts_with("I/O") => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_look_like_go() {
        assert_eq!(errno_text(&io::Error::from_raw_os_error(libc::ENOENT)), "no such file or directory");
        let failure = Failure::os(Stage::Mount, "mount /x", &io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(failure.to_string(), "mount /x: permission denied");
        assert_eq!(failure.errno, libc::EACCES);
    }
}
