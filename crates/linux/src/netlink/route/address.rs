//! Addresses and routes, of both families.

use super::super::{ACK, Batch, CREATE, EXCL};
use super::{
    IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFADDR, RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_DELADDR, RTM_DELROUTE,
    RTM_NEWADDR, RTM_NEWROUTE, RTMSG, family, put_address,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NLM_F_REPLACE`: change the object if it exists.
const REPLACE: u16 = 0x100;

/// Gives a link an address. An IPv6 address is in force at once: whoever gives addresses out knows that nobody else
/// has it, and waiting for the kernel to ask around takes a second.
pub fn add_address(batch: &mut Batch, index: u32, address: impl Into<IpAddr>, prefix_len: u8) {
    new_address(batch, EXCL, index, address.into(), prefix_len);
}

/// The same; an address that is there already is fine.
pub fn ensure_address(batch: &mut Batch, index: u32, address: impl Into<IpAddr>, prefix_len: u8) {
    new_address(batch, REPLACE, index, address.into(), prefix_len);
}

fn new_address(batch: &mut Batch, flags: u16, index: u32, address: IpAddr, prefix_len: u8) {
    const IFA_F_NODAD: u8 = 0x02;
    let mut header = ifaddr(index, address, prefix_len);
    if address.is_ipv6() {
        header[2] = IFA_F_NODAD;
    }
    batch.message(RTM_NEWADDR, CREATE | flags | ACK, &header, |a| {
        put_address(a, IFA_LOCAL, address);
        put_address(a, IFA_ADDRESS, address);
        // A subnet of two addresses or one has no broadcast address (RFC 3021).
        if let IpAddr::V4(ip) = address
            && prefix_len < 31
        {
            let broadcast = u32::from(ip) | (u32::MAX >> prefix_len);
            a.bytes(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
    });
}

/// Takes an address away from a link.
pub fn delete_address(batch: &mut Batch, index: u32, address: impl Into<IpAddr>, prefix_len: u8) {
    let address = address.into();
    batch.message(RTM_DELADDR, ACK, &ifaddr(index, address, prefix_len), |a| put_address(a, IFA_LOCAL, address));
}

/// `struct ifaddrmsg`.
fn ifaddr(index: u32, address: IpAddr, prefix_len: u8) -> [u8; IFADDR] {
    let mut header = [family(address), prefix_len, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Adds a default route through `gateway` on link `index`.
pub fn add_default_route(batch: &mut Batch, index: u32, gateway: impl Into<IpAddr>) {
    let gateway = gateway.into();
    add_route(batch, index, unspecified(gateway), 0, Some(gateway));
}

/// Adds a route on link `index`, through `gateway` or to neighbours.
pub fn add_route(batch: &mut Batch, index: u32, destination: IpAddr, prefix_len: u8, gateway: Option<IpAddr>) {
    new_route(batch, EXCL, index, destination, prefix_len, gateway);
}

/// The same, in the place of a route to that destination that there may be.
pub fn replace_route(batch: &mut Batch, index: u32, destination: IpAddr, prefix_len: u8, gateway: Option<IpAddr>) {
    new_route(batch, REPLACE, index, destination, prefix_len, gateway);
}

fn new_route(batch: &mut Batch, flags: u16, index: u32, destination: IpAddr, len: u8, gateway: Option<IpAddr>) {
    let header = rtmsg(destination, len, gateway.is_none());
    batch.message(RTM_NEWROUTE, CREATE | flags | ACK, &header, |a| {
        if len > 0 {
            put_address(a, RTA_DST, destination);
        }
        if let Some(gateway) = gateway {
            put_address(a, RTA_GATEWAY, gateway);
        }
        a.u32(RTA_OIF, index);
    });
}

/// Removes a default route of a family on link `index`.
pub fn delete_default_route(batch: &mut Batch, index: u32, ipv6: bool) {
    let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mut header = rtmsg(any, 0, false);
    // Of any origin, type and scope.
    (header[5], header[6], header[7]) = (0, RT_SCOPE_NOWHERE, 0);
    batch.message(RTM_DELROUTE, ACK, &header, |a| {
        a.u32(RTA_OIF, index);
    });
}

const RT_SCOPE_NOWHERE: u8 = 255;

/// `struct rtmsg` of a unicast route in the main table.
fn rtmsg(destination: IpAddr, prefix_len: u8, to_neighbours: bool) -> [u8; RTMSG] {
    const RT_TABLE_MAIN: u8 = 254;
    const RTPROT_BOOT: u8 = 3;
    const RT_SCOPE_UNIVERSE: u8 = 0;
    const RT_SCOPE_LINK: u8 = 253;
    const RTN_UNICAST: u8 = 1;
    let scope = if to_neighbours && destination.is_ipv4() { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    [family(destination), prefix_len, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0]
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}
