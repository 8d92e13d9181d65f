//! `POST /networks/{id}/connect`.
//!
//! A container is on a network when its record says so. For one that runs, its run's file says it first, with what the
//! network has given; a daemon that starts takes away again what only that file knows (`recover.rs`).

use super::members::{Attached, Member};
use super::record::Network;
use super::{driver, endpoints, way_out};
use crate::Engine;
use crate::container::{Container, Record};
use crate::oci;
use crate::plan::files;
use crate::plan::network::{self, NetworkMode, Predefined};
use gantry_api_types::{EndpointSettings, NetworkConnectRequest};
use gantry_model::error::Context;
use gantry_model::{ContainerStatus, Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Docker's words.
const SHARED: &str =
    "container sharing network namespace with another container or host cannot be connected to any other network";
const NOT_HOST: &str = "container cannot be disconnected from host network or connected to host network";
const NOT_NONE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";

impl Engine {
    /// Puts a container on a network; it runs to its end also when the client goes away.
    pub async fn network_connect(&self, text: &str, request: NetworkConnectRequest) -> Result<()> {
        if request.container.is_empty() {
            return Err(Error::invalid("invalid name or ID supplied: \"\""));
        }
        let container = self.find(&request.container)?;
        let network = self.networks.find(text)?;
        let settings = endpoints::asked(request.endpoint_config.unwrap_or_default());
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            engine.connect(&container, &network, settings).await
        })
        .await
    }

    async fn connect(
        self: &Arc<Self>,
        container: &Arc<Container>,
        network: &Arc<Network>,
        settings: EndpointSettings,
    ) -> Result<()> {
        let live = check_membership(&container.read(), network)?;
        endpoints::check_on(network, &settings)?;
        if live {
            return self.connect_running(container, network, settings).await;
        }
        {
            let mut record = container.write();
            // Twice is as good as once, and the first one counts, as in Docker.
            record.networks.entry(network.name.clone()).or_insert(settings);
        }
        self.store(container).await
    }

    async fn connect_running(
        self: &Arc<Self>,
        container: &Arc<Container>,
        network: &Arc<Network>,
        settings: EndpointSettings,
    ) -> Result<()> {
        let (engine, target, joined, wish) = (self.clone(), container.clone(), network.clone(), settings.clone());
        let attached = crate::blocking(move || engine.join_running(&target, &joined, &wish)).await?;
        container.write().networks.insert(network.name.clone(), settings);
        if let Err(e) = self.store(container).await {
            container.write().networks.remove(&network.name);
            let (engine, target, left) = (self.clone(), container.clone(), network.clone());
            drop(crate::blocking(move || engine.leave_running(&target, &left)).await);
            self.forwards_have_moved(container).await;
            return Err(e);
        }
        drop(attached);
        self.forwards_have_moved(container).await;
        if let Err(e) = self.names_have_changed(container).await {
            tracing::warn!("container {}: its name server: {e}", container.id);
        }
        self.network_event(network, "connect", Some(&container.id.to_string()));
        Ok(())
    }

    /// Everything that blocks; after an error nothing is left.
    fn join_running(&self, container: &Container, network: &Network, settings: &EndpointSettings) -> Result<Attached> {
        let record = container.read().clone();
        let netns = network_namespace(&record)?;
        let mut attached = record.attached.clone();
        let member = self.allocate(&record, network, settings, &attached)?;
        attached.members.push(member.clone());
        let joined = self.plug_in(container, &mut attached, &member, &netns);
        let joined = joined.and_then(|()| keep(container, &attached));
        if let Err(e) = joined {
            self.undo_join(container, &record, &member, &netns, &attached);
            return Err(e);
        }
        if let Err(e) = files::member_joined(self, &record, &attached, &member) {
            tracing::warn!("container {}: {e}", container.id);
        }
        Ok(attached)
    }

    fn plug_in(&self, container: &Container, attached: &mut Attached, member: &Member, netns: &OwnedFd) -> Result<()> {
        // Before there is anything in the kernel that the next daemon could not explain.
        self.write_run_file(container, attached)?;
        driver::attach(self, member, netns.as_fd(), oci::stack(&container.read()))?;
        self.network.configure(netns.as_fd(), &attached.layout())?;
        self.move_ports(container.id, attached)?;
        if attached.published.is_none() {
            self.publish_running(container, attached)?;
        }
        self.write_run_file(container, attached)
    }

    fn undo_join(&self, container: &Container, record: &Record, member: &Member, netns: &OwnedFd, tried: &Attached) {
        let mut before = record.attached.clone();
        let ports = match &before.published {
            Some(_) => self.move_ports(container.id, &mut before),
            // A plugin's again.
            None => self.network.close_ports(&container.id).map_err(Error::from).and_then(|()| {
                // As far as it was told otherwise.
                for (was, is) in before.members.iter_mut().zip(&tried.members) {
                    was.plugged.clone_from(&is.plugged);
                }
                way_out::follow(self, record, &mut before).map(drop)
            }),
        };
        let steps = [
            ports,
            driver::detach(self, member, netns.as_fd()),
            driver::release(self, member),
            self.network.configure(netns.as_fd(), &record.attached.layout()).map_err(Error::from),
            self.write_run_file(container, &record.attached),
        ];
        for e in steps.into_iter().filter_map(Result::err) {
            tracing::warn!("container {}: left behind after a failed connect: {e}", container.id);
        }
    }

    /// Says in the run's file what the container is attached to.
    pub(super) fn write_run_file(&self, container: &Container, attached: &Attached) -> Result<()> {
        let restart_count = container.read().state.restart_count;
        crate::start::RunFile { attached: attached.clone(), restart_count }.write(&self.dirs(&container.id).run_file())
    }
}

