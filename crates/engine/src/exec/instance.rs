//! One exec.

use crate::stream::DetachKeys;
use gantry_api_types::ExecCreateRequest;
use gantry_model::{Error, Id, Result};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// Where an exec is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecState {
    /// Defined.
    Created,
    /// Being started.
    Starting,
    /// Its process runs.
    Running {
        /// Pid in the daemon's pid namespace.
        pid: u32,
    },
    /// It ended or could not be started.
    Ended {
        /// Exit status.
        code: i64,
    },
}

/// An exec instance.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: Id,
    pub(crate) container: Id,
    pub(crate) request: ExecCreateRequest,
    pub(crate) detach: DetachKeys,
    pub(crate) state: watch::Sender<ExecState>,
    /// The terminal's master, for resizing.
    pub(crate) terminal: Mutex<Option<Arc<OwnedFd>>>,
}

impl Exec {
    /// A new one.
    pub(crate) fn new(container: Id, request: ExecCreateRequest, detach: DetachKeys) -> Self {
        let state = watch::channel(ExecState::Created).0;
        Self { id: Id::random(), container, request, detach, state, terminal: Mutex::new(None) }
    }

    /// `Created` to `Starting`, once.
    pub(crate) fn claim(&self) -> Result<()> {
        let claimed = self.state.send_if_modified(|state| {
            let fresh = *state == ExecState::Created;
            if fresh {
                *state = ExecState::Starting;
            }
            fresh
        });
        if claimed { Ok(()) } else { Err(Error::conflict(format!("Error: Exec command {} has already run", self.id))) }
    }

    /// The process runs; unless its end was reported first.
    pub(crate) fn running(&self, pid: u32) {
        self.state.send_if_modified(|state| {
            let starting = *state == ExecState::Starting;
            if starting {
                *state = ExecState::Running { pid };
            }
            starting
        });
    }

    /// Waits for its end: the exit status.
    pub(crate) async fn exit_code(&self) -> i64 {
        let mut state = self.state.subscribe();
        // The sender is a part of the exec.
        match state.wait_for(|s| matches!(s, ExecState::Ended { .. })).await.map(|s| *s) {
            Ok(ExecState::Ended { code }) => code,
            _ => unreachable!("the state that was waited for, of a sender that lives"),
        }
    }
}
