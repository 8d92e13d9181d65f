//! Exec instances by id.

use crate::stream::DetachKeys;
use gantry_api_types::ExecCreateRequest;
use gantry_model::{Error, Id, Result};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
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
        /// When that became known.
        at: Instant,
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

    /// The process ended.
    pub(crate) fn ended(&self, code: i64) {
        self.state.send_replace(ExecState::Ended { code, at: Instant::now() });
    }
}

/// All exec instances.
#[derive(Debug, Default)]
pub(crate) struct Execs(Mutex<HashMap<Id, Arc<Exec>>>);

/// Ended execs that are kept for `inspect`; with so many, those of the container that ended first go.
const KEPT_PER_CONTAINER: usize = 256;

impl Execs {
    pub(crate) fn insert(&self, exec: Arc<Exec>) {
        let mut all = self.lock();
        let of_container = all.values().filter(|e| e.container == exec.container);
        let mut ended: Vec<(Instant, Id)> = of_container
            .filter_map(|e| match *e.state.borrow() {
                ExecState::Ended { at, .. } => Some((at, e.id)),
                _ => None,
            })
            .collect();
        if ended.len() >= KEPT_PER_CONTAINER {
            // Never the latest: their clients are about to ask for the exit status.
            ended.sort_unstable_by_key(|(at, _)| *at);
            for (_, id) in &ended[..KEPT_PER_CONTAINER / 2] {
                all.remove(id);
            }
        }
        all.insert(exec.id, exec);
    }

    /// By full id or unique prefix.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Exec>> {
        let all = self.lock();
        if let Some(exec) = text.parse().ok().and_then(|id: Id| all.get(&id)) {
            return Ok(exec.clone());
        }
        let mut matches = all.values().filter(|e| !text.is_empty() && e.id.to_string().starts_with(text));
        match (matches.next(), matches.next()) {
            (Some(exec), None) => Ok(exec.clone()),
            _ => Err(Error::not_found(format!("No such exec instance: {text}"))),
        }
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Exec>> {
        self.lock().get(id).cloned()
    }

    /// Ids of a container's execs that have not ended, for inspect.
    pub(crate) fn of_container(&self, container: Id) -> Vec<String> {
        let all = self.lock();
        let live = all.values().filter(|e| e.container == container);
        live.filter(|e| !matches!(*e.state.borrow(), ExecState::Ended { .. })).map(|e| e.id.to_string()).collect()
    }

    /// The container's init process has ended, and with its pid namespace every exec.
    pub(crate) fn container_ended(&self, container: Id) {
        let killed = 137;
        for exec in self.lock().values().filter(|e| e.container == container) {
            exec.state.send_if_modified(|state| {
                let live = !matches!(state, ExecState::Ended { .. });
                if live {
                    *state = ExecState::Ended { code: killed, at: Instant::now() };
                }
                live
            });
        }
    }

    /// The container is gone.
    pub(crate) fn forget_container(&self, container: Id) {
        self.lock().retain(|_, e| e.container != container);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Arc<Exec>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(container: Id) -> Arc<Exec> {
        Arc::new(Exec {
            id: Id::random(),
            container,
            request: ExecCreateRequest::default(),
            detach: DetachKeys::parse(None).unwrap(),
            state: watch::channel(ExecState::Created).0,
            terminal: Mutex::new(None),
        })
    }

    #[test]
    fn what_ended_last_is_kept_for_its_client() {
        let (execs, container) = (Execs::default(), Id::random());
        let mut ids = Vec::new();
        for _ in 0..2 * KEPT_PER_CONTAINER {
            let next = exec(container);
            ids.push(next.id);
            execs.insert(next.clone());
            next.ended(0);
            assert!(ids.iter().rev().take(KEPT_PER_CONTAINER / 2).all(|id| execs.get(id).is_some()));
        }
        assert!(execs.get(&ids[0]).is_none());
        assert!(execs.lock().len() <= KEPT_PER_CONTAINER);
    }

    #[test]
    fn a_process_that_ended_before_it_was_reported_to_run_has_ended() {
        let exec = exec(Id::random());
        exec.claim().unwrap();
        assert!(exec.claim().is_err());
        exec.ended(3);
        exec.running(1);
        assert!(matches!(*exec.state.borrow(), ExecState::Ended { code: 3, .. }));
    }
}
