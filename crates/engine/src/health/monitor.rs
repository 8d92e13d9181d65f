//! The task that looks after a container.

use super::settings::Settings;
use super::{STARTING, probe, state};
use crate::Engine;
use crate::container::Container;
use gantry_model::{ContainerStatus, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::{AbortHandle, JoinHandle};

/// A container's task, if there is one. Stopping it ends the probe that runs.
#[derive(Debug, Default)]
pub(crate) struct Monitor(Mutex<Option<AbortHandle>>);

impl Monitor {
    /// Starts a task in place of the one before.
    pub(super) fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut slot = self.lock();
        let task: JoinHandle<()> = tokio::spawn(task);
        if let Some(before) = slot.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.lock().take() {
            task.abort();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks until it is aborted or the container does not run any more.
pub(super) async fn run(engine: Arc<Engine>, container: Arc<Container>, settings: Settings) {
    loop {
        tokio::time::sleep(pause(&container, &settings)).await;
        let outcome = probe::run(&engine, &container, &settings).await;
        if !note(&engine, &container, &settings, outcome) {
            return;
        }
    }
}

/// The time to the next check.
fn pause(container: &Container, settings: &Settings) -> Duration {
    let record = container.read();
    let starting = record.state.health.as_ref().is_some_and(|health| health.status == STARTING);
    if starting && state::within_start_period(settings, record.state.started_at, Timestamp::now()) {
        settings.start_interval
    } else {
        settings.interval
    }
}

/// Takes a result into account; false when the container has ended, which then is the reason for the result.
fn note(engine: &Engine, container: &Container, settings: &Settings, outcome: state::Outcome) -> bool {
    let change = {
        let mut record = container.write();
        if record.state.status != ContainerStatus::Running {
            return false;
        }
        let started_at = record.state.started_at;
        let Some(health) = &mut record.state.health else { return false };
        let before = health.status.clone();
        state::record(health, settings, started_at, outcome);
        (before != health.status).then(|| health.status.clone())
    };
    if let Err(e) = engine.keep_health(container, None) {
        tracing::warn!("container {}: {e}", container.id);
    }
    if let Some(status) = change {
        engine.container_event(container, &format!("health_status: {status}"), &[]);
        engine.store_lazily(container, || ());
    }
    true
}
