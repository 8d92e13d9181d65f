//! The sockets of a container's name server, and the rules that lead to them.

use crate::{Error, Result};
use gantry_linux::netlink::container::loopback_up;
use gantry_linux::netlink::nft::{ChainType, Data, Element, Family, Hook, Set, Transaction, Type};
use gantry_linux::netlink::{Protocol, Socket, namespace};
use gantry_model::Id;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::thread;

/// Where containers find their name server.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const DOMAIN: u16 = 53;

/// TCP connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// The server's sockets, in the container's namespace.
pub(crate) struct Sockets {
    pub(crate) udp: OwnedFd,
    pub(crate) tcp: OwnedFd,
}

/// Opens the sockets and writes the rules. The rules of an earlier daemon are replaced.
pub(crate) fn open(container: &Id, netns: BorrowedFd<'_>) -> Result<Sockets> {
    namespace::within(netns, || {
        // In a namespace in which nothing was ever up the kernel takes our address for a broadcast one: a socket is bound
        // to it as wanted, and sends its answers from another.
        loopback_up().map_err(Error::Sockets)?;
        let port = preferred_port(container);
        let (udp, udp_port) = socket(SocketType::DGRAM, port).map_err(Error::Sockets)?;
        let (tcp, tcp_port) = socket(SocketType::STREAM, port).map_err(Error::Sockets)?;
        redirect(udp_port, tcp_port).map_err(Error::Redirect)?;
        Ok(Sockets { udp, tcp })
    })
    .map_err(Error::Namespace)?
}

/// A port that is the same for each daemon: clients that go on using one socket (nginx does) have a flow in the kernel's
/// memory that leads to the port it began with, whatever the rules say. Above the range from which the kernel takes ports
/// for connections, so that it is rarely in use.
fn preferred_port(container: &Id) -> u16 {
    const FIRST: u16 = 61_000;
    let [high, low, ..] = *container.as_bytes();
    FIRST + u16::from_be_bytes([high, low]) % (u16::MAX - FIRST)
}

/// A socket on 127.0.0.11 and `port`, or if that is taken, on one of the kernel's choice.
fn socket(kind: SocketType, port: u16) -> io::Result<(OwnedFd, u16)> {
    let fd = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if kind == SocketType::STREAM {
        // Connections of the server before this one are still being forgotten.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    let at = |port| SocketAddrV4::new(ADDRESS, port);
    bind(&fd, &at(port)).or_else(|_| bind(&fd, &at(0)))?;
    if kind == SocketType::STREAM {
        listen(&fd, BACKLOG)?;
    }
    let bound = SocketAddr::try_from(getsockname(&fd)?)?;
    Ok((fd, bound.port()))
}

/// Translates the destination of packets for the domain port. Translating back is connection tracking's business.
fn redirect(udp_port: u16, tcp_port: u16) -> io::Result<()> {
    const TABLE: &str = "gantry-dns";
    const PORTS: &str = "ports";
    const CHAIN: &str = "redirect";
    /// What `nft` calls dstnat.
    const DSTNAT: i32 = -100;
    const UDP: u8 = 17;
    const TCP: u8 = 6;
    let element = |protocol: u8, port: u16| {
        let register = |port: u16| [port.to_be_bytes(), [0; 2]].concat();
        let key = [&ADDRESS.octets()[..], &[protocol, 0, 0, 0], &register(DOMAIN)].concat();
        Element { key, data: Data::Value([&ADDRESS.octets()[..], &register(port)].concat()) }
    };
    let mut change = Transaction::new(TABLE);
    // So that it is there to be deleted.
    change.add_table("");
    change.delete_table();
    change.add_table("the name server of gantry, the container engine");
    change.add_set(Set { name: PORTS, key: &[Type::Ipv4, Type::Proto, Type::Port], data: &[Type::Ipv4, Type::Port] });
    change.add_base_chain(CHAIN, ChainType::Nat, Hook::Output, DSTNAT);
    change.add_rule(CHAIN, |rule| {
        rule.translate_destination(Family::Ipv4, PORTS, true);
    });
    change.add_elements(PORTS, &[element(UDP, udp_port), element(TCP, tcp_port)]);
    let mut socket = Socket::open(Protocol::Netfilter)?;
    change.commit(&mut socket)?;
    // Its close waits until the kernel has let go of the table that was deleted, 9 ms and more: whoever connects a
    // container need not. Without a thread it is closed here.
    let _ = thread::Builder::new().name("dns-close".to_owned()).spawn(move || drop(socket));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::preferred_port;
    use gantry_model::Id;

    #[test]
    fn the_port_is_above_those_of_connections() {
        for first in 0..=u8::MAX {
            assert!(preferred_port(&Id::from_bytes([first; 32])) >= 61_000);
        }
    }
}
