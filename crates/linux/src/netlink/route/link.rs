//! Making, changing and removing links.

use super::super::{ACK, Attrs, Batch, CREATE, EXCL};
use super::{
    IFF_UP, IFLA_ADDRESS, IFLA_GROUP, IFLA_GSO_IPV4_MAX_SIZE, IFLA_IFALIAS, IFLA_IFNAME, IFLA_INFO_DATA,
    IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA, IFLA_INFO_SLAVE_KIND, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD,
    IFLA_NUM_RX_QUEUES, IFLA_NUM_TX_QUEUES, RTM_DELLINK, RTM_NEWLINK, ifinfo, without_link_local,
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Adds a bridge that is not up yet.
///
/// An address given at creation stays; a bridge without one takes on the lowest of its ports' and so changes
/// it whenever a container comes or goes, to the confusion of every neighbour.
pub fn add_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: u32) {
    batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), |a| {
        put_mtu(a.text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, &mac), mtu);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "bridge");
        });
    });
}

fn put_mtu(attrs: &mut Attrs<'_>, mtu: u32) {
    if mtu != 0 {
        attrs.u32(IFLA_MTU, mtu);
    }
}

fn put_segment(attrs: &mut Attrs<'_>, segment: u32) {
    if segment != 0 {
        attrs.u32(IFLA_GSO_IPV4_MAX_SIZE, segment);
    }
}

/// How many bytes TCP over IPv4 may hand to a link in one piece, which goes through the kernel as one packet and is cut
/// into the wire's when it gets to a wire. Above 65,536 this is what the kernel calls BIG TCP (since 6.3; kernels before
/// that pass over the attribute). The kernel refuses what the link's driver cannot take; a bridge can take what its ports
/// can, and without any no more than 65,536.
pub fn set_segment(batch: &mut Batch, index: u32, segment: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, 0, 0), |a| put_segment(a, segment));
}

/// Brings a link up.
pub fn set_link_up(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, IFF_UP, IFF_UP), |_| ());
}

/// Brings a container's interface up. Without `ipv6` it makes itself no link-local address, which spares the kernel
/// more work than the rest of bringing it up.
pub fn set_interface_up(batch: &mut Batch, index: u32, ipv6: bool) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, IFF_UP, IFF_UP), |a| {
        if !ipv6 {
            without_link_local(a);
        }
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

/// Moves a link into a network namespace, where it has another name.
pub fn move_link(batch: &mut Batch, index: u32, netns: BorrowedFd<'_>, name: &str) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_NET_NS_FD, netns.as_raw_fd() as u32);
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

/// Removes a link by its number.
pub fn delete_link_by_index(batch: &mut Batch, index: u32) {
    batch.message(RTM_DELLINK, ACK, &ifinfo(index, 0, 0), |_| ());
}

/// Gives a link a text that is shown with it and means nothing to the kernel.
pub fn set_alias(batch: &mut Batch, name: &str, alias: &str) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).bytes(IFLA_IFALIAS, alias.as_bytes());
    });
}

/// Gives a link a hardware address.
pub fn set_mac(batch: &mut Batch, index: u32, mac: [u8; 6]) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(index, 0, 0), |a| {
        a.bytes(IFLA_ADDRESS, &mac);
    });
}

/// Adds an interface that swallows what is sent by it.
pub fn add_dummy(batch: &mut Batch, name: &str) {
    batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "dummy");
        });
    });
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
    /// The container's hardware address; the kernel makes one up when there is none.
    pub peer_mac: Option<[u8; 6]>,
    /// The container's network namespace.
    pub peer_netns: BorrowedFd<'a>,
    /// The largest packet; 0 for the kernel's choice.
    pub mtu: u32,
    /// What the host's end takes in one piece, as in [`set_segment`]; 0 for the kernel's choice.
    pub segment: u32,
    /// The same of the container's end.
    pub peer_segment: u32,
}

impl VethPair<'_> {
    /// Adds the request that makes the pair: both ends where they belong, the peer with its address.
    ///
    /// One queue, and not one a processor as veth makes by default: each queue is a directory in sysfs to be
    /// made and removed, and a veth's queues do nothing without XDP.
    pub fn add(&self, batch: &mut Batch) {
        const VETH_INFO_PEER: u16 = 1;
        batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), |a| {
            put_mtu(a.text(IFLA_IFNAME, self.name).u32(IFLA_MASTER, self.bridge), self.mtu);
            put_segment(a, self.segment);
            a.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
            a.nest(IFLA_LINKINFO, |a| {
                a.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |a| {
                    a.nest(VETH_INFO_PEER, |a| {
                        a.raw(&ifinfo(0, 0, 0)).text(IFLA_IFNAME, self.peer_name);
                        if let Some(mac) = &self.peer_mac {
                            a.bytes(IFLA_ADDRESS, mac);
                        }
                        put_mtu(a, self.mtu);
                        put_segment(a, self.peer_segment);
                        a.u32(IFLA_NUM_TX_QUEUES, 1).u32(IFLA_NUM_RX_QUEUES, 1);
                        a.u32(IFLA_NET_NS_FD, self.peer_netns.as_raw_fd() as u32);
                    });
                });
            });
        });
    }
}

const IFLA_BRPORT_MODE: u16 = 4;

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

/// Whether a frame may leave through the port that it came in by.
pub fn set_hairpin(batch: &mut Batch, name: &str, on: bool) {
    batch.message(RTM_NEWLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_SLAVE_KIND, "bridge").nest(IFLA_INFO_SLAVE_DATA, |a| {
                a.u8(IFLA_BRPORT_MODE, on.into());
            });
        });
    });
}

/// The smallest packet that IPv6 lets a link have; the kernel knows no IPv6 on others, and refuses to be told of it.
pub const IPV6_MIN_MTU: u32 = 1280;

/// Sets the port's behaviour and brings it up, without IPv6 of its own. `mtu` is the link's largest packet, 0 for the
/// kernel's choice.
pub fn set_port(batch: &mut Batch, name: &str, port: BridgePort, mtu: u32) {
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
        if mtu == 0 || mtu >= IPV6_MIN_MTU {
            without_link_local(a);
        }
    });
}
