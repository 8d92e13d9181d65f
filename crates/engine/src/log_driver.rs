//! The processes that forward containers' output to log drivers (`gantry-log-drivers`).
//!
//! One is started before the container's shim and must reach its receiver, or the container does not start, as with
//! Docker. After that nobody needs it to be the same process: the shim holds what it has not read yet, and one that
//! died is replaced. It outlives the daemon; the next one finds it by its pid file.

use crate::Engine;
use crate::container::{Container, Record};
use crate::plan;
use crate::readiness;
use crate::shim::ShimLink;
use gantry_linux::{memfd, seqpacket, spawn};
use gantry_log_drivers::{Config, process};
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_runtime::spawn as shims;
use gantry_shim_protocol::RequestBody;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// A receiver that has not answered by then is not there.
const REACH: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };
/// Bytes of a refusal.
const MAX_REFUSAL: u64 = 4096;
/// One that died is not replaced faster than this, or a driver that crashes would keep a processor busy.
const REPLACE: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts the forwarder of a container that has one. Returns the feed's sending and receiving end, for the shim.
    /// Blocks until the receiver is reached.
    pub(crate) fn start_log_driver(&self, record: &Record) -> Result<Option<[OwnedFd; 2]>> {
        let Some(config) = plan::logs::forwarding(record)? else { return Ok(None) };
        let (sending, receiving) = seqpacket::pair().context("log feed")?;
        let mut status = self.spawn_log_driver(record, &config, receiving.as_fd())?;
        let failed = |why: &str| Error::internal(format!("failed to initialize logging driver: {why}"));
        let answered = poll(&mut [PollFd::new(&status, PollFlags::IN)], Some(&REACH)).map_err(io::Error::from)?;
        if answered == 0 {
            // Without its feed it gives up by itself.
            return Err(failed("the log driver does not answer"));
        }
        let mut said = String::new();
        status.by_ref().take(MAX_REFUSAL).read_to_string(&mut said).context("log driver")?;
        if said == process::READY {
            return Ok(Some([sending, receiving]));
        }
        Err(failed(if said.is_empty() { "the log driver died" } else { &said }))
    }

    /// Starts a forwarder; the end of the pipe on which it says how that went.
    fn spawn_log_driver(&self, record: &Record, config: &Config, feed: BorrowedFd<'_>) -> Result<File> {
        let start = || -> io::Result<File> {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            let stderr = io::stderr();
            let config = memfd::sealed("gantry-log-config", &serde_json::to_vec(config)?)?;
            let (status, telling) = pipe_with(PipeFlags::CLOEXEC)?;
            let fds = [null.as_fd(), null.as_fd(), stderr.as_fd(), feed, config.as_fd(), telling.as_fd()];
            let args = [CString::new(process::NAME)?, CString::new(record.id.to_string())?];
            let pid = spawn::spawn(self.config.program.as_fd(), &args, &fds)?;
            // If it has ended already, the pipe tells why.
            shims::write_pid_file(&self.dirs(&record.id).log_driver_pid_file(), pid)?;
            Ok(status.into())
        };
        start().context("cannot start the log driver")
    }

    /// Replaces a running container's forwarder whenever it has died.
    pub(crate) fn watch_log_driver(self: &Arc<Self>, container: &Arc<Container>, link: &Arc<ShimLink>) {
        if !plan::logs::is_forwarded(&container.read()) {
            return;
        }
        let (engine, container, link) = (Arc::clone(self), Arc::clone(container), Arc::clone(link));
        tokio::spawn(async move {
            while engine.log_driver_ended(&container, &link).await {
                match engine.replace_log_driver(&container, &link).await {
                    Ok(true) => tracing::warn!("container {}: its log driver died and was replaced", container.id),
                    // It ended because the container did.
                    Ok(false) => return,
                    Err(e) => tracing::warn!("container {}: {e}", container.id),
                }
                tokio::time::sleep(REPLACE).await;
            }
        });
    }

    /// Waits for the forwarder's end; false when the container has ended, too.
    async fn log_driver_ended(&self, container: &Container, link: &ShimLink) -> bool {
        let found = shims::find_shim(&self.dirs(&container.id).log_driver_pid_file());
        if let Ok(Some(process)) = found
            && let Ok(end) = readiness::watch(process.pidfd)
        {
            drop(end.readable().await);
        }
        !link.is_closed()
    }

    /// False when the shim has no feed any more.
    async fn replace_log_driver(self: &Arc<Self>, container: &Arc<Container>, link: &ShimLink) -> Result<bool> {
        let Ok((_, mut fds)) = link.request(RequestBody::LogFeed, &[]).await else { return Ok(false) };
        let Some(feed) = fds.pop() else { return Ok(false) };
        let record = container.read().clone();
        let engine = Arc::clone(self);
        let started = tokio::task::spawn_blocking(move || {
            let Some(config) = plan::logs::forwarding(&record)? else { return Ok(()) };
            // Nobody waits for it: a receiver that is down now will be tried again.
            engine.spawn_log_driver(&record, &config, feed.as_fd()).map(drop)
        });
        started.await.map_err(|e| Error::internal(e.to_string()))?.map(|()| true)
    }
}
