//! What a network is: as it was asked for, and as it is kept.

use crate::Net;
use gantry_linux::netlink::route::{IpvlanFlag, IpvlanMode, MacvlanMode};
use gantry_model::Id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network, with everything decided. Whoever keeps records of networks keeps this with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Its id.
    pub id: Id,
    /// Its name, for messages.
    pub name: String,
    /// How it is made.
    pub driver: Driver,
    /// No way out and none in; only its members and, on a bridge, the host.
    pub internal: bool,
    /// Its subnets of both families. Addresses come from the first of each family that has some left.
    pub subnets: Vec<SubnetSpec>,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetSpec {
    /// The subnet.
    pub subnet: Net,
    /// The part of it that addresses are given out from.
    pub range: Option<Net>,
    /// The members' gateway: the bridge itself, or a router that is there already. None on networks without a way out.
    pub gateway: Option<IpAddr>,
    /// Addresses that are somebody else's, by what for.
    pub aux: BTreeMap<String, IpAddr>,
}

impl SubnetSpec {
    /// All of a subnet, without a gateway.
    pub fn of(subnet: Net) -> Self {
        Self { subnet, range: None, gateway: None, aux: BTreeMap::new() }
    }
}

/// How a network is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge on the host.
    Bridge(BridgeOptions),
    /// Interfaces of their own hardware addresses on one of the host's.
    Macvlan(MacvlanOptions),
    /// Interfaces with the hardware address of one of the host's.
    Ipvlan(IpvlanOptions),
    /// Somebody else's: only its subnets and addresses are kept here.
    Remote {
        /// Whose.
        name: String,
    },
}

impl Driver {
    /// Docker's name of it.
    pub fn name(&self) -> &str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Macvlan(_) => "macvlan",
            Self::Ipvlan(_) => "ipvlan",
            Self::Remote { name } => name,
        }
    }

    /// What names of containers' interfaces begin with.
    pub fn container_prefix(&self) -> &str {
        match self {
            Self::Bridge(options) if !options.container_prefix.is_empty() => &options.container_prefix,
            _ => "eth",
        }
    }
}

/// A network on a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeOptions {
    /// The bridge's name; in a draft, empty for one that follows from the network's id.
    pub ifname: String,
    /// Whether members reach each other.
    pub icc: bool,
    /// Whether members reach the outside under the host's address.
    pub masquerade_v4: bool,
    /// The same with IPv6.
    pub masquerade_v6: bool,
    /// The largest packet; 0 for the kernel's choice.
    pub mtu: u32,
    /// Where ports are published that name no host address; `None` for the daemon's default.
    pub bind_v4: Option<Ipv4Addr>,
    /// The same with IPv6.
    pub bind_v6: Option<Ipv6Addr>,
    /// How members are reached from outside.
    pub gateway_mode_v4: GatewayMode,
    /// The same with IPv6.
    pub gateway_mode_v6: GatewayMode,
    /// Interfaces of the host whose neighbours may send to published ports of members by the members' own addresses.
    pub trusted_interfaces: Vec<String>,
    /// What names of containers' interfaces begin with; empty for `eth`.
    pub container_prefix: String,
    /// The bridge gets no IPv4 address.
    pub inhibit_ipv4: bool,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            ifname: String::new(),
            icc: true,
            masquerade_v4: true,
            masquerade_v6: true,
            mtu: 0,
            bind_v4: None,
            bind_v6: None,
            gateway_mode_v4: GatewayMode::Nat,
            gateway_mode_v6: GatewayMode::Nat,
            trusted_interfaces: Vec::new(),
            container_prefix: String::new(),
            inhibit_ipv4: false,
        }
    }
}

/// How members of a bridge network are reached from outside (`com.docker.network.bridge.gateway_mode_ipv4`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// By published ports of the host's addresses.
    #[default]
    Nat,
    /// The same, and on all ports by whoever has a route.
    NatUnprotected,
    /// On published ports by whoever has a route; nothing is translated.
    Routed,
    /// Not at all: the bridge has no address. For internal networks.
    Isolated,
}

impl GatewayMode {
    /// Whether ports of the host's addresses lead to members.
    pub const fn translates(self) -> bool {
        matches!(self, Self::Nat | Self::NatUnprotected)
    }
}

/// A network of macvlan interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacvlanOptions {
    /// The host's interface, or a VLAN on it as `eth0.10`; in a draft, empty for one that leads nowhere.
    pub parent: String,
    /// How members see each other.
    #[serde(with = "modes::macvlan")]
    pub mode: MacvlanMode,
    /// The largest packet; 0 for the parent's.
    pub mtu: u32,
}

/// A network of ipvlan interfaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpvlanOptions {
    /// The host's interface, or a VLAN on it as `eth0.10`; in a draft, empty for one that leads nowhere.
    pub parent: String,
    /// On which layer it switches.
    #[serde(with = "modes::ipvlan")]
    pub mode: IpvlanMode,
    /// How members see each other.
    #[serde(with = "modes::ipvlan_flag")]
    pub flag: IpvlanFlag,
    /// The largest packet; 0 for the parent's.
    pub mtu: u32,
}

/// What a client asked for: what is missing is chosen.
#[derive(Debug, Clone)]
pub struct NetworkDraft {
    /// The network's id.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// How it is to be made; see [`Driver::from_options`].
    pub driver: Driver,
    /// No way out and none in.
    pub internal: bool,
    /// Whether members have IPv4 addresses.
    pub ipv4: bool,
    /// Whether members have IPv6 addresses.
    pub ipv6: bool,
    /// What was said about subnets. A family that is wanted and not mentioned gets one of the daemon's pools.
    pub pools: Vec<PoolRequest>,
}

/// What a client said about a subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolRequest {
    /// The subnet; chosen when missing.
    pub subnet: Option<Net>,
    /// The part of it that addresses are given out from.
    pub range: Option<Net>,
    /// The gateway; the first address when missing.
    pub gateway: Option<IpAddr>,
    /// Addresses that are somebody else's.
    pub aux: BTreeMap<String, IpAddr>,
}

/// Docker's words for modes.
pub(crate) mod modes {
    macro_rules! words {
        ($name:ident, $type:ty, $($word:literal => $value:expr),+) => {
            pub(crate) mod $name {
                use super::super::*;
                use serde::{Deserializer, Serializer};

                pub(crate) fn parse(text: &str) -> Option<$type> {
                    match text {
                        $($word => Some($value),)+
                        _ => None,
                    }
                }

                pub(crate) fn serialize<S: Serializer>(value: &$type, s: S) -> Result<S::Ok, S::Error> {
                    $(if *value == $value {
                        return s.serialize_str($word);
                    })+
                    Err(serde::ser::Error::custom("a mode without a word"))
                }

                pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                    parse(&text).ok_or_else(|| serde::de::Error::custom("no such mode"))
                }
            }
        };
    }
    words!(macvlan, MacvlanMode, "bridge" => MacvlanMode::Bridge, "private" => MacvlanMode::Private,
        "vepa" => MacvlanMode::Vepa, "passthru" => MacvlanMode::Passthru);
    words!(ipvlan, IpvlanMode, "l2" => IpvlanMode::L2, "l3" => IpvlanMode::L3, "l3s" => IpvlanMode::L3s);
    words!(ipvlan_flag, IpvlanFlag, "bridge" => IpvlanFlag::Bridge, "private" => IpvlanFlag::Private,
        "vepa" => IpvlanFlag::Vepa);
}
