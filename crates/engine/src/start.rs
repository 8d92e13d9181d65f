//! `POST /containers/{id}/start`.
//!
//! The hot path. What it costs: one `allocate` (memory and one bind for a port), three small files,
//! one `vfork`+`exec` of the shim, a handful of packets, and beside the child's own set-up one
//! netlink message for the network. No durable write is waited for unless the container has a
//! restart policy: the shim's existence *is* the fact that the container runs, and after a reboot a
//! container without a policy stays down either way.

use crate::Engine;
use crate::container::Container;
use crate::links;
use crate::modules;
use crate::networks::join::{Holders, carrier_filter};
use crate::networks::members::Attached;
use crate::oci;
use crate::plan;
use crate::restart_policy;
use crate::run_end::record_start_failure;
use crate::shim::{Launch, ShimLink, ShimReader, supervise};
use crate::volumes::{Source, Sources};
use gantry_model::error::Context;
use gantry_model::{ContainerStatus, Error, Result};
use gantry_runtime::spawn;
use gantry_shim_protocol::transport;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// What a new daemon must know of a run before the record that says so is durable: written to the
/// exec-root (a tmpfs) before the shim is spawned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// The container's places on networks.
    pub(crate) attached: Attached,
    /// Restarts so far.
    pub(crate) restart_count: u32,
}

impl RunFile {
    /// Whoever reads it sees the old one or the new.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal(e.to_string()))?;
        let new = path.with_extension("new");
        fs::write(&new, text).context(new.display())?;
        fs::rename(&new, path).context(path.display())
    }
}

/// A run whose shim is there.
struct Prepared {
    link: Arc<ShimLink>,
    reader: ShimReader,
    attached: Attached,
}

