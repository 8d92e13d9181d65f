//! `NetworkDriver`: networks that a plugin makes, as Docker's remote driver asks for them.

use crate::error::{PluginError, Result};
use crate::registry::{Patience, Plugin};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Options as they travel: labels and values of any shape.
pub type Options = Map<String, Value>;

/// Routes that an endpoint may bring along.
const MAX_ROUTES: usize = 1024;

/// A plugin that makes networks.
#[derive(Debug, Clone)]
pub struct NetworkDriver(pub Plugin);

/// What a driver can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// `local` or `global`.
    pub scope: String,
    /// Whether containers reach each other on all hosts.
    pub connectivity_scope: String,
}

/// Addresses of a network, one for each pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamData {
    /// Whose pool it is.
    pub address_space: String,
    /// CIDR.
    pub pool: String,
    /// CIDR; empty if there is none.
    pub gateway: String,
    /// Addresses that are taken, by name; CIDRs.
    pub aux_addresses: BTreeMap<String, String>,
}

/// An endpoint's interface. Addresses are CIDRs; what is empty is up to the other side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// IPv4.
    #[serde(rename = "Address", deserialize_with = "text")]
    pub address: String,
    /// IPv6.
    #[serde(rename = "AddressIPv6", deserialize_with = "text")]
    pub address_ipv6: String,
    /// Hardware address.
    #[serde(rename = "MacAddress", deserialize_with = "text")]
    pub mac_address: String,
}

/// How a container gets at the network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Joined {
    /// The interface to move into the container.
    #[serde(rename = "InterfaceName")]
    pub interface: Option<InterfaceName>,
    /// IPv4 gateway.
    #[serde(rename = "Gateway", deserialize_with = "text")]
    pub gateway: String,
    /// IPv6 gateway.
    #[serde(rename = "GatewayIPv6", deserialize_with = "text")]
    pub gateway_ipv6: String,
    /// Further routes.
    #[serde(rename = "StaticRoutes", deserialize_with = "or_default")]
    pub routes: Vec<StaticRoute>,
    /// The driver has a way out of its own.
    #[serde(rename = "DisableGatewayService", deserialize_with = "or_default")]
    pub disable_gateway_service: bool,
}

/// Names of an interface before and in the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct InterfaceName {
    /// On the host.
    #[serde(rename = "SrcName", deserialize_with = "text")]
    pub source: String,
    /// In the container, a number is appended.
    #[serde(rename = "DstPrefix", deserialize_with = "text")]
    pub prefix: String,
}

/// A route into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StaticRoute {
    /// CIDR.
    #[serde(rename = "Destination", deserialize_with = "text")]
    pub destination: String,
    /// 0: by [`Self::next_hop`]; 1: on the link.
    #[serde(rename = "RouteType", deserialize_with = "or_default")]
    pub kind: i64,
    /// An address.
    #[serde(rename = "NextHop", deserialize_with = "text")]
    pub next_hop: String,
}

/// A network for the plugin to make.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CreateNetwork<'a> {
    /// Its id.
    #[serde(rename = "NetworkID")]
    pub network: &'a str,
    /// `com.docker.network.generic` holds the client's.
    #[serde(rename = "Options")]
    pub options: Options,
    /// IPv4 pools.
    #[serde(rename = "IPv4Data")]
    pub ipv4: Vec<IpamData>,
    /// IPv6 pools.
    #[serde(rename = "IPv6Data")]
    pub ipv6: Vec<IpamData>,
}

/// An endpoint of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct EndpointId<'a> {
    /// The network.
    #[serde(rename = "NetworkID")]
    pub network: &'a str,
    /// The endpoint.
    #[serde(rename = "EndpointID")]
    pub endpoint: &'a str,
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    or_default(deserializer)
}

/// `null` is absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Capable {
    #[serde(rename = "Scope", default)]
    scope: Option<String>,
    #[serde(rename = "ConnectivityScope", default)]
    connectivity_scope: Option<String>,
}

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Interface", default)]
    interface: Option<Interface>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(rename = "Value", default)]
    value: Option<Options>,
}

#[derive(Serialize)]
struct WithOptions<'a, T: Serialize> {
    #[serde(flatten)]
    of: T,
    #[serde(rename = "Options")]
    options: &'a Options,
}

impl NetworkDriver {
    /// What it can do.
    pub async fn capability(&self) -> Result<Capability> {
        self.0.networks().get_or_try_init(|| self.ask()).await.cloned()
    }

    async fn ask(&self) -> Result<Capability> {
        let found: Capable = self.0.look("GetCapabilities", &serde_json::json!({}), Patience::Long).await?;
        let scope = found.scope.unwrap_or_default();
        if !matches!(scope.as_str(), "local" | "global") {
            return Err(PluginError::Answer {
                method: "NetworkDriver.GetCapabilities".to_owned(),
                reason: format!("invalid capability: expecting 'local' or 'global', got {scope}"),
            });
        }
        let connectivity_scope = found.connectivity_scope.filter(|s| !s.is_empty()).unwrap_or_else(|| scope.clone());
        Ok(Capability { scope, connectivity_scope })
    }

    /// Makes a network.
    pub async fn create_network(&self, request: &CreateNetwork<'_>) -> Result<()> {
        self.act("CreateNetwork", request).await.map(|Nothing {}| ())
    }

