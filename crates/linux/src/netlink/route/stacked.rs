//! Links on top of another link: VLANs, macvlan, ipvlan.

use super::super::{ACK, Attrs, Batch, CREATE, EXCL};
use super::{
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD,
    RTM_NEWLINK, ifinfo,
};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Adds an 802.1q sub-interface of `parent`.
pub fn add_vlan(batch: &mut Batch, name: &str, parent: u32, id: u16) {
    const IFLA_VLAN_ID: u16 = 1;
    add(batch, |a| {
        a.text(IFLA_IFNAME, name).u32(IFLA_LINK, parent);
        info(a, "vlan", |a| {
            a.u16(IFLA_VLAN_ID, id);
        });
    });
}

/// How macvlan interfaces of one parent see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Not at all.
    Private,
    /// By the switch that the parent is plugged in to.
    Vepa,
    /// Directly.
    Bridge,
    /// There is but one, which takes the parent over.
    Passthru,
}

/// An interface of its own hardware address on a parent, in another network namespace.
#[derive(Debug, Clone, Copy)]
pub struct Macvlan<'a> {
    /// Its name there.
    pub name: &'a str,
    /// The index of its parent here.
    pub parent: u32,
    /// How it sees its siblings.
    pub mode: MacvlanMode,
    /// Its hardware address; the kernel makes one up when there is none.
    pub mac: Option<[u8; 6]>,
    /// The largest packet; 0 for the parent's.
    pub mtu: u32,
    /// Where it goes.
    pub netns: BorrowedFd<'a>,
}

impl Macvlan<'_> {
    /// Adds the request that makes it.
    pub fn add(&self, batch: &mut Batch) {
        const IFLA_MACVLAN_MODE: u16 = 1;
        let mode: u32 = match self.mode {
            MacvlanMode::Private => 1,
            MacvlanMode::Vepa => 2,
            MacvlanMode::Bridge => 4,
            MacvlanMode::Passthru => 8,
        };
        add(batch, |a| {
            a.text(IFLA_IFNAME, self.name).u32(IFLA_LINK, self.parent);
            a.u32(IFLA_NET_NS_FD, self.netns.as_raw_fd() as u32);
            if let Some(mac) = &self.mac {
                a.bytes(IFLA_ADDRESS, mac);
            }
            if self.mtu != 0 {
                a.u32(IFLA_MTU, self.mtu);
            }
            info(a, "macvlan", |a| {
                a.u32(IFLA_MACVLAN_MODE, mode);
            });
        });
    }
}

/// On which layer an ipvlan interface switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanMode {
    /// As a switch.
    L2,
    /// As a router without the host's firewall.
    L3,
    /// As a router.
    L3s,
}

/// How ipvlan interfaces of one parent see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Directly.
    Bridge,
    /// Not at all.
    Private,
    /// By the switch that the parent is plugged in to.
    Vepa,
}

/// An interface with its parent's hardware address, in another network namespace.
#[derive(Debug, Clone, Copy)]
pub struct Ipvlan<'a> {
    /// Its name there.
    pub name: &'a str,
    /// The index of its parent here.
    pub parent: u32,
    /// Where it switches.
    pub mode: IpvlanMode,
    /// How it sees its siblings.
    pub flag: IpvlanFlag,
    /// The largest packet; 0 for the parent's.
    pub mtu: u32,
    /// Where it goes.
    pub netns: BorrowedFd<'a>,
}

impl Ipvlan<'_> {
    /// Adds the request that makes it.
    pub fn add(&self, batch: &mut Batch) {
        const IFLA_IPVLAN_MODE: u16 = 1;
        const IFLA_IPVLAN_FLAGS: u16 = 2;
        let mode: u16 = match self.mode {
            IpvlanMode::L2 => 0,
            IpvlanMode::L3 => 1,
            IpvlanMode::L3s => 2,
        };
        let flags: u16 = match self.flag {
            IpvlanFlag::Bridge => 0,
            IpvlanFlag::Private => 1,
            IpvlanFlag::Vepa => 2,
        };
        add(batch, |a| {
            a.text(IFLA_IFNAME, self.name).u32(IFLA_LINK, self.parent);
            a.u32(IFLA_NET_NS_FD, self.netns.as_raw_fd() as u32);
            if self.mtu != 0 {
                a.u32(IFLA_MTU, self.mtu);
            }
            info(a, "ipvlan", |a| {
                a.u16(IFLA_IPVLAN_MODE, mode).u16(IFLA_IPVLAN_FLAGS, flags);
            });
        });
    }
}

fn add(batch: &mut Batch, fill: impl FnOnce(&mut Attrs<'_>)) {
    batch.message(RTM_NEWLINK, CREATE | EXCL | ACK, &ifinfo(0, 0, 0), fill);
}

fn info(attrs: &mut Attrs<'_>, kind: &str, data: impl FnOnce(&mut Attrs<'_>)) {
    attrs.nest(IFLA_LINKINFO, |a| {
        a.text(IFLA_INFO_KIND, kind).nest(IFLA_INFO_DATA, data);
    });
}
