//! `POST /containers/{id}/wait`.

use crate::Engine;
use crate::container::{Container, Progress};
use gantry_api_types::{ContainerWaitResponse, WaitExitError};
use gantry_model::{Error, Result};
use std::sync::Arc;
use tokio::sync::watch;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WaitCondition {
    /// Returns at once when the container is not running.
    #[default]
    NotRunning,
    /// The next end, even if the container does not run now.
    NextExit,
    /// The container's removal.
    Removed,
}

impl WaitCondition {
    /// The API's words; empty is the default.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "" | "not-running" => Ok(Self::NotRunning),
            "next-exit" => Ok(Self::NextExit),
            "removed" => Ok(Self::Removed),
            other => Err(Error::invalid(format!("invalid condition: \"{other}\""))),
        }
    }
}

/// A wait that has begun: what happens from now on counts.
#[derive(Debug)]
pub struct WaitHandle {
    container: Arc<Container>,
    progress: watch::Receiver<Progress>,
    condition: WaitCondition,
    exits_before: u64,
}

impl Engine {
    /// Begins to wait.
    pub fn container_wait(&self, name: &str, condition: WaitCondition) -> Result<WaitHandle> {
        let container = self.find(name)?;
        let progress = container.progress.subscribe();
        let exits_before = progress.borrow().exits;
        Ok(WaitHandle { container, progress, condition, exits_before })
    }
}

impl WaitHandle {
    /// Waits for the condition.
    pub async fn result(mut self) -> ContainerWaitResponse {
        let before = self.exits_before;
        let condition = self.condition;
        let reached = self
            .progress
            .wait_for(|p| match condition {
                WaitCondition::NotRunning => !(p.live || p.restarts) || p.exits > before || p.removed,
                WaitCondition::NextExit => p.exits > before || p.removed,
                WaitCondition::Removed => p.removed,
            })
            .await
            .map(|p| p.clone());
        match reached {
            Ok(p) if p.exits > before => response(p.exit_code, ""),
            _ => {
                let record = self.container.read();
                response(record.state.exit_code, &record.state.error)
            }
        }
    }
}

fn response(status_code: i64, error: &str) -> ContainerWaitResponse {
    let error = (!error.is_empty()).then(|| WaitExitError { message: error.to_owned() });
    ContainerWaitResponse { status_code, error }
}
