//! `POST /containers/{id}/exec`.

use super::Exec;
use crate::Engine;
use crate::container::Container;
use crate::stream::DetachKeys;
use gantry_api_types::{ExecCreateRequest, ExecCreateResponse};
use gantry_model::{ContainerStatus, Error, Result};
use std::sync::Arc;

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
        let exec = Arc::new(Exec::new(id, request, detach));
        self.add_exec(&container, &exec)?;
        Ok(ExecCreateResponse { id: exec.id.to_string() })
    }

    /// Makes an exec known.
    pub(crate) fn add_exec(&self, container: &Container, exec: &Arc<Exec>) -> Result<()> {
        self.execs.insert(exec.clone())?;
        self.exec_event(container, exec, &format!("exec_create: {}", command_line(exec)), &[]);
        Ok(())
    }
}

/// The command as events show it: the program, a blank, and the arguments, if any.
pub(crate) fn command_line(exec: &Exec) -> String {
    match exec.request.cmd.as_deref() {
        Some([program, arguments @ ..]) => format!("{program} {}", arguments.join(" ")),
        _ => String::new(),
    }
}
