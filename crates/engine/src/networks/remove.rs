//! `DELETE /networks/{id}` and `POST /networks/prune`.
//!
//! The kernel's objects go first: a daemon that dies before the record is gone finds it at the next start and makes the
//! network again.

use super::driver;
use super::record::{NETWORKS, Network};
use crate::filters::Filters;
use crate::{Engine, until};
use gantry_api_types::NetworkPruneResponse;
use gantry_model::{Error, ErrorKind, Result};
use gantry_state_db::Batch;
use std::sync::Arc;

impl Engine {
    /// Removes a network that nobody is on.
    pub async fn network_remove(&self, text: &str) -> Result<()> {
        let network = self.networks.find(text)?;
        self.detached(move |engine| async move { engine.remove_network(&network).await }).await
    }

    /// Removes the networks that no running container is on.
    pub async fn network_prune(&self, filters: Filters) -> Result<NetworkPruneResponse> {
        filters.accept_only(&["label", "label!", "until"])?;
        let until = until::parse(&filters)?;
        self.detached(move |engine| async move {
            let mut deleted = Vec::new();
            for network in engine.networks.all() {
                let wanted = network.is_custom()
                    && !network.config_only
                    && until.is_none_or(|until| network.created < until)
                    && filters.select_labels(&network.labels)
                    && engine.members_of(&network).is_empty();
                if !wanted {
                    continue;
                }
                match engine.remove_network(&network).await {
                    Ok(()) => deleted.push(network.name.clone()),
                    // Somebody has joined it, or was quicker.
                    Err(e) if matches!(e.kind(), ErrorKind::Forbidden | ErrorKind::NotFound) => {}
                    Err(e) => tracing::warn!("network {}: {e}", network.name),
                }
            }
            engine.prune_event("network", 0);
            Ok(NetworkPruneResponse { networks_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()) })
        })
        .await
    }

    async fn remove_network(self: &Arc<Self>, network: &Arc<Network>) -> Result<()> {
        if !network.is_custom() {
            return Err(Error::forbidden(format!("{} is a pre-defined network and cannot be removed", network.name)));
        }
        let _changes = self.networks.changes.lock().await;
        if self.networks.get(&network.id).is_none() {
            return Err(Error::not_found(format!("network {} not found", network.name)));
        }
        self.check_unused(network)?;
        let (engine, target) = (self.clone(), network.clone());
        // The network room knows also of those that are joining.
        crate::blocking(move || driver::remove(&engine, &target))
            .await
            .map_err(|e| e.context("error while removing network"))?;
        // Durable before it is out of sight: a name that is free again must not come back.
        self.commit(Batch::new().delete(NETWORKS, &network.id.to_string())).await?;
        self.networks.remove(&network.id);
        self.network_event(network, "destroy", None);
        Ok(())
    }

    fn check_unused(&self, network: &Network) -> Result<()> {
        let members = self.members_of(network);
        if !members.is_empty() {
            return Err(Error::forbidden(format!(
                "error while removing network: network {} id {} has active endpoints ({})",
                network.name,
                network.id,
                members.join(", ")
            )));
        }
        let used = network.config_only && self.networks.all().iter().any(|other| other.config_from == network.name);
        if used {
            let name = &network.name;
            return Err(Error::forbidden(format!(
                "error while removing network: configuration network {name:?} is in use"
            )));
        }
        Ok(())
    }

    /// The endpoints on a network, as newer Docker names them in the refusal.
    fn members_of(&self, network: &Network) -> Vec<String> {
        let containers = self.containers.all();
        let members = containers.iter().filter_map(|container| {
            let record = container.read();
            let endpoint = &record.attached.on(&network.id)?.endpoint;
            Some(format!("name:{:?} id:{:?}", record.name, &endpoint.id.to_string()[..12]))
        });
        members.collect()
    }
}