    /// Removes one.
    pub async fn delete_network(&self, network: &str) -> Result<()> {
        self.act("DeleteNetwork", &serde_json::json!({"NetworkID": network})).await.map(|Nothing {}| ())
    }

    /// Makes an endpoint. The driver may fill in what `interface` leaves open, and must not change the rest.
    pub async fn create_endpoint(
        &self,
        id: EndpointId<'_>,
        interface: &Interface,
        options: &Options,
    ) -> Result<Interface> {
        #[derive(Serialize)]
        struct Request<'a> {
            #[serde(flatten)]
            id: EndpointId<'a>,
            // An interface of which nothing is known is absent: the driver chooses.
            #[serde(rename = "Interface")]
            interface: Option<&'a Interface>,
            #[serde(rename = "Options")]
            options: &'a Options,
        }
        let known = (*interface != Interface::default()).then_some(interface);
        let made: Endpoint = self.act("CreateEndpoint", &Request { id, interface: known, options }).await?;
        complete(interface, made.interface.unwrap_or_default())
    }

    /// What the driver wants to be shown of an endpoint.
    pub async fn endpoint_info(&self, id: EndpointId<'_>) -> Result<Options> {
        let found: Info = self.prefixed(self.0.look("EndpointOperInfo", &id, Patience::Brief).await)?;
        Ok(found.value.unwrap_or_default())
    }

    /// Removes an endpoint.
    pub async fn delete_endpoint(&self, id: EndpointId<'_>) -> Result<()> {
        self.act("DeleteEndpoint", &id).await.map(|Nothing {}| ())
    }

    /// A container begins to use an endpoint.
    pub async fn join(&self, id: EndpointId<'_>, sandbox: &str, options: &Options) -> Result<Joined> {
        #[derive(Serialize)]
        struct Request<'a> {
            #[serde(flatten)]
            id: EndpointId<'a>,
            #[serde(rename = "SandboxKey")]
            sandbox: &'a str,
            #[serde(rename = "Options")]
            options: &'a Options,
        }
        let mut joined: Joined = self.act("Join", &Request { id, sandbox, options }).await?;
        joined.routes.truncate(MAX_ROUTES);
        Ok(joined)
    }

    /// And ends it.
    pub async fn leave(&self, id: EndpointId<'_>) -> Result<()> {
        self.act("Leave", &id).await.map(|Nothing {}| ())
    }

    /// The endpoint is a container's way out, and its ports are to be published; false if the driver knows no such thing.
    pub async fn program_external_connectivity(&self, id: EndpointId<'_>, options: &Options) -> Result<bool> {
        self.optional("ProgramExternalConnectivity", &WithOptions { of: id, options }).await
    }

    /// And no more.
    pub async fn revoke_external_connectivity(&self, id: EndpointId<'_>) -> Result<()> {
        self.optional("RevokeExternalConnectivity", &id).await.map(drop)
    }

    /// Drivers of the first protocol do not know these methods and say so by 404: false.
    async fn optional<A: Serialize>(&self, method: &str, arguments: &A) -> Result<bool> {
        match self.act(method, arguments).await {
            Ok(Nothing {}) => Ok(true),
            Err(PluginError::Status { status: 404, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn act<A: Serialize, R: DeserializeOwned>(&self, method: &str, arguments: &A) -> Result<R> {
        self.prefixed(self.0.act(method, arguments).await)
    }

    /// As Docker writes refusals of network plugins.
    #[expect(clippy::unused_self, reason = "reads as the calls do")]
    fn prefixed<R>(&self, result: Result<R>) -> Result<R> {
        result.map_err(|e| match e {
            PluginError::Refused(words) => PluginError::Refused(format!("remote: {words}")),
            other => other,
        })
    }
}

/// The asked and the given interface together.
fn complete(asked: &Interface, given: Interface) -> Result<Interface> {
    let pick = |what: &str, asked: &str, given: String| {
        if given.is_empty() || given.eq_ignore_ascii_case(asked) {
            return Ok(asked.to_owned());
        }
        if asked.is_empty() {
            return Ok(given);
        }
        let reason = format!("driver attempted to change the {what}");
        Err(PluginError::Answer { method: "NetworkDriver.CreateEndpoint".to_owned(), reason })
    };
    Ok(Interface {
        address: pick("IPv4 address", &asked.address, given.address)?,
        address_ipv6: pick("IPv6 address", &asked.address_ipv6, given.address_ipv6)?,
        mac_address: pick("MAC address", &asked.mac_address, given.mac_address)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_completes_and_does_not_change() {
        let asked = Interface { address: "10.0.0.2/24".into(), ..Interface::default() };
        let given = Interface { mac_address: "02:00:00:00:00:01".into(), ..Interface::default() };
        let both = complete(&asked, given).unwrap();
        assert_eq!((both.address.as_str(), both.mac_address.as_str()), ("10.0.0.2/24", "02:00:00:00:00:01"));
        let given = Interface { address: "10.0.0.3/24".into(), ..Interface::default() };
        assert!(complete(&asked, given).is_err());
    }

    #[test]
    fn nulls_are_absent() {
        let joined: Joined =
            serde_json::from_str(r#"{"InterfaceName":null,"Gateway":null,"StaticRoutes":null,"Err":""}"#).unwrap();
        assert_eq!(joined, Joined::default());
    }
}
