//! What happens when a run ends: normally, before it began, or with its shim.

use crate::Engine;
use crate::container::Container;
use crate::health;
use crate::networks::members::Attached;
use crate::restart_policy::{self, Decision};
use crate::shim::Launch;
use gantry_model::{ContainerStatus, Error, Timestamp};
use gantry_shim_protocol::{Exit, codec};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

/// The exit status Docker shows when nobody knows the real one.
const UNKNOWN_EXIT: u8 = 137;

impl Engine {
    /// The init process has ended and its shim has nothing more to say.
    pub(crate) async fn run_ended(self: &Arc<Self>, container: &Arc<Container>, exit: Exit) {
        container.set_shim(None);
        container.monitor.stop();
        self.end_names(&container.id);
        // Who is about to join another one sees that there is no shim any more.
        let attached = std::mem::take(&mut container.write().attached);
        self.leave_networks_of(attached.clone()).await;
        self.unmount_volumes(container).await;
        let decision = record_exit(container, &exit);
        self.links_ended(container).await;
        self.execs.container_ended(container.id);
        self.container_event(container, "die", &[("exitCode", &exit.code.to_string())]);
        self.membership_events(container, &attached, "disconnect");
        self.volume_mount_events(container, false);
        let run = container.current_run();
        let cleaner = (self.clone(), container.clone());
        // The shim's exit file is the truth until the record is durable.
        self.store_lazily(container, move || cleaner.0.clear_run(&cleaner.1, run));
        let last_word = !container.keep.load(Relaxed);
        container.progress.send_modify(|p| {
            p.exits += 1;
            p.exit_code = exit.code.into();
            p.live = false;
            p.restarts = matches!(decision, Decision::Restart(_));
        });
        match decision {
            Decision::Restart(delay) => self.schedule_restart(container, delay),
            Decision::Stay if last_word => self.auto_remove(container),
            Decision::Stay => {}
        }
    }

    /// The program never ran. Everything the start has set up goes; the state says why.
    pub(crate) async fn run_failed(self: &Arc<Self>, container: &Arc<Container>, launch: Option<Launch>, error: Error) {
        container.set_shim(None);
        container.take_waiting_clients();
        self.end_names(&container.id);
        if let Some(launch) = &launch {
            self.leave_networks_of(launch.attached.clone()).await;
        }
        self.reap_lost_run(container).await;
        self.unmount_volumes(container).await;
        record_start_failure(container, &error);
        self.clear_run(container, container.current_run());
        self.store_lazily(container, || ());
        container.start_has_failed(&error);
        if let Some(launch) = launch {
            drop(launch.outcome.send(Err(error)));
        }
    }

    /// After a shim was killed: kills what is left of the container, removes its cgroup, and finds
    /// the exit status if the shim got as far as writing it.
    pub(crate) async fn reap_lost_run(&self, container: &Container) -> Exit {
        let file = self.dirs(&container.id).exit_file();
        if let Ok(bytes) = tokio::fs::read(&file).await
            && let Ok(exit) = codec::decode::<Exit>(&bytes)
        {
            return exit;
        }
        let cgroup = self.cgroups.cgroup(&self.cgroup_path(container));
        let swept = tokio::task::spawn_blocking(move || cgroup.end()).await;
        if let Ok(Err(e)) = swept {
            tracing::warn!("container {}: its cgroup could not be removed: {e}", container.id);
        }
        let started_at = container.read().state.started_at.unix_nanos().unwrap_or(0);
        let now = Timestamp::now().unix_nanos().unwrap_or(0);
        Exit { code: UNKNOWN_EXIT, oom_killed: false, finished_at: now as i64, started_at: started_at as i64 }
    }

    /// Removes the run's files below the exec-root, unless a newer run owns them by now.
    pub(crate) fn clear_run(&self, container: &Container, run: u64) {
        let current = container.run.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != run {
            return;
        }
        let dir = self.dirs(&container.id);
        if let Err(e) = std::fs::remove_dir_all(dir.exec())
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {e}", dir.exec().display());
        }
    }
}

fn record_exit(container: &Container, exit: &Exit) -> Decision {
    let mut record = container.write();
    let decision = restart_policy::decide(container, &record, exit);
    record.attached = Attached::default();
    health::cease(&mut record);
    let state = &mut record.state;
    match decision {
        Decision::Restart(_) => {
            state.status = ContainerStatus::Restarting;
            // Counted when it is decided: a client that sees the container restarting sees it counted.
            state.restart_count += 1;
        }
        Decision::Stay => state.status = ContainerStatus::Exited,
    }
    state.pid = 0;
    state.pid_start_time = 0;
    state.exit_code = exit.code.into();
    state.oom_killed = exit.oom_killed;
    state.finished_at = Timestamp::from_unix_nanos(exit.finished_at.into());
    decision
}

/// 127 for a program that is not there, 126 for one that cannot run, 128 otherwise: Docker's
/// `translateContainerdStartErr`.
pub(crate) fn record_start_failure(container: &Container, error: &Error) {
    let mut record = container.write();
    record.attached = Attached::default();
    let state = &mut record.state;
    if state.status == ContainerStatus::Restarting {
        state.status = ContainerStatus::Exited;
    }
    error.message().clone_into(&mut state.error);
    state.exit_code = start_failure_code(error.message());
    state.pid = 0;
}

/// Exit status of a start that failed, from the runtime's message.
pub(crate) fn start_failure_code(message: &str) -> i64 {
    let message = message.to_ascii_lowercase();
    let contains = |parts: &[&str]| parts.iter().any(|p| message.contains(p));
    if contains(&["executable file not found", "no such file or directory", "system cannot find the file"]) {
        127
    } else if contains(&["permission denied", "not a directory", "is a directory", "exec format error"]) {
        126
    } else {
        128
    }
}

#[cfg(test)]
mod tests {
    use super::start_failure_code;

    #[test]
    fn codes_follow_docker() {
        assert_eq!(start_failure_code("exec: \"x\": executable file not found in $PATH"), 127);
        assert_eq!(start_failure_code("exec: \"/etc\": permission denied"), 126);
        assert_eq!(start_failure_code("cannot set property"), 128);
    }
}
