//! The container state machine: which states there are and which changes between them are legal.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A container's state, with the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerStatus {
    /// Defined, never started.
    Created,
    /// Its init process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended and a restart policy is going to start it again.
    Restarting,
    /// It ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Its removal failed half-way; only removal may be tried again.
    Dead,
}

impl ContainerStatus {
    /// Whether the machine may go from `self` to `next`.
    pub const fn can_become(self, next: Self) -> bool {
        use ContainerStatus::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
        matches!(
            (self, next),
            (Created | Exited | Restarting, Running | Removing | Exited)
                | (Running, Paused | Exited | Restarting)
                | (Paused, Running | Exited | Restarting)
                | (Removing | Dead, Dead | Removing)
                | (Exited, Restarting)
        )
    }

    /// Whether an init process exists.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The API's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

impl fmt::Display for ContainerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerStatus::{Created, Dead, Exited, Paused, Removing, Running};

    #[test]
    fn legal_and_illegal_changes() {
        for (from, to) in [(Created, Running), (Running, Paused), (Paused, Running), (Exited, Removing)] {
            assert!(from.can_become(to), "{from} -> {to}");
        }
        for (from, to) in [(Removing, Running), (Dead, Running), (Running, Created), (Created, Paused)] {
            assert!(!from.can_become(to), "{from} -> {to}");
        }
    }
}
