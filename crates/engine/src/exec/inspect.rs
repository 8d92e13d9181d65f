//! `GET /exec/{id}/json`.

use super::ExecState;
use crate::Engine;
use gantry_api_types::{ExecInspect, ProcessConfig};
use gantry_model::Result;

impl Engine {
    /// What is known of an exec.
    pub async fn exec_inspect(&self, id: &str) -> Result<ExecInspect> {
        let exec = self.execs.find(id)?;
        let request = &exec.request;
        let state = *exec.state.borrow();
        let (entrypoint, arguments) = match request.cmd.as_deref() {
            Some([program, arguments @ ..]) => (program.clone(), arguments.to_vec()),
            _ => Default::default(),
        };
        Ok(ExecInspect {
            id: exec.id.to_string(),
            running: matches!(state, ExecState::Running { .. }),
            exit_code: match state {
                ExecState::Ended { code } => Some(code),
                _ => None,
            },
            process_config: ProcessConfig {
                tty: request.tty,
                entrypoint,
                arguments,
                privileged: Some(request.privileged),
                user: request.user.clone(),
            },
            open_stdin: request.attach_stdin,
            open_stderr: request.attach_stderr,
            open_stdout: request.attach_stdout,
            // Docker's daemon never sets it, either.
            can_remove: false,
            container_id: exec.container.to_string(),
            detach_keys: request.detach_keys.clone(),
            pid: match state {
                ExecState::Running { pid } => pid.into(),
                _ => 0,
            },
        })
    }
}
