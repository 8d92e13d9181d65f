//! Host ports: which are this daemon's, and sockets that keep other programs away from them.

use crate::{Error, PortBinding, PortRequest, Proto, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown, socket_with,
};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

/// The ports that containers of this daemon have.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: HashMap<(Proto, u16), Vec<IpAddr>>,
}

/// A port to be found: the same one on all of the addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) request: &'a PortRequest,
    /// The host's addresses, at most one of each family.
    pub(crate) host: &'a [IpAddr],
    /// The container's address, for messages.
    pub(crate) container: IpAddr,
    /// By family, whether the sockets are to be served.
    pub(crate) forwarded: [bool; 2],
}

impl Wanted<'_> {
    /// Whether an address' socket is to be served.
    fn is_served(&self, ip: IpAddr) -> bool {
        self.forwarded[usize::from(ip.is_ipv6())]
    }
}

/// A reserved port, and the sockets that hold it (there are none where the kernel lacks the protocol).
type Found = (u16, Vec<OwnedFd>);

impl Ports {
    /// Finds a host port and takes it.
    pub(crate) fn reserve(&mut self, wanted: Wanted<'_>) -> Result<(Vec<PortBinding>, Vec<OwnedFd>)> {
        let (port, holders) = match wanted.request.host_ports {
            None | Some((0, _)) => self.any(wanted)?,
            Some((first, last)) => self.first_of(wanted, first, last)?,
        };
        let PortRequest { container_port, proto, .. } = *wanted.request;
        self.taken.entry((proto, port)).or_default().extend(wanted.host);
        let binding = |ip: &IpAddr| PortBinding { container_port, proto, host_ip: *ip, host_port: port };
        Ok((wanted.host.iter().map(binding).collect(), holders))
    }

    /// Takes a port that a living container has; whoever lives with it holds the socket.
    pub(crate) fn adopt(&mut self, binding: &PortBinding) -> Result<()> {
        if binding.host_port == 0 {
            return Ok(());
        }
        if !self.is_free(binding.proto, binding.host_ip, binding.host_port) {
            return Err(Error::PortAllocated(SocketAddr::new(binding.host_ip, binding.host_port)));
        }
        self.taken.entry((binding.proto, binding.host_port)).or_default().push(binding.host_ip);
        Ok(())
    }

    /// Takes a port back.
    pub(crate) fn free(&mut self, binding: &PortBinding) {
        let key = (binding.proto, binding.host_port);
        if let Some(addresses) = self.taken.get_mut(&key) {
            addresses.retain(|a| *a != binding.host_ip);
            if addresses.is_empty() {
                self.taken.remove(&key);
            }
        }
    }

    fn is_free(&self, proto: Proto, ip: IpAddr, port: u16) -> bool {
        let clashes =
            |a: &IpAddr| a.is_ipv4() == ip.is_ipv4() && (*a == ip || a.is_unspecified() || ip.is_unspecified());
        !self.taken.get(&(proto, port)).is_some_and(|addresses| addresses.iter().any(clashes))
    }

    /// The first port from `first` to `last` that is free here and in the kernel.
    fn first_of(&self, wanted: Wanted<'_>, first: u16, last: u16) -> Result<Found> {
        let mut failure = None;
        'ports: for port in first..=last {
            let proto = wanted.request.proto;
            if let Some(ip) = wanted.host.iter().find(|ip| !self.is_free(proto, **ip, port)) {
                failure.get_or_insert(Error::PortAllocated(SocketAddr::new(*ip, port)));
                continue;
            }
            let mut holders = Vec::new();
            for ip in wanted.host {
                match hold(proto, *ip, port, wanted.is_served(*ip)) {
                    Ok(holder) => holders.extend(holder),
                    Err(e) if e == Errno::ADDRINUSE && first != last => continue 'ports,
                    Err(e) => return Err(bind_error(wanted, *ip, port, e)),
                }
            }
            return Ok((port, holders));
        }
        match failure {
            Some(failure) if first == last => Err(failure),
            _ => Err(Error::PortRangeAllocated { ip: first_address(wanted), first, last }),
        }
    }

    /// A port that the kernel has free on the first address, if it has it free on the other as well.
    fn any(&self, wanted: Wanted<'_>) -> Result<Found> {
        /// The kernel knows only ports that are held, so it may pick one whose holder got lost, or one that is free
        /// in one family alone.
        const ATTEMPTS: usize = 32;
        let proto = wanted.request.proto;
        let Some((ip, others)) = wanted.host.split_first() else { return Ok((0, Vec::new())) };
        let fail = |e| bind_error(wanted, *ip, 0, e);
        'attempts: for _ in 0..ATTEMPTS {
            let Some(holder) = bound(proto, *ip, 0, false).map_err(fail)? else {
                return self.any_unheld(wanted).map(|port| (port, Vec::new()));
            };
            let port = local_port(&holder).map_err(fail)?;
            let mut holders = if wanted.is_served(*ip) {
                // The kernel takes a port that it has chosen back from a socket that ends listening.
                drop(holder);
                match hold(proto, *ip, port, true) {
                    Ok(holder) => Vec::from_iter(holder),
                    Err(Errno::ADDRINUSE) => continue,
                    Err(e) => return Err(fail(e)),
                }
            } else {
                vec![holder]
            };
            if wanted.host.iter().any(|ip| !self.is_free(proto, *ip, port)) {
                continue;
            }
            for ip in others {
                match hold(proto, *ip, port, wanted.is_served(*ip)) {
                    Ok(holder) => holders.extend(holder),
                    Err(Errno::ADDRINUSE) => continue 'attempts,
                    Err(e) => return Err(bind_error(wanted, *ip, port, e)),
                }
            }
            return Ok((port, holders));
        }
        Err(fail(Errno::ADDRINUSE))
    }

    /// A port of the dynamic range (RFC 6335), for a protocol of which the kernel has no sockets.
    fn any_unheld(&self, wanted: Wanted<'_>) -> Result<u16> {
        let (first, last) = (49152, 65535);
        let free = |port: &u16| wanted.host.iter().all(|ip| self.is_free(wanted.request.proto, *ip, *port));
        (first..=last).find(free).ok_or(Error::PortRangeAllocated { ip: first_address(wanted), first, last })
    }
}