impl Engine {
    /// Starts a container.
    pub async fn container_start(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            engine.start_by_client(&container).await
        })
        .await
    }

    /// Runs a verb to its end even if the client that asked for it goes away.
    pub(crate) async fn detached<T, F>(&self, verb: impl FnOnce(Arc<Engine>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        tokio::spawn(verb(self.arc())).await.map_err(|e| Error::internal(format!("the engine failed: {e}")))?
    }

    /// A start that a client asked for; the verbs lock is held.
    pub(crate) async fn start_by_client(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        check_startable(container.read().state.status)?;
        container.cancel_restart();
        *container.backoff.lock().unwrap_or_else(PoisonError::into_inner) = restart_policy::Backoff::default();
        let with_policy = {
            let mut record = container.write();
            record.state.manually_stopped = false;
            record.state.restart_count = 0;
            restart_policy::has_policy(&record)
        };
        let outcome = if with_policy {
            let (started, stored) = tokio::join!(self.start_run(container), self.store(container));
            started.and(stored)
        } else {
            self.start_run(container).await
        };
        if outcome.is_err() && container.read().host_config.auto_remove {
            self.auto_remove(container);
        }
        outcome
    }

    /// Starts a run; the verbs lock is held and the state allows it.
    pub(crate) async fn start_run(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        container.settled().await;
        let (engine, target) = (self.clone(), container.clone());
        let prepared = tokio::task::spawn_blocking(move || engine.prepare_run(&target))
            .await
            .map_err(|e| Error::internal(format!("the engine failed: {e}")))?;
        let Prepared { link, reader, attached } = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Err(self.give_up(container, e)),
        };
        container.set_shim(Some(link.clone()));
        let (outcome, started) = oneshot::channel();
        let launch = Launch { outcome, attached };
        tokio::spawn(supervise(self.clone(), container.clone(), link, reader, Some(launch)));
        started.await.map_err(|_| Error::internal("the supervising task ended early"))?
    }

    /// A start failed before there was a shim.
    fn give_up(&self, container: &Container, error: Error) -> Error {
        container.take_waiting_clients();
        record_start_failure(container, &error);
        self.store_lazily(container, || ());
        container.start_has_failed(&error);
        error
    }

    /// Everything that blocks: addresses and ports, files, the plan, the shim.
    fn prepare_run(&self, container: &Container) -> Result<Prepared> {
        let record = container.read().clone();
        let links = links::for_start(self, &record)?;
        let (attached, holders) = self.reserve_networks(&record)?;
        // The directory first: it tells the next daemon that there may be something to unmount.
        let spawned = self.fresh_run_dir(container).and_then(|()| {
            let spawn = |volumes| self.spawn_run(container, &record, &links, &attached, holders, &volumes);
            self.with_volumes(&record, spawn)
        });
        if spawned.is_err() {
            self.leave_networks(&attached);
            self.clear_run(container, container.current_run());
        }
        let (link, reader) = spawned?;
        Ok(Prepared { link, reader, attached })
    }

    fn spawn_run(
        &self,
        container: &Container,
        record: &crate::container::Record,
        links: &[links::Live],
        attached: &Attached,
        holders: Holders,
        volumes: &Sources,
    ) -> Result<(Arc<ShimLink>, ShimReader)> {
        let dirs = self.dirs(&container.id);
        let restart_count = record.state.restart_count;
        RunFile { attached: attached.clone(), restart_count }.write(&dirs.run_file())?;
        plan::files::write(self, record, attached, links)?;
        self.note_held_volumes(record, volumes)?;
        let namespaces = held_namespaces(volumes)?;
        // In the order of `held` below.
        let before = holders.sockets.len() + if plan::logs::is_forwarded(record) { 2 } else { 0 };
        let mut prepared = plan::build(self, record, &plan::mounts::for_shim(volumes, before))?;
        // After the plan, which makes directories of binds that are missing.
        modules::relabel::mounts_of(record, volumes)?;
        for warning in &prepared.warnings {
            tracing::warn!("container {}: {warning}", container.id);
        }
        prepared.plan.carrier_filter = carrier_filter(&holders.forwards)?;
        prepared.plan.forwards = holders.forwards;
        oci::write_bundle(self, container, &prepared.plan)?;
        let log = self.start_log_driver(record)?.into_iter().flatten();
        let held = log.chain(holders.sockets).chain(namespaces).collect();
        let listener = transport::listen(&dirs.socket()).context("shim socket")?;
        // Connected before there is a shim: once it runs nothing may fail that would leave it to itself.
        let linked = ShimLink::new(transport::connect(&dirs.socket()).context("shim socket")?)?;
        // One that has ended already has said why.
        let _ = spawn::spawn_shim(
            self.config.shim.as_fd(),
            listener,
            &prepared.plan,
            &prepared.seccomp,
            held,
            &dirs.pid_file(),
        )?;
        Ok(linked)
    }

    /// An empty exec directory that belongs to a new run.
    fn fresh_run_dir(&self, container: &Container) -> Result<()> {
        let dirs = self.dirs(&container.id);
        let mut run = container.run.lock().unwrap_or_else(PoisonError::into_inner);
        *run += 1;
        match fs::remove_dir_all(dirs.exec()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).context(dirs.exec().display()),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(dirs.exec()).context(dirs.exec().display())
    }
}

/// Descriptors for the shim of the volumes that are held for it, in the order of their names.
fn held_namespaces(volumes: &Sources) -> Result<Vec<OwnedFd>> {
    let held = volumes.values().filter_map(|source| match source {
        Source::Held(namespace) => Some(namespace.try_clone()),
        _ => None,
    });
    held.collect::<std::io::Result<_>>().context("volumes")
}

fn check_startable(status: ContainerStatus) -> Result<()> {
    match status {
        ContainerStatus::Created | ContainerStatus::Exited | ContainerStatus::Restarting => Ok(()),
        ContainerStatus::Running => Err(Error::not_modified("container is already running")),
        ContainerStatus::Paused => Err(Error::conflict("cannot start a paused container, try unpause instead")),
        ContainerStatus::Removing | ContainerStatus::Dead => {
            Err(Error::conflict("container is marked for removal and cannot be started"))
        }
    }
}
