//! What the daemon's flags say about networks.

use crate::Net;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Settings of a [`Manager`](crate::Manager); the names of dockerd's flags stand beside them.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tells daemons on one host apart: empty for the default one, else six hexadecimal digits. It goes into
    /// the names of the bridge, of the links and of the nftables table.
    pub instance: String,
    /// The bridge of the default network (`--bridge`).
    pub bridge: BridgeChoice,
    /// The bridge's own address and prefix length (`--bip`).
    pub bip: Option<(Ipv4Addr, u8)>,
    /// The part of the subnet that containers get addresses from (`--fixed-cidr`).
    pub fixed_cidr: Option<(Ipv4Addr, u8)>,
    /// The containers' default gateway when it is not the bridge (`--default-gateway`).
    pub default_gateway: Option<Ipv4Addr>,
    /// Whether the default network has IPv6 as well (`--ipv6`).
    pub ipv6: bool,
    /// The default network's IPv6 subnet (`--fixed-cidr-v6`); one of the pools' when missing.
    pub fixed_cidr_v6: Option<Net>,
    /// The bridge's own IPv6 address and prefix length (`--bip6`).
    pub bip6: Option<(Ipv6Addr, u8)>,
    /// The containers' IPv6 default gateway when it is not the bridge (`--default-gateway-v6`).
    pub default_gateway_v6: Option<Ipv6Addr>,
    /// The links' largest packet (`--mtu`).
    pub mtu: u32,
    /// Whether rules are written to the firewall (`--iptables`).
    pub firewall: bool,
    /// Whether containers' shims serve the host's addresses from which the kernel does not lead to a container
    /// (`--userland-proxy`).
    pub forwarders: bool,
    /// Whether published ports are open on the containers' own addresses to whoever routes to them
    /// (`--allow-direct-routing`).
    pub direct_routing: bool,
    /// Whether forwarding is switched on in the kernel (`--ip-forward`).
    pub ip_forward: bool,
    /// Whether containers reach the outside under the host's address (`--ip-masq`).
    pub ip_masq: bool,
    /// Whether containers of the default network reach each other (`--icc`). When they do not, their bridge ports
    /// are isolated, which needs no firewall and covers every protocol; on a host with br_netfilter, where the bridge
    /// itself turns translated packets round, that includes each other's published ports.
    pub icc: bool,
    /// The host address of published ports that name none (`--ip`).
    pub default_bind_ip: IpAddr,
    /// Where subnets are taken from (`--default-address-pool`); empty means Docker's own pools.
    pub address_pools: Vec<AddressPool>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            instance: String::new(),
            bridge: BridgeChoice::Own,
            bip: None,
            fixed_cidr: None,
            default_gateway: None,
            ipv6: false,
            fixed_cidr_v6: None,
            bip6: None,
            default_gateway_v6: None,
            mtu: 1500,
            firewall: true,
            forwarders: true,
            direct_routing: false,
            ip_forward: true,
            ip_masq: true,
            icc: true,
            default_bind_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            address_pools: Vec::new(),
        }
    }
}

/// Which bridge the default network uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BridgeChoice {
    /// Gantry's own, made when missing: `gantry0`, or `gantry-` and the instance.
    Own,
    /// One that the administrator made; Gantry never removes it.
    Existing(String),
    /// No default network (`--bridge none`).
    Disabled,
}

/// A range that is cut into subnets of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressPool {
    /// The range.
    pub base: Net,
    /// The prefix length of each subnet.
    pub size: u8,
}

impl Config {
    /// The name of Gantry's own bridge.
    pub fn own_bridge_name(&self) -> String {
        if self.instance.is_empty() { "gantry0".to_owned() } else { format!("gantry-{}", self.instance) }
    }

    /// The name of the nftables table (family `inet`).
    pub fn table_name(&self) -> String {
        if self.instance.is_empty() { "gantry".to_owned() } else { format!("gantry_{}", self.instance) }
    }

    /// What is written about bridges and VLANs that belong to networks, before the network's id.
    pub(crate) fn alias_prefix(&self) -> String {
        format!("gantry:{}:", self.instance)
    }

    /// What the names of this instance's links on the host begin with. The letters of the default prefix are
    /// no hexadecimal digits, so that no instance's prefix can be the beginning of another's link.
    pub fn link_prefix(&self) -> String {
        if self.instance.is_empty() { "gveth".to_owned() } else { format!("g{}", self.instance) }
    }
}
