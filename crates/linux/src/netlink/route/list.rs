//! What links, addresses and routes there are.

use super::super::{ACK, Attributes, Batch, DUMP, Error, Message, Socket};
use super::{
    AF_INET, IFA_ADDRESS, IFA_LOCAL, IFADDR, IFINFO, IFLA_ADDRESS, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, RTA_DST, RTA_OIF, RTA_TABLE, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR,
    RTM_NEWLINK, RTM_NEWROUTE, RTMSG, ifinfo,
};
use rustix::io::Errno;
use std::net::Ipv4Addr;

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number in this network namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is (`bridge`, `veth`); hardware has no kind.
    pub kind: Option<String>,
    /// The bridge or bond whose port it is.
    pub master: Option<u32>,
    /// Whether it is administratively up.
    pub up: bool,
    /// Its largest packet.
    pub mtu: u32,
    /// Its Ethernet address.
    pub mac: Option<[u8; 6]>,
}

/// An IPv4 address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub index: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet's prefix length.
    pub prefix_len: u8,
}

/// An IPv4 route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; the unspecified address in a default route.
    pub destination: Ipv4Addr,
    /// The destination's prefix length.
    pub prefix_len: u8,
    /// The routing table.
    pub table: u32,
    /// The link it goes out by, if it is one.
    pub link: Option<u32>,
}

/// All links.
pub fn links(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, DUMP, &ifinfo(0, 0, 0), |_| ());
    socket.dump(&mut batch, read_link)
}

/// The link of that name, if there is one.
pub fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
    });
    match socket.query(&mut batch, read_link) {
        Err(e) if e.errno() == Some(Errno::NODEV) => Ok(None),
        other => other,
    }
}

/// All IPv4 addresses.
pub fn addresses(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETADDR, DUMP, &[AF_INET, 0, 0, 0, 0, 0, 0, 0], |_| ());
    socket.dump(&mut batch, read_address)
}

/// All IPv4 routes of all tables.
pub fn routes(socket: &mut Socket) -> Result<Vec<Route>, Error> {
    let mut header = [0; RTMSG];
    header[0] = AF_INET;
    let mut batch = Batch::new();
    batch.message(RTM_GETROUTE, DUMP, &header, |_| ());
    socket.dump(&mut batch, read_route)
}

fn read_link(message: &Message<'_>) -> Option<Link> {
    let header = message.payload.first_chunk::<IFINFO>().filter(|_| message.kind == RTM_NEWLINK)?;
    let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let attrs = message.attributes(IFINFO);
    let kind = attrs.get(IFLA_LINKINFO).map(|a| a.nested()).and_then(|a| text(&a, IFLA_INFO_KIND));
    Some(Link {
        index: word(4),
        name: text(&attrs, IFLA_IFNAME)?,
        kind,
        master: attrs.get(IFLA_MASTER).and_then(|a| a.u32()),
        up: word(8) & super::IFF_UP != 0,
        mtu: attrs.get(IFLA_MTU).and_then(|a| a.u32()).unwrap_or(0),
        mac: attrs.get(IFLA_ADDRESS).and_then(|a| a.value.try_into().ok()),
    })
}

fn read_address(message: &Message<'_>) -> Option<Address> {
    let header = message.payload.first_chunk::<IFADDR>().filter(|_| message.kind == RTM_NEWADDR)?;
    let attrs = message.attributes(IFADDR);
    // On a point-to-point link IFA_ADDRESS is the other end's.
    let address = attrs.get(IFA_LOCAL).or_else(|| attrs.get(IFA_ADDRESS))?.ipv4()?;
    let index = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    Some(Address { index, address, prefix_len: header[1] })
}

fn read_route(message: &Message<'_>) -> Option<Route> {
    let header = message.payload.first_chunk::<RTMSG>().filter(|_| message.kind == RTM_NEWROUTE)?;
    let attrs = message.attributes(RTMSG);
    Some(Route {
        destination: attrs.get(RTA_DST).and_then(|a| a.ipv4()).unwrap_or(Ipv4Addr::UNSPECIFIED),
        prefix_len: header[1],
        table: attrs.get(RTA_TABLE).and_then(|a| a.u32()).unwrap_or_else(|| header[4].into()),
        link: attrs.get(RTA_OIF).and_then(|a| a.u32()),
    })
}

fn text(attrs: &Attributes<'_>, kind: u16) -> Option<String> {
    attrs.get(kind).and_then(|a| a.text()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::super::noise;
    use super::{IFADDR, IFINFO, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTMSG, read_address, read_link, read_route};

    #[test]
    fn hostile_objects() {
        let mut read = [0; 3];
        noise::messages(RTM_NEWLINK, IFINFO, |m| read[0] += usize::from(read_link(m).is_some()));
        noise::messages(RTM_NEWADDR, IFADDR, |m| read[1] += usize::from(read_address(m).is_some()));
        noise::messages(RTM_NEWROUTE, RTMSG, |m| read[2] += usize::from(read_route(m).is_some()));
        assert!(read.iter().all(|n| *n > 0), "some of the noise makes objects: {read:?}");
    }
}
