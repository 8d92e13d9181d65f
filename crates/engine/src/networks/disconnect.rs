//! `POST /networks/{id}/disconnect`.
//!
//! The record forgets the network first: what a daemon that died after that has left in the kernel is taken away by the
//! next one (`recover.rs`).

use super::connect::{network_namespace, not_host};
use super::record::Network;
use super::{driver, way_out};
use crate::Engine;
use crate::container::Container;
use crate::plan::files;
use crate::plan::network::{self, NetworkMode, Predefined};
use gantry_api_types::NetworkDisconnectRequest;
use gantry_model::{ContainerStatus, Error, ErrorKind, Result};
use std::os::fd::AsFd;
use std::sync::Arc;

impl Engine {
    /// Takes a container off a network; it runs to its end also when the client goes away.
    pub async fn network_disconnect(&self, text: &str, request: NetworkDisconnectRequest) -> Result<()> {
        let network = self.networks.find(text);
        let container = match self.find(&request.container) {
            Err(e) if request.force && e.kind() == ErrorKind::NotFound => {
                // There are no endpoints without a container here.
                network?;
                return Err(Error::not_found(format!("endpoint {} not found", request.container)));
            }
            found => found?,
        };
        let text = text.to_owned();
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            match network {
                Ok(network) => engine.disconnect(&container, &network).await,
                // A network that is gone may still be in the record of a container that does not run.
                Err(e) => engine.forget_network(&container, &text, e).await,
            }
        })
        .await
    }

    async fn disconnect(self: &Arc<Self>, container: &Arc<Container>, network: &Arc<Network>) -> Result<()> {
        let (settings, live) = {
            let record = container.read();
            if matches!(record.state.status, ContainerStatus::Removing | ContainerStatus::Dead) {
                return Err(Error::conflict(format!(
                    "Container {} is marked for removal and cannot be connected or disconnected to the network",
                    record.id
                )));
            }
            if network.as_predefined() == Some(Predefined::Host) && network::mode(&record) == NetworkMode::Host {
                return Err(not_host());
            }
            (record.networks.get(&network.name).cloned(), record.state.status.is_live())
        };
        let Some(settings) = settings else { return Err(not_connected(container, &network.name)) };
        container.write().networks.remove(&network.name);
        if let Err(e) = self.store(container).await {
            container.write().networks.insert(network.name.clone(), settings);
            return Err(e);
        }
        if live {
            let (engine, target, left) = (self.clone(), container.clone(), network.clone());
            let left = crate::blocking(move || engine.leave_running(&target, &left)).await;
            self.forwards_have_moved(container).await;
            self.names_have_changed(container).await?;
            left?;
        }
        self.network_event(network, "disconnect", Some(&container.id.to_string()));
        Ok(())
    }

    async fn forget_network(&self, container: &Container, name: &str, missing: Error) -> Result<()> {
        let forgotten = {
            let mut record = container.write();
            !record.state.status.is_live() && record.networks.remove(name).is_some()
        };
        if forgotten { self.store(container).await } else { Err(missing) }
    }

    /// Everything that blocks.
    pub(super) fn leave_running(&self, container: &Container, network: &Network) -> Result<()> {
        let record = container.read().clone();
        let Some(at) = record.attached.members.iter().position(|member| member.network == network.id) else {
            return Ok(());
        };
        let mut attached = record.attached.clone();
        let mut member = attached.members.remove(at);
        let netns = network_namespace(&record)?;
        // Ports go where the way out goes, before the way of old is gone.
        let mut moved = self.move_ports(container.id, &mut attached);
        if attached.published.is_none() {
            let revoked = way_out::revoke(self, &mut member);
            moved = moved.and(revoked).and(self.publish_running(container, &mut attached));
        }
        {
            // Not as a whole: the run may have ended meanwhile.
            let mut record = container.write();
            record.attached.members.retain(|member| member.network != network.id);
            for member in &mut record.attached.members {
                if let Some(now) = attached.on(&member.network) {
                    member.plugged.clone_from(&now.plugged);
                }
            }
            record.attached.published.clone_from(&attached.published);
        }
        let steps = [
            moved,
            driver::detach(self, &member, netns.as_fd()),
            driver::release(self, &member),
            self.network.configure(netns.as_fd(), &attached.layout()).map_err(Error::from),
            files::member_left(self, &record, &member),
            self.write_run_file(container, &attached),
        ];
        // All are tried: the container is off the network whatever happens.
        steps.into_iter().collect()
    }
}

fn not_connected(container: &Container, network: &str) -> Error {
    Error::forbidden(format!("container {} is not connected to network {network}", container.id))
}
