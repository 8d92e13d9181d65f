//! `POST /containers/{id}/attach`.

use crate::Engine;
use crate::container::{Container, WaitingClient};
use crate::logs::LogsOptions;
use crate::stream::{AttachSession, DetachKeys, Kind, stream_pair};
use gantry_model::{ContainerStatus, Error, Result};
use gantry_shim_protocol::RequestBody;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Query parameters of attach.
#[derive(Debug, Clone, Default)]
pub struct AttachOptions {
    /// Forward input.
    pub stdin: bool,
    /// Send standard output.
    pub stdout: bool,
    /// Send standard error.
    pub stderr: bool,
    /// Attach to the live streams.
    pub stream: bool,
    /// Send the log so far first.
    pub logs: bool,
    /// Detach sequence.
    pub detach_keys: Option<String>,
}

impl Engine {
    /// Attaches to a container, running or not yet.
    pub async fn container_attach(&self, name: &str, options: AttachOptions) -> Result<AttachSession> {
        let container = self.find(name)?;
        let detach = DetachKeys::parse(options.detach_keys.as_deref())?;
        check_attachable(&container)?;
        let (tty, open_stdin) = {
            let record = container.read();
            (record.config.tty, record.config.open_stdin)
        };
        let replay = if options.logs { Some(Box::new(self.replay(name, &options).await?)) } else { None };
        let live = if options.stream { Some(connect(&container, &options, open_stdin).await?) } else { None };
        self.container_event(&container, "attach", &[]);
        let kind = Kind::Container {
            engine: self.arc(),
            container,
            replay,
            live,
            stdin: options.stdin && open_stdin,
            detach: tty.then_some(detach),
        };
        Ok(AttachSession { tty, kind })
    }

    /// What a container that does not run yet is going to print, in frames.
    pub(crate) async fn attach_output(&self, container: &Arc<Container>) -> Result<tokio::net::UnixStream> {
        let wanted = AttachOptions { stdout: true, stderr: true, stream: true, ..AttachOptions::default() };
        let output = connect(container, &wanted, false).await?;
        self.container_event(container, "attach", &[]);
        Ok(output)
    }

    async fn replay(&self, name: &str, options: &AttachOptions) -> Result<crate::logs::LogStream> {
        let wanted = LogsOptions { stdout: options.stdout, stderr: options.stderr, ..LogsOptions::default() };
        self.container_logs(name, wanted).await
    }
}

fn check_attachable(container: &Container) -> Result<()> {
    let id = container.id;
    match container.read().state.status {
        ContainerStatus::Paused => {
            Err(Error::conflict(format!("container {id} is paused, unpause the container before attach")))
        }
        ContainerStatus::Restarting => {
            Err(Error::conflict(format!("Container {id} is restarting, wait until the container is running")))
        }
        _ => Ok(()),
    }
}

/// The client's end of the live stream. A container without a shim gets it at its next start,
/// before its program runs, so that no output is missed.
async fn connect(
    container: &Arc<Container>,
    options: &AttachOptions,
    open_stdin: bool,
) -> Result<tokio::net::UnixStream> {
    let (ours, theirs) = stream_pair()?;
    let wanted =
        RequestBody::Attach { stdin: options.stdin && open_stdin, stdout: options.stdout, stderr: options.stderr };
    container.add_waiting_client(WaitingClient { wanted, socket: theirs });
    // A start in between has taken the list already, or is going to; whoever takes it attaches.
    if let Some(link) = container.shim() {
        for WaitingClient { wanted, socket } in container.take_waiting_clients() {
            attach_to(&link, wanted, &socket).await?;
        }
    }
    Ok(ours)
}

async fn attach_to(link: &crate::shim::ShimLink, wanted: RequestBody, socket: &OwnedFd) -> Result<()> {
    link.perform(wanted, &[socket.as_fd()]).await
}
