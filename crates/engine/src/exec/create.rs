//! `POST /containers/{id}/exec`.

use super::{Exec, ExecState};
use crate::Engine;
use crate::stream::DetachKeys;
use gantry_api_types::{ExecCreateRequest, ExecCreateResponse};
use gantry_model::{ContainerStatus, Error, Id, Result};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

impl Engine {
    /// Defines an exec.
    pub async fn exec_create(&self, name: &str, request: ExecCreateRequest) -> Result<ExecCreateResponse> {
        if request.cmd.as_ref().is_none_or(Vec::is_empty) {
            return Err(Error::invalid("No exec command specified"));
        }
        let container = self.find(name)?;
        let id = container.id;
        match container.read().state.status {
            ContainerStatus::Running => {}
            ContainerStatus::Paused => {
                return Err(Error::conflict(format!("Container {id} is paused, unpause the container before exec")));
            }
            ContainerStatus::Restarting => {
                return Err(Error::conflict(format!(
                    "Container {id} is restarting, wait until the container is running"
                )));
            }
            _ => return Err(Error::conflict(format!("Container {id} is not running"))),
        }
        let detach = DetachKeys::parse(Some(&request.detach_keys))?;
        let exec = Arc::new(Exec {
            id: Id::random(),
            container: id,
            detach,
            state: watch::channel(ExecState::Created).0,
            terminal: Mutex::new(None),
            request,
        });
        let created = ExecCreateResponse { id: exec.id.to_string() };
        self.exec_event(&container, &exec, &format!("exec_create: {}", command_line(&exec)), &[]);
        self.execs.insert(exec);
        Ok(created)
    }
}

/// The command as events show it.
pub(crate) fn command_line(exec: &Exec) -> String {
    exec.request.cmd.as_deref().unwrap_or_default().join(" ")
}
