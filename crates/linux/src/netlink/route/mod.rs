//! Links, addresses and routes (rtnetlink). Functions that change something add a request to a [`Batch`];
//! functions that list something ask at once.

mod address;
mod link;
mod list;
mod stacked;

pub use address::{
    add_address, add_default_route, add_route, delete_address, delete_default_route, ensure_address, replace_route,
};
pub use link::{
    BridgePort, IPV6_MIN_MTU, VethPair, add_bridge, add_dummy, delete_group, delete_link, delete_link_by_index,
    disable_port, move_link, set_alias, set_group, set_hairpin, set_interface_up, set_link_up, set_mac, set_master,
    set_port, set_segment,
};
pub use list::{Address, Link, Route, addresses, link_by_name, links, routes};
pub use stacked::{Ipvlan, IpvlanFlag, IpvlanMode, Macvlan, MacvlanMode, add_vlan};

use super::Attrs;
use std::net::IpAddr;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_GSO_IPV4_MAX_SIZE: u16 = 63;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;

const AF_INET: u8 = libc::AF_INET as u8;
const AF_INET6: u8 = libc::AF_INET6 as u8;
const IFF_UP: u32 = libc::IFF_UP as u32;

/// The size of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// The size of `struct ifaddrmsg`.
const IFADDR: usize = 8;
/// The size of `struct rtmsg`.
const RTMSG: usize = 12;

/// `struct ifinfomsg`: link `index` (0 when named by attribute), with `flags` set out of those in `change`.
fn ifinfo(index: u32, flags: u32, change: u32) -> [u8; IFINFO] {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// Stops IPv6 from giving the link a link-local address, and with it duplicate address detection, router
/// solicitations and multicast reports, which cost more than the rest of bringing a link up.
fn without_link_local(attrs: &mut Attrs<'_>) {
    const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
    const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
    attrs.nest(IFLA_AF_SPEC, |a| {
        a.nest(libc::AF_INET6 as u16, |a| {
            a.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        });
    });
}

/// The address family's number.
const fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}

/// An attribute that is an address.
fn put_address(attrs: &mut Attrs<'_>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(ip) => attrs.bytes(kind, &ip.octets()),
        IpAddr::V6(ip) => attrs.bytes(kind, &ip.octets()),
    };
}
