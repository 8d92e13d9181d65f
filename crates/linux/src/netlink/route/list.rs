//! What links, addresses and routes there are.

use super::super::{ACK, Attributes, Attrs, Batch, DUMP, Error, Message, Socket};
use super::{
    AF_INET, AF_INET6, IFA_ADDRESS, IFA_LOCAL, IFADDR, IFINFO, IFLA_ADDRESS, IFLA_GSO_IPV4_MAX_SIZE, IFLA_IFALIAS,
    IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, RTA_DST, RTA_GATEWAY, RTA_OIF,
    RTA_TABLE, RTM_GETADDR, RTM_GETLINK, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, RTMSG, ifinfo,
};
use rustix::io::Errno;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// The link that it lies on, or in a pair its peer.
    pub parent: Option<u32>,
    /// What TCP over IPv4 may hand to it in one piece; `None` from kernels before 6.3.
    pub segment: Option<u32>,
    /// What was written about it.
    pub alias: Option<String>,
}

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The subnet's prefix length.
    pub prefix_len: u8,
}

/// A route to one receiver (not to a group, and not a refusal).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; the unspecified address in a default route.
    pub destination: IpAddr,
    /// The destination's prefix length.
    pub prefix_len: u8,
    /// The routing table.
    pub table: u32,
    /// The link it goes out by, if it is one.
    pub link: Option<u32>,
    /// The next router, if there is one.
    pub gateway: Option<IpAddr>,
}

/// All links.
pub fn links(socket: &mut Socket) -> Result<Vec<Link>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, DUMP, &ifinfo(0, 0, 0), without_statistics);
    socket.dump(&mut batch, read_link)
}

/// Counters are most of what the kernel says about a link.
fn without_statistics(attrs: &mut Attrs<'_>) {
    const IFLA_EXT_MASK: u16 = 29;
    const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
    attrs.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

/// The link of that name, if there is one.
pub fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, ACK, &ifinfo(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
        without_statistics(a);
    });
    match socket.query(&mut batch, read_link) {
        Err(e) if e.errno() == Some(Errno::NODEV) => Ok(None),
        other => other,
    }
}

/// All addresses of both families.
pub fn addresses(socket: &mut Socket) -> Result<Vec<Address>, Error> {
    let mut batch = Batch::new();
    batch.message(RTM_GETADDR, DUMP, &[0; IFADDR], |_| ());
    socket.dump(&mut batch, read_address)
}

/// All routes of both families and all tables.
pub fn routes(socket: &mut Socket) -> Result<Vec<Route>, Error> {
    let mut all = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let mut header = [0; RTMSG];
        header[0] = family;
        let mut batch = Batch::new();
        batch.message(RTM_GETROUTE, DUMP, &header, |_| ());
        match socket.dump(&mut batch, read_route) {
            // A kernel without IPv6.
            Err(e) if family == AF_INET6 && matches!(e.errno(), Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT)) => {}
            found => all.extend(found?),
        }
    }
    Ok(all)
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
        parent: attrs.get(IFLA_LINK).and_then(|a| a.u32()),
        segment: attrs.get(IFLA_GSO_IPV4_MAX_SIZE).and_then(|a| a.u32()),
        alias: text(&attrs, IFLA_IFALIAS),
    })
}

fn read_address(message: &Message<'_>) -> Option<Address> {
    let header = message.payload.first_chunk::<IFADDR>().filter(|_| message.kind == RTM_NEWADDR)?;
    let attrs = message.attributes(IFADDR);
    // On a point-to-point link IFA_ADDRESS is the other end's.
    let address = attrs.get(IFA_LOCAL).or_else(|| attrs.get(IFA_ADDRESS))?.ip()?;
    let index = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    Some(Address { index, address, prefix_len: header[1] })
}

fn read_route(message: &Message<'_>) -> Option<Route> {
    const RTN_UNICAST: u8 = 1;
    const RTN_LOCAL: u8 = 2;
    let header = message.payload.first_chunk::<RTMSG>().filter(|_| message.kind == RTM_NEWROUTE)?;
    let any = match header[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if ![RTN_UNICAST, RTN_LOCAL].contains(&header[7]) {
        return None;
    }
    let attrs = message.attributes(RTMSG);
    Some(Route {
        destination: attrs.get(RTA_DST).and_then(|a| a.ip()).unwrap_or(any),
        prefix_len: header[1],
        table: attrs.get(RTA_TABLE).and_then(|a| a.u32()).unwrap_or_else(|| header[4].into()),
        link: attrs.get(RTA_OIF).and_then(|a| a.u32()),
        gateway: attrs.get(RTA_GATEWAY).and_then(|a| a.ip()),
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
        // Routes of a known family and type are too rare in noise to be counted on.
        assert!(read[..2].iter().all(|n| *n > 0), "some of the noise makes objects: {read:?}");
    }
}
