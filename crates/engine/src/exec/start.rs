//! `POST /exec/{id}/start`.

use super::create::command_line;
use super::{Exec, ExecRun};
use crate::Engine;
use crate::container::Container;
use crate::exec::run::ExecIo;
use crate::oci;
use crate::run_end::start_failure_code;
use crate::shim::failure_error;
use crate::stream::{AttachSession, Kind};
use gantry_api_types::ExecStartRequest;
use gantry_linux::memfd;
use gantry_model::{ContainerStatus, Error, Id, Result};
use gantry_shim_protocol::{Answer, RequestBody};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What starting an exec gives.
#[derive(Debug)]
pub enum ExecStarted {
    /// It runs, nobody listens.
    Detached,
    /// The process starts when the session runs, so that the client's connection is ready first.
    Attached(Box<AttachSession>),
}

impl Engine {
    /// Starts an exec.
    pub async fn exec_start(&self, id: &str, request: ExecStartRequest) -> Result<ExecStarted> {
        let exec = self.execs.find(id)?;
        let container = self
            .containers
            .get(&exec.container)
            .ok_or_else(|| Error::not_found(format!("No such exec instance: {id}")))?;
        check_running(&container)?;
        exec.claim()?;
        let tty = exec.request.tty;
        let console_size = request.console_size.or(exec.request.console_size);
        let run = ExecRun { engine: self.arc(), container, exec, console_size, raw: request.tty };
        if request.detach {
            self.detached(move |_| run.detached()).await?;
            return Ok(ExecStarted::Detached);
        }
        Ok(ExecStarted::Attached(Box::new(AttachSession { tty, kind: Kind::Exec(Box::new(run)) })))
    }

    /// Asks the shim to run the process. The answer carries the terminal if there is one.
    pub(crate) async fn launch_exec(
        &self,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        io: Option<&ExecIo>,
    ) -> Result<Option<OwnedFd>> {
        self.exec_event(container, exec, &format!("exec_start: {}", command_line(exec)), &[]);
        let outcome = self.ask_shim(container, exec, io).await;
        if let Err(e) = &outcome {
            self.execs.end(exec, start_failure_code(e.message()));
        }
        outcome
    }

    async fn ask_shim(&self, container: &Arc<Container>, exec: &Exec, io: Option<&ExecIo>) -> Result<Option<OwnedFd>> {
        let link =
            container.shim().ok_or_else(|| Error::conflict(format!("Container {} is not running", container.id)))?;
        let spec = super::plan::process(self, &container.read(), &exec.request, io.and_then(|io| io.console_size))
            .map_err(|e| e.context("OCI runtime exec failed: exec failed"))?;
        let plan = if oci::is_built_in(&container.read().host_config.runtime) {
            gantry_runtime::spec::encode(&spec)?
        } else {
            let (engine, container) = (self.arc(), container.clone());
            crate::blocking(move || oci::exec_process(&engine, &container, &spec)).await?
        };
        let plan = memfd::sealed("exec", &plan)?;
        let mut fds = vec![plan.as_fd()];
        let null;
        if !exec.request.tty {
            null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
            let ends = io.map(|io| [&io.stdin, &io.stdout, &io.stderr]);
            for i in 0..3 {
                fds.push(ends.and_then(|e| e[i].as_ref()).map_or(null.as_fd(), AsFd::as_fd));
            }
        }
        let exec_id = exec.id.to_string();
        match link.request(RequestBody::Exec { exec_id }, &fds).await? {
            (Answer::Exec { pid }, mut sent) => {
                exec.running(pid);
                Ok(sent.pop())
            }
            (Answer::Failed(failure), _) => {
                Err(failure_error(&failure).context("OCI runtime exec failed: exec failed"))
            }
            (other, _) => Err(Error::internal(format!("the shim gave an unexpected answer: {other:?}"))),
        }
    }

    /// The shim reports the end of an exec.
    pub(crate) fn exec_ended(&self, container: &Arc<Container>, id: &str, code: u8) {
        let Some(exec) = id.parse::<Id>().ok().and_then(|id| self.execs.get(&id)) else { return };
        self.execs.end(&exec, code.into());
        self.exec_event(container, &exec, "exec_die", &[("exitCode", &code.to_string())]);
    }
}

fn check_running(container: &Container) -> Result<()> {
    let id = container.id;
    match container.read().state.status {
        ContainerStatus::Running => Ok(()),
        ContainerStatus::Paused => {
            Err(Error::conflict(format!("Container {id} is paused, unpause the container before exec")))
        }
        _ => Err(Error::conflict(format!("Container {id} is not running"))),
    }
}
