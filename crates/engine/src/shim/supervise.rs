//! The task that follows one run of a container, from the shim's first word to its last.

use super::link::{Incoming, ShimLink, ShimReader, failure_error};
use crate::Engine;
use crate::container::Container;
use crate::networks::members::Attached;
use crate::{health, oci, procfs};
use gantry_model::{ContainerStatus, Error, Result, Timestamp};
use gantry_runtime::failure::DIED_IN_SETUP;
use gantry_shim_protocol::{Event, Failure, KILLED_IN_SETUP, RequestBody, Target};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A run that is being started; `None` in [`Run::launch`] for one that a new daemon has found.
#[derive(Debug)]
pub(crate) struct Launch {
    /// Told once: the program runs, or why not.
    pub(crate) outcome: oneshot::Sender<Result<()>>,
    /// What the network room has reserved.
    pub(crate) attached: Attached,
}

/// The state of the supervising task.
struct Run {
    engine: Arc<Engine>,
    container: Arc<Container>,
    link: Arc<ShimLink>,
    launch: Option<Launch>,
    /// The daemon's part of the start.
    releasing: Option<JoinHandle<()>>,
    /// Why the daemon's part of the start failed.
    our_failure: Arc<Mutex<Option<Error>>>,
}

/// Follows the shim until it is gone.
pub(crate) async fn supervise(
    engine: Arc<Engine>,
    container: Arc<Container>,
    link: Arc<ShimLink>,
    mut reader: ShimReader,
    launch: Option<Launch>,
) {
    engine.watch_log_driver(&container, &link);
    let mut run = Run { engine, container, link, launch, releasing: None, our_failure: Arc::default() };
    if run.launch.as_ref().is_some_and(|l| l.attached.members.is_empty()) {
        run.release_process(None);
    }
    loop {
        match reader.next().await {
            Incoming::Event(Event::Created { .. }, mut fds) => {
                if run.launch.as_ref().is_some_and(|l| !l.attached.members.is_empty()) {
                    run.release_process(fds.pop());
                }
            }
            Incoming::Event(Event::Started { pid, started_at }, _) => run.started(pid, started_at),
            Incoming::Event(Event::StartFailed(failure), _) => return run.start_failed(&failure).await,
            Incoming::Event(Event::Exited(exit), _) => return run.engine.run_ended(&run.container, exit).await,
            Incoming::Event(Event::ExecExited { exec_id, code }, _) => {
                run.engine.exec_ended(&run.container, &exec_id, code);
            }
            Incoming::Event(Event::OutOfMemory, _) => run.engine.container_event(&run.container, "oom", &[]),
            Incoming::Closed => return run.lost().await,
        }
    }
}

impl Run {
    /// Attaches the network and the clients that wait, then lets the process go. Runs beside the
    /// supervising loop, which must keep reading for the answers to arrive.
    fn release_process(&mut self, netns: Option<OwnedFd>) {
        let (engine, container, link) = (self.engine.clone(), self.container.clone(), self.link.clone());
        let attached = self.launch.as_ref().map(|l| l.attached.clone()).unwrap_or_default();
        let our_failure = self.our_failure.clone();
        self.releasing = Some(tokio::spawn(async move {
            if let Err(e) = release(&engine, &container, &link, attached, netns).await {
                tracing::debug!("container {}: {e}", container.id);
                *our_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
                let kill = RequestBody::Signal { target: Target::Init, signal: gantry_model::signal::SIGKILL };
                drop(link.perform(kill, &[]).await);
            }
        }));
    }

    /// The start has failed: nothing more of it may happen while it is undone.
    async fn stop_releasing(&mut self) {
        if let Some(releasing) = self.releasing.take() {
            releasing.abort();
            drop(releasing.await);
        }
    }

    fn started(&mut self, pid: u32, started_at: i64) {
        let container = &self.container;
        {
            let mut record = container.write();
            record.attached = self.launch.as_ref().map(|l| l.attached.clone()).unwrap_or_default();
            let state = &mut record.state;
            state.status = ContainerStatus::Running;
            state.pid = pid;
            state.pid_start_time = procfs::start_time(pid).unwrap_or(0);
            state.exit_code = 0;
            state.error.clear();
            state.oom_killed = false;
            state.started_at = Timestamp::from_unix_nanos(started_at.into());
            health::begin(&mut record);
        }
        container.progress.send_modify(|p| (p.live, p.restarts) = (true, false));
        self.engine.volume_mount_events(container, true);
        self.engine.container_event(container, "start", &[]);
        self.engine.watch_health(container);
        self.engine.tell_linked(container);
        self.engine.store_lazily(container, || ());
        if let Some(launch) = self.launch.take() {
            // Whoever started it may have gone away; the container runs all the same.
            drop(launch.outcome.send(Ok(())));
        }
    }

    fn take_our_failure(&self) -> Option<Error> {
        self.our_failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn start_failed(mut self, failure: &Failure) {
        self.stop_releasing().await;
        // A process that failed by itself knows why; what we have to say is then a consequence.
        let killed = failure.message == KILLED_IN_SETUP || failure.message == DIED_IN_SETUP;
        let ours = self.take_our_failure().filter(|_| killed);
        let error = ours.unwrap_or_else(|| {
            failure_error(failure).context("OCI runtime create failed: unable to start container process")
        });
        self.engine.run_failed(&self.container, self.launch.take(), error).await;
    }

    /// The shim vanished without a farewell: it was killed. Nothing of the container may survive it.
    async fn lost(mut self) {
        self.stop_releasing().await;
        if self.launch.is_some() {
            let died = || Error::internal("the container's shim died while it started the container");
            let error = self.take_our_failure().unwrap_or_else(died);
            return self.engine.run_failed(&self.container, self.launch.take(), error).await;
        }
        let exit = self.engine.reap_lost_run(&self.container).await;
        self.engine.run_ended(&self.container, exit).await;
    }
}

async fn release(
    engine: &Arc<Engine>,
    container: &Container,
    link: &ShimLink,
    attached: Attached,
    netns: Option<OwnedFd>,
) -> Result<()> {
    for client in container.take_waiting_clients() {
        link.perform(client.wanted, &[client.socket.as_fd()]).await?;
    }
    let net = gantry_runtime::spec::encode(&attached.layout())?;
    if !attached.members.is_empty() {
        let netns = netns.ok_or_else(|| Error::internal("the shim sent no network namespace"))?;
        let names_of = netns.try_clone()?;
        let record = container.read().clone();
        let (attaching, joined) = (engine.clone(), attached.clone());
        let (id, links, stack) = (record.id, record.links.clone(), oci::stack(&record));
        let attach = crate::blocking(move || {
            attaching.attach_networks(&joined, netns.as_fd(), stack)?;
            attaching.open_links(id, &links, joined.bridge());
            Ok::<_, Error>(())
        });
        let forwards = engine.lead_forwards(link, &attached);
        tokio::try_join!(attach, engine.serve_names(&record, &attached, names_of), forwards)?;
    }
    engine.membership_events(container, &attached, "connect");
    link.perform(RequestBody::Go { net }, &[]).await
}
