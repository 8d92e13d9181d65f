//! `POST /networks/create`.
//!
//! The kernel's objects come first and the record after them: a network exists from the moment its record is durable,
//! and what a daemon that died in between has left is swept by the next start, because no record names it.

use super::record::{NETWORKS, Network};
use super::{driver, ipam};
use crate::{Engine, NO_SWARM};
use gantry_api_types::{Ipam, NetworkCreateRequest, NetworkCreateResponse};
use gantry_model::{Error, Id, Result, Timestamp};
use gantry_state_db::Batch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names that mean something else in `NetworkMode`.
const RESERVED: [&str; 4] = ["bridge", "host", "none", "default"];
/// The driver of a network that is only a collection of settings.
const NO_DRIVER: &str = "null";

impl Engine {
    /// Makes a network; it runs to its end also when the client goes away.
    pub async fn network_create(&self, request: NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        self.detached(move |engine| async move { engine.create_network(request).await }).await
    }

    async fn create_network(self: &Arc<Self>, mut request: NetworkCreateRequest) -> Result<NetworkCreateResponse> {
        check_name(&request.name)?;
        check_swarm(&request)?;
        let name = self.networks.reserve(&request.name)?;
        // The network that settings are taken from must stay until it is known who uses them.
        let changes = self.networks.changes.lock().await;
        let from = self.settings_of(&mut request)?;
        check_driver(&request)?;
        let draft = self.draft_network(request, from)?;
        let engine = self.clone();
        let network = crate::blocking(move || driver::create(&engine, draft)).await?;
        let stored = self.commit(Batch::new().put(NETWORKS, &network.id.to_string(), &network)?).await;
        if let Err(e) = stored {
            let engine = self.clone();
            if let Err(e) = crate::blocking(move || driver::remove(&engine, &network)).await {
                tracing::error!("a network that could not be recorded: {e}");
            }
            return Err(e);
        }
        let network = Arc::new(network);
        self.networks.insert(network.clone());
        drop((changes, name));
        self.network_event(&network, "create", None);
        Ok(NetworkCreateResponse { id: network.id.to_string(), warning: String::new() })
    }

    /// The request as a network; what its driver decides is still open.
    fn draft_network(&self, request: NetworkCreateRequest, config_from: String) -> Result<Network> {
        let NetworkCreateRequest { name, driver, enable_ipv4, enable_ipv6, ipam, config_only, options, .. } = request;
        let ipv6 = enable_ipv6.unwrap_or(false);
        let mut ipam = ipam.unwrap_or_default();
        if ipam.driver.is_empty() {
            ipam::DEFAULT.clone_into(&mut ipam.driver);
        }
        ipam::check(&ipam, ipv6)?;
        let driver = match driver {
            _ if config_only => NO_DRIVER.to_owned(),
            driver if driver.is_empty() => "bridge".to_owned(),
            driver => driver,
        };
        let mut all = self.config.network_options.get(&driver).filter(|_| !config_only).cloned().unwrap_or_default();
        all.extend(options.unwrap_or_default());
        Ok(Network {
            id: Id::random(),
            created: Timestamp::now(),
            name,
            driver,
            ipv4: enable_ipv4.unwrap_or(true),
            ipv6,
            internal: request.internal,
            attachable: request.attachable,
            config_only,
            config_from,
            ipam: Ipam { config: Some(ipam.config.unwrap_or_default()), ..ipam },
            chosen_pools: Vec::new(),
            plugin_pools: Vec::new(),
            options: all,
            labels: request.labels.unwrap_or_default(),
            spec: None,
        })
    }

    /// Takes over what a configuration-only network says; returns its name, empty when there is none.
    fn settings_of(&self, request: &mut NetworkCreateRequest) -> Result<String> {
        let from = request.config_from.take().unwrap_or_default().network;
        if from.is_empty() {
            return Ok(from);
        }
        if request.config_only {
            return Err(Error::forbidden("a configuration network cannot depend on another configuration network"));
        }
        let missing = || Error::not_found(format!("configuration network {from:?} does not exist"));
        let network = self.networks.find(&from).ok().filter(|network| network.config_only).ok_or_else(missing)?;
        if !is_empty(request.options.as_ref()) {
            return Err(Error::forbidden(
                "network driver options are not supported if the network depends on a configuration network",
            ));
        }
        let own_pools = request.ipam.as_ref().is_some_and(|ipam| {
            ipam.config.as_ref().is_some_and(|c| !c.is_empty()) || !is_empty(ipam.options.as_ref())
        });
        if own_pools || !is_empty(request.labels.as_ref()) || request.enable_ipv6 == Some(true) || request.internal {
            return Err(Error::forbidden(
                "user specified configurations are not supported if the network depends on a configuration network",
            ));
        }
        request.options = Some(network.options.clone());
        request.labels = Some(network.labels.clone());
        request.ipam = Some(network.ipam.clone());
        request.enable_ipv4 = Some(network.ipv4);
        request.enable_ipv6 = Some(network.ipv6);
        request.internal = network.internal;
        Ok(network.name.clone())
    }
}

fn is_empty(map: Option<&BTreeMap<String, String>>) -> bool {
    map.is_none_or(BTreeMap::is_empty)
}

fn check_name(name: &str) -> Result<()> {
    if RESERVED.contains(&name) {
        return Err(Error::forbidden(format!("operation is not permitted on predefined {name} network ")));
    }
    if name.trim().is_empty() || name.contains(char::is_control) {
        return Err(Error::invalid(format!("invalid name: {name}")));
    }
    Ok(())
}

/// What only a swarm can give.
fn check_swarm(request: &NetworkCreateRequest) -> Result<()> {
    if request.ingress {
        return Err(Error::forbidden("Ingress network can only be global scope network"));
    }
    if request.scope == "swarm" {
        return Err(Error::forbidden("cannot create a swarm scoped network when swarm is not active"));
    }
    if request.driver == "overlay" || !matches!(request.scope.as_str(), "" | "local") {
        return Err(Error::unavailable(NO_SWARM));
    }
    Ok(())
}

fn check_driver(request: &NetworkCreateRequest) -> Result<()> {
    match request.driver.as_str() {
        _ if request.config_only => Ok(()),
        driver @ ("host" | "null") => {
            Err(Error::forbidden(format!("only one instance of {driver:?} network is allowed")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_model::ErrorKind;

    #[test]
    fn names() {
        assert_eq!(check_name("default").unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(check_name(" ").unwrap_err().to_string(), "invalid name:  ");
        assert!(check_name("a\nb").is_err());
        // As lax as the reference.
        assert!(check_name("a b/c").is_ok());
    }

    #[test]
    fn a_swarm_s_networks() {
        let request = |driver: &str, scope: &str| NetworkCreateRequest {
            driver: driver.into(),
            scope: scope.into(),
            ..NetworkCreateRequest::default()
        };
        assert!(check_swarm(&request("bridge", "local")).is_ok());
        assert_eq!(check_swarm(&request("overlay", "")).unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(check_swarm(&request("", "swarm")).unwrap_err().kind(), ErrorKind::Forbidden);
    }
}
