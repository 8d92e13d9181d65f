//! `IpamDriver`: addresses that a plugin gives out.

use crate::error::{PluginError, Result};
use crate::registry::{Patience, Plugin};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Says in a request for an address that it is to be a network's gateway.
pub const REQUEST_TYPE: (&str, &str) = ("RequestAddressType", "com.docker.network.gateway");
/// The option with an endpoint's hardware address.
pub const MAC_ADDRESS: &str = "com.docker.network.endpoint.macaddress";

/// Options of a pool or an address.
pub type Options = BTreeMap<String, String>;

/// A plugin that gives out addresses.
#[derive(Debug, Clone)]
pub struct IpamDriver(pub Plugin);

/// What a driver needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capability {
    /// The hardware address with each request.
    pub requires_mac_address: bool,
    /// To be told of pools and addresses again after a restart of the engine.
    pub requires_request_replay: bool,
}

/// The address spaces that networks take pools from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSpaces {
    /// Of this host.
    pub local: String,
    /// Of all hosts.
    pub global: String,
}

/// A pool for a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PoolRequest {
    /// One of [`AddressSpaces`].
    #[serde(rename = "AddressSpace")]
    pub address_space: String,
    /// CIDR; empty: the driver chooses.
    #[serde(rename = "Pool")]
    pub pool: String,
    /// A range of it that addresses come from.
    #[serde(rename = "SubPool")]
    pub sub_pool: String,
    /// The client's.
    #[serde(rename = "Options")]
    pub options: Options,
    /// The family.
    #[serde(rename = "V6")]
    pub v6: bool,
}

/// A pool that was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// By which it is given back.
    pub id: String,
    /// CIDR.
    pub pool: String,
    /// What else the driver says, the gateway's address for one.
    pub data: Options,
}

/// An address that was given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// CIDR.
    pub address: String,
    /// What else the driver says.
    pub data: Options,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Capable {
    #[serde(rename = "RequiresMACAddress", default)]
    mac: Option<bool>,
    #[serde(rename = "RequiresRequestReplay", default)]
    replay: Option<bool>,
}

#[derive(Deserialize)]
struct Spaces {
    #[serde(rename = "LocalDefaultAddressSpace", default)]
    local: Option<String>,
    #[serde(rename = "GlobalDefaultAddressSpace", default)]
    global: Option<String>,
}

#[derive(Deserialize)]
struct GivenPool {
    #[serde(rename = "PoolID", default)]
    id: Option<String>,
    #[serde(rename = "Pool", default)]
    pool: Option<String>,
    #[serde(rename = "Data", default)]
    data: Option<Options>,
}

#[derive(Deserialize)]
struct GivenAddress {
    #[serde(rename = "Address", default)]
    address: Option<String>,
    #[serde(rename = "Data", default)]
    data: Option<Options>,
}

impl IpamDriver {
    /// What it needs; a driver that does not know the question needs nothing.
    pub async fn capability(&self, patience: Patience) -> Result<Capability> {
        self.0.addresses().get_or_try_init(|| self.ask(patience)).await.copied()
    }

    async fn ask(&self, patience: Patience) -> Result<Capability> {
        let found: Result<Capable> = self.0.look("GetCapabilities", &serde_json::json!({}), patience).await;
        match found {
            Ok(found) => Ok(Capability {
                requires_mac_address: found.mac.unwrap_or_default(),
                requires_request_replay: found.replay.unwrap_or_default(),
            }),
            Err(PluginError::Status { .. }) => Ok(Capability::default()),
            Err(e) => Err(e),
        }
    }

    /// Where pools come from.
    pub async fn address_spaces(&self) -> Result<AddressSpaces> {
        let found = self.0.look("GetDefaultAddressSpaces", &serde_json::json!({}), Patience::Long).await;
        let found: Spaces = prefixed(found)?;
        Ok(AddressSpaces { local: found.local.unwrap_or_default(), global: found.global.unwrap_or_default() })
    }

    /// A pool for a network.
    pub async fn request_pool(&self, request: &PoolRequest) -> Result<Pool> {
        let given: GivenPool = self.act("RequestPool", request).await?;
        let (id, pool) = (given.id.unwrap_or_default(), given.pool.unwrap_or_default());
        if id.is_empty() || pool.is_empty() {
            let reason = format!("no pool in the answer: id {id:?}, pool {pool:?}");
            return Err(PluginError::Answer { method: "IpamDriver.RequestPool".to_owned(), reason });
        }
        Ok(Pool { id, pool, data: given.data.unwrap_or_default() })
    }

    /// Gives a pool back.
    pub async fn release_pool(&self, pool: &str) -> Result<()> {
        self.act("ReleasePool", &serde_json::json!({"PoolID": pool})).await.map(|Nothing {}| ())
    }

    /// An address of a pool; with an empty one the driver chooses.
    pub async fn request_address(&self, pool: &str, address: &str, options: &Options) -> Result<Address> {
        let request = serde_json::json!({"PoolID": pool, "Address": address, "Options": options});
        let given: GivenAddress = self.act("RequestAddress", &request).await?;
        Ok(Address { address: given.address.unwrap_or_default(), data: given.data.unwrap_or_default() })
    }

    /// Gives an address back.
    pub async fn release_address(&self, pool: &str, address: &str) -> Result<()> {
        let request = serde_json::json!({"PoolID": pool, "Address": address});
        self.act("ReleaseAddress", &request).await.map(|Nothing {}| ())
    }

    async fn act<A: Serialize, R: DeserializeOwned>(&self, method: &str, arguments: &A) -> Result<R> {
        prefixed(self.0.act(method, arguments).await)
    }
}

/// As Docker writes refusals of IPAM plugins.
fn prefixed<R>(result: Result<R>) -> Result<R> {
    result.map_err(|e| match e {
        PluginError::Refused(words) => PluginError::Refused(format!("remote: {words}")),
        other => other,
    })
}
