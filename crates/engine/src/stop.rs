//! `POST /containers/{id}/stop`.

use crate::container::Container;
use crate::{Engine, restart_policy};
use gantry_model::signal::{self, SIGKILL, SIGTERM};
use gantry_model::{ContainerStatus, Error, ErrorKind, Result};
use gantry_shim_protocol::{RequestBody, Target};
use std::sync::Arc;
use std::time::Duration;

/// Seconds between the stop signal and SIGKILL when nobody says otherwise.
const DEFAULT_TIMEOUT: i64 = 10;

/// Query parameters of stop and restart.
#[derive(Debug, Clone, Default)]
pub struct StopOptions {
    /// Instead of the container's stop signal.
    pub signal: Option<String>,
    /// Seconds; negative waits for ever.
    pub timeout: Option<i64>,
}

impl Engine {
    /// Stops a container.
    pub async fn container_stop(&self, name: &str, options: StopOptions) -> Result<()> {
        let container = self.find(name)?;
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            let status = container.read().state.status;
            match status {
                ContainerStatus::Restarting => engine.cancel_scheduled(&container).await,
                s if s.is_live() => engine.stop_live(&container, &options).await,
                _ => Err(Error::not_modified("container is already stopped")),
            }
        })
        .await
    }

    /// The container is between two runs: it simply stays down.
    pub(crate) async fn cancel_scheduled(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        container.cancel_restart();
        {
            let mut record = container.write();
            record.state.status = ContainerStatus::Exited;
            record.state.manually_stopped = true;
        }
        container.progress.send_modify(|p| p.restarts = false);
        self.container_event(container, "stop", &[]);
        self.store(container).await?;
        self.auto_remove(container);
        Ok(())
    }

    /// Signals, waits, kills. The verbs lock is held.
    pub(crate) async fn stop_live(&self, container: &Container, options: &StopOptions) -> Result<()> {
        let (stop_signal, timeout, durable) = {
            let mut record = container.write();
            let text = options.signal.as_ref().filter(|s| !s.is_empty()).unwrap_or(&record.config.stop_signal);
            let number = if text.is_empty() { SIGTERM } else { signal::parse(text)? };
            let timeout = options.timeout.or_else(|| record.config.stop_timeout).unwrap_or(DEFAULT_TIMEOUT);
            record.state.manually_stopped = true;
            (number, timeout, restart_policy::has_policy(&record))
        };
        if durable {
            self.store(container).await?;
        }
        self.thaw_if_paused(container)?;
        let mut progress = container.progress.subscribe();
        self.send_signal(container, stop_signal).await?;
        let ended = async { progress.wait_for(|p| !p.live).await.map(drop) };
        let in_time = match u64::try_from(timeout) {
            Ok(seconds) => tokio::time::timeout(Duration::from_secs(seconds), ended).await.is_ok(),
            Err(_) => ended.await.is_ok(),
        };
        if !in_time {
            self.kill_and_wait(container).await?;
        }
        self.container_event(container, "stop", &[]);
        Ok(())
    }

    /// SIGKILL and the wait for the end.
    pub(crate) async fn kill_and_wait(&self, container: &Container) -> Result<()> {
        let mut progress = container.progress.subscribe();
        self.thaw_if_paused(container)?;
        self.send_signal(container, SIGKILL).await?;
        progress.wait_for(|p| !p.live).await.map_err(|_| Error::internal("the container vanished"))?;
        Ok(())
    }

    /// Sends a signal to the init process and says so; an end that came first is what was wanted.
    pub(crate) async fn send_signal(&self, container: &Container, signal: i32) -> Result<()> {
        let Some(link) = container.shim() else { return Ok(()) };
        // Before the signal: the end it brings about is told by another task, and comes second.
        self.container_event(container, "kill", &[("signal", &signal.to_string())]);
        match link.perform(RequestBody::Signal { target: Target::Init, signal }, &[]).await {
            Err(e) if !matches!(e.kind(), ErrorKind::Conflict | ErrorKind::Unavailable) => Err(e),
            _ => Ok(()),
        }
    }
}
