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
use crate::plan;
use crate::restart_policy;
use crate::run_end::record_start_failure;
use crate::shim::{Launch, ShimLink, ShimReader, supervise};
use gantry_model::error::Context;
use gantry_model::{ContainerStatus, Error, Result};
use gantry_network::{Endpoint, Gateways, Published};
use gantry_runtime::spawn;
use gantry_shim_protocol::transport;
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, PoisonError};
use tokio::sync::oneshot;

/// What a new daemon must know of a run before the record that says so is durable: written to the
/// exec-root (a tmpfs) before the shim is spawned.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunFile {
    /// The container's network attachment.
    pub(crate) endpoint: Option<Endpoint>,
    /// The container's published ports.
    pub(crate) published: Option<Published>,
    /// Restarts so far.
    pub(crate) restart_count: u32,
}

/// A run whose shim is there.
struct Prepared {
    link: Arc<ShimLink>,
    reader: ShimReader,
    endpoint: Option<Endpoint>,
    published: Option<Published>,
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
        let Prepared { link, reader, endpoint, published } = match prepared {
            Ok(prepared) => prepared,
            Err(e) => return Err(self.give_up(container, e)),
        };
        container.set_shim(Some(link.clone()));
        let (outcome, started) = oneshot::channel();
        let launch = Launch { outcome, endpoint, published };
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
        let (endpoint, published, holders) = match plan::network::mode(&record)? {
            plan::network::NetworkMode::Bridge => {
                let (endpoint, publication) = self.reserve_network(&record).map_err(|e| {
                    let id = &record.id;
                    e.context(format!(
                        "driver failed programming external connectivity on endpoint {} ({id})",
                        record.name
                    ))
                })?;
                (Some(endpoint), Some(publication.published), publication.holders)
            }
            _ => (None, None, Vec::new()),
        };
        let spawned = self.spawn_run(container, &record, &links, (endpoint.as_ref(), published.as_ref()), holders);
        if spawned.is_err() {
            if let Some(endpoint) = &endpoint {
                self.give_network_back(endpoint);
            }
            self.clear_run(container, container.current_run());
        }
        let (link, reader) = spawned?;
        Ok(Prepared { link, reader, endpoint, published })
    }

    /// A place on the default bridge, and the ports.
    fn reserve_network(&self, record: &crate::container::Record) -> Result<(Endpoint, gantry_network::Publication)> {
        let default = self.networks.default_bridge();
        let endpoint = self.network.allocate(&plan::network::endpoint_request(record, default)?)?;
        let gateways = Gateways::first_of([&endpoint]);
        let publication = plan::network::port_requests(record)
            .and_then(|ports| Ok(self.network.reserve_ports(record.id, gateways, &ports)?));
        match publication {
            Ok(publication) => Ok((endpoint, publication)),
            Err(e) => {
                self.give_network_back(&endpoint);
                Err(e)
            }
        }
    }

    /// Gives a place and its ports back; what fails is logged, for nobody can act on it.
    pub(crate) fn give_network_back(&self, endpoint: &Endpoint) {
        for outcome in [self.network.close_ports(&endpoint.container), self.network.release(endpoint)] {
            if let Err(e) = outcome {
                tracing::warn!("container {}: {e}", endpoint.container);
            }
        }
    }

    fn spawn_run(
        &self,
        container: &Container,
        record: &crate::container::Record,
        links: &[links::Live],
        (endpoint, published): (Option<&Endpoint>, Option<&Published>),
        holders: Vec<OwnedFd>,
    ) -> Result<(Arc<ShimLink>, ShimReader)> {
        let dirs = self.dirs(&container.id);
        self.fresh_run_dir(container)?;
        let restart_count = record.state.restart_count;
        let run = RunFile { endpoint: endpoint.cloned(), published: published.cloned(), restart_count };
        let run = serde_json::to_vec(&run).map_err(|e| Error::internal(e.to_string()))?;
        fs::write(dirs.run_file(), run).context(dirs.run_file().display())?;
        plan::files::write(self, record, endpoint, links)?;
        let mut prepared = plan::build(self, record, &plan::StartContext { endpoint: endpoint.cloned() })?;
        for warning in &prepared.warnings {
            tracing::warn!("container {}: {warning}", container.id);
        }
        // The shim always waits for our word: clients that attached before the start must be connected first.
        prepared.plan.wait_for_network = true;
        let held = self.start_log_driver(record)?.into_iter().flatten().chain(holders).collect();
        let listener = transport::listen(&dirs.socket()).context("shim socket")?;
        // Connected before there is a shim: once it runs nothing may fail that would leave it to itself.
        let linked = ShimLink::new(transport::connect(&dirs.socket()).context("shim socket")?)?;
        spawn::spawn_shim(
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