/// Notes what a container is attached to, unless its run has ended meanwhile: whoever ends it takes away only what is
/// noted by then (`run_ended`).
fn keep(container: &Container, attached: &Attached) -> Result<()> {
    let mut record = container.write();
    if container.shim().is_none() {
        return Err(Error::conflict(format!("Container {} is not running", record.id)));
    }
    record.attached = attached.clone();
    Ok(())
}

/// The network namespace of a running container.
pub(crate) fn network_namespace(record: &Record) -> Result<OwnedFd> {
    let pid = record.state.pid;
    let path = format!("/proc/{pid}/ns/net");
    let file = std::fs::File::open(&path).context(&path)?;
    // The process was still the container's after the file was opened, so that the file is the container's as well.
    if crate::procfs::start_time(pid) != Some(record.state.pid_start_time) {
        return Err(Error::conflict(format!("Container {} is not running", record.id)));
    }
    Ok(file.into())
}

/// Whether the container may join the network; true when it runs, so that this is more than a note in its record.
fn check_membership(record: &Record, network: &Network) -> Result<bool> {
    if matches!(record.state.status, ContainerStatus::Removing | ContainerStatus::Dead) {
        return Err(Error::conflict(format!(
            "Container {} is marked for removal and cannot be connected or disconnected to the network",
            record.id
        )));
    }
    let mode = network::mode(record);
    if network.as_predefined() == Some(Predefined::Host) && mode != NetworkMode::Host {
        return Err(Error::invalid(NOT_HOST));
    }
    if !mode.is_private() {
        return Err(Error::invalid(SHARED));
    }
    let live = record.state.status.is_live();
    if record.networks.contains_key(&network.name) {
        if live {
            let (container, network) = (&record.name, &network.name);
            return Err(Error::forbidden(format!(
                "endpoint with name {container} already exists in network {network}"
            )));
        }
        return Ok(false);
    }
    let none = Predefined::None.name();
    if record.networks.contains_key(none) || (network.name == none && !record.networks.is_empty()) {
        return Err(Error::invalid(NOT_NONE));
    }
    if network.config_only {
        return Err(Error::forbidden("cannot create endpoint on configuration-only network"));
    }
    Ok(live && network.name != none)
}

/// Refusals that disconnect has, too.
pub(super) fn not_host() -> Error {
    Error::invalid(NOT_HOST)
}
