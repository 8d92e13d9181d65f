//! Making, changing and removing links.

use super::super::{ACK, Batch, CREATE, EXCL};
use super::{
    AF_INET, IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFADDR, IFF_UP, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME,
    IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU,
    IFLA_NET_NS_FD, IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, ifinfo,
    without_link_local,
};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Adds a bridge that is not up yet.
///
/// An address given at creation stays; a bridge without one takes on the lowest of its ports' and so changes
/// it whenever a container comes or goes, to the confusion of every neighbour.
pub fn add_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: u32) {
    batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, &mac).u32(IFLA_MTU, mtu);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "bridge");
        });
    });
}

/// Brings a link up.
pub fn set_link_up(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, IFF_UP, IFF_UP), |_| ());
}

/// Brings a container's interface up, without IPv6 of its own; an `mtu` of 0 leaves it as it is.
pub fn set_interface_up(batch: &mut Batch, index: u32, mtu: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, IFF_UP, IFF_UP), |a| {
        if mtu != 0 {
            a.u32(IFLA_MTU, mtu);
        }
        without_link_local(a);
    });
}

/// Removes a link by its name. The peer of a veth goes with it.
///
/// The kernel waits for all processors to let go of it, some 30 ms; see [`set_group`] for many.
pub fn delete_link(batch: &mut Batch, name: &str) {
    batch.message(RTM_DELLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
    });
}

/// Puts a link into a group.
pub fn set_group(batch: &mut Batch, name: &str, group: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_GROUP, group);
    });
}

/// Removes all links of a group, which takes no longer than removing one.
pub fn delete_group(batch: &mut Batch, group: u32) {
    batch.message(RTM_DELLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.u32(IFLA_GROUP, group);
    });
}

/// Gives a link an IPv4 address and the subnet's broadcast address.
pub fn add_address(batch: &mut Batch, index: u32, address: Ipv4Addr, prefix_len: u8) {
    batch.message(RTM_NEWADDR, CREATE | EXCL | ACK, &ifaddr(index, prefix_len), |a| {
        a.bytes(IFA_LOCAL, &address.octets()).bytes(IFA_ADDRESS, &address.octets());
        // A subnet of two addresses or one has no broadcast address (RFC 3021).
        if prefix_len < 31 {
            let broadcast = u32::from(address) | (u32::MAX >> prefix_len);
            a.bytes(IFA_BROADCAST, &broadcast.to_be_bytes());
        }
    });
}

/// Takes an IPv4 address away from a link.
pub fn delete_address(batch: &mut Batch, index: u32, address: Ipv4Addr, prefix_len: u8) {
    batch.message(RTM_DELADDR, ACK, &ifaddr(index, prefix_len), |a| {
        a.bytes(IFA_LOCAL, &address.octets());
    });
}

/// `struct ifaddrmsg` for IPv4.
fn ifaddr(index: u32, prefix_len: u8) -> [u8; IFADDR] {
    let mut header = [AF_INET, prefix_len, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&index.to_ne_bytes());
    header
}

/// Makes a link the port of a bridge.
pub fn set_master(batch: &mut Batch, name: &str, bridge: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_MASTER, bridge);
    });
}

/// A pair of links: one end on the host as a port of a bridge, the other in a container.
#[derive(Debug, Clone, Copy)]
pub struct VethPair<'a> {
    /// The name on the host.
    pub name: &'a str,
    /// The index of the bridge.
    pub bridge: u32,
    /// The name in the container.
    pub peer_name: &'a str,
    /// The container's hardware address.
    pub peer_mac: [u8; 6],
    /// The container's network namespace.
    pub peer_netns: BorrowedFd<'a>,
    /// The largest packet.
    pub mtu: u32,
}

impl VethPair<'_> {
    /// Adds the request that makes the pair: both ends where they belong, the peer with its address.
    ///
    /// One queue, and not one a processor as veth makes by default: each queue is a directory in sysfs to be
    /// made and removed, and a veth's queues do nothing without XDP.
    pub fn add(&self, batch: &mut Batch) {
        const VETH_INFO_PEER: u16 = 1;
        batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), |a| {
            a.text(IFLA_IFNAME, self.name).u32(IFLA_MTU, self.mtu).u32(IFLA_MASTER, self.bridge);
            a.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
            a.nest(IFLA_LINKINFO, |a| {
                a.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |a| {
                    a.nest(VETH_INFO_PEER, |a| {
                        a.raw(&ifinfo(0, 0, 0)).text(IFLA_IFNAME, self.peer_name).bytes(IFLA_ADDRESS, &self.peer_mac);
                        a.u32(IFLA_MTU, self.mtu).u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
                        a.u32(IFLA_NET_NS_FD, self.peer_netns.as_raw_fd() as u32);
                    });
                });
            });
        });
    }
}

/// How a bridge treats one of its ports.
#[derive(Debug, Clone, Copy, Default)]
pub struct BridgePort {
    /// Frames go to ports that are not isolated only (and to the host).
    pub isolated: bool,
    /// A frame may leave through the port that it came in by.
    pub hairpin: bool,
}

/// Cuts a port off at once: no frame passes any more, and the bridge forgets which addresses were behind it.
/// Much faster than taking the link down, for which the kernel waits as it does for removing it.
pub fn disable_port(batch: &mut Batch, name: &str) {
    const IFLA_BRPORT_STATE: u16 = 1;
    const IFLA_BRPORT_FLUSH: u16 = 26;
    const BR_STATE_DISABLED: u8 = 0;
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |a| {
                a.u8(IFLA_BRPORT_STATE, BR_STATE_DISABLED).flag(IFLA_BRPORT_FLUSH);
            });
        });
    });
}

/// Sets the port's behaviour and brings it up, without IPv6 of its own.
pub fn set_port(batch: &mut Batch, name: &str, port: BridgePort) {
    const IFLA_BRPORT_MODE: u16 = 4;
    const IFLA_BRPORT_ISOLATED: u16 = 33;
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, IFF_UP, IFF_UP), |a| {
        a.text(IFLA_IFNAME, name);
        if port.isolated || port.hairpin {
            a.nest(IFLA_LINKINFO, |a| {
                a.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |a| {
                    a.u8(IFLA_BRPORT_ISOLATED, port.isolated.into()).u8(IFLA_BRPORT_MODE, port.hairpin.into());
                });
            });
        }
        without_link_local(a);
    });
}