fn first_address(wanted: Wanted<'_>) -> IpAddr {
    wanted.host.first().copied().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn bind_error(wanted: Wanted<'_>, ip: IpAddr, port: u16, e: Errno) -> Error {
    Error::PortBind {
        host: SocketAddr::new(ip, port),
        container: SocketAddr::new(wanted.container, wanted.request.container_port),
        proto: wanted.request.proto,
        source: io::Error::from(e),
    }
}

/// A socket that holds a certain port.
///
/// A TCP server that has just ended leaves connections in TIME_WAIT, which make a plain bind fail; with
/// SO_REUSEADDR the bind succeeds, but then also beside another program's bound socket that does not listen (such
/// as another daemon's holder), and it would let others in beside itself. Listening is what makes the kernel
/// check in earnest. So: bind with SO_REUSEADDR, listen for an instant, stop listening (an explicitly bound port
/// stays bound) and take SO_REUSEADDR back, so that whoever comes later meets an ordinary conflict.
fn hold(proto: Proto, ip: IpAddr, port: u16, served: bool) -> Result<Option<OwnedFd>, Errno> {
    match bound(proto, ip, port, served) {
        Err(Errno::ADDRINUSE) if proto == Proto::Tcp => {}
        other => return other,
    }
    let Some(socket) = socket_of(proto, ip)? else { return Ok(None) };
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::new(ip, port))?;
    listen(&socket, 0)?;
    shutdown(&socket, Shutdown::Both)?;
    set_socket_reuseaddr(&socket, false)?;
    Ok(Some(socket))
}

/// A socket bound to the port, or with 0 to one that the kernel picks.
fn bound(proto: Proto, ip: IpAddr, port: u16, served: bool) -> Result<Option<OwnedFd>, Errno> {
    let ip = match ip {
        // Who serves datagrams speaks IPv6 alone; the kernel takes the port in IPv4 alone for such an address.
        IpAddr::V4(ip) if proto == Proto::Udp && served => ip.to_ipv6_mapped().into(),
        ip => ip,
    };
    let Some(socket) = socket_of(proto, ip)? else { return Ok(None) };
    if proto == Proto::Udp && !served {
        // Nobody ever reads what gets past the translation: let the kernel keep as little of it as it can.
        set_socket_recv_buffer_size(&socket, 0)?;
    }
    bind(&socket, &SocketAddr::new(ip, port))?;
    Ok(Some(socket))
}

/// Whether this host has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    bound(Proto::Udp, Ipv6Addr::LOCALHOST.into(), 0, false).is_ok_and(|socket| socket.is_some())
}

/// `None` if the kernel lacks the protocol, as many do for SCTP.
fn socket_of(proto: Proto, ip: IpAddr) -> Result<Option<OwnedFd>, Errno> {
    let (kind, protocol) = match proto {
        Proto::Tcp => (SocketType::STREAM, ipproto::TCP),
        Proto::Udp => (SocketType::DGRAM, ipproto::UDP),
        Proto::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let family = if ip.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = match socket_with(family, kind, SocketFlags::CLOEXEC, Some(protocol)) {
        Ok(socket) => socket,
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => return Ok(None),
        Err(e) => return Err(e),
    };
    if let IpAddr::V6(ip) = ip {
        // The same port of IPv4 has a socket of its own.
        set_ipv6_v6only(&socket, ip.to_ipv4_mapped().is_none())?;
    }
    Ok(Some(socket))
}

fn local_port(socket: &OwnedFd) -> Result<u16, Errno> {
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    Ok(address.port())
}
