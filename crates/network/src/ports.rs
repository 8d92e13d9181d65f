//! Host ports: which are this daemon's, and sockets that keep other programs away from them.

use crate::{Error, PortBinding, PortRequest, Proto, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, bind, getsockname, ipproto, listen, shutdown, socket_with,
};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

/// The ports that containers of this daemon have.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    taken: HashMap<(Proto, u16), Vec<Ipv4Addr>>,
}

/// A reserved port, and the socket that holds it (there is none where the kernel lacks the protocol).
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) binding: PortBinding,
    pub(crate) holder: Option<OwnedFd>,
}

impl Ports {
    /// Finds a host port for `request` of the container at `container_ip` and takes it.
    pub(crate) fn reserve(
        &mut self,
        request: &PortRequest,
        container_ip: Ipv4Addr,
        default_ip: IpAddr,
    ) -> Result<Reserved> {
        let host_ip = match request.host_ip.unwrap_or(default_ip) {
            IpAddr::V4(ip) => ip,
            ip @ IpAddr::V6(_) => return Err(Error::PortOnIpv6(ip)),
        };
        let (port, holder) = match request.host_ports {
            None | Some((0, _)) => self.any(request, host_ip, container_ip)?,
            Some((first, last)) => self.first_of(request, host_ip, container_ip, first, last)?,
        };
        self.taken.entry((request.proto, port)).or_default().push(host_ip);
        let binding = PortBinding {
            container_port: request.container_port,
            proto: request.proto,
            host_ip: host_ip.into(),
            host_port: port,
        };
        Ok(Reserved { binding, holder })
    }

    /// Takes a port that a living container has; whoever lives with it holds the socket.
    pub(crate) fn adopt(&mut self, binding: &PortBinding) -> Result<()> {
        let IpAddr::V4(ip) = binding.host_ip else { return Err(Error::PortOnIpv6(binding.host_ip)) };
        if !self.is_free(binding.proto, ip, binding.host_port) {
            return Err(Error::PortAllocated(SocketAddr::new(binding.host_ip, binding.host_port)));
        }
        self.taken.entry((binding.proto, binding.host_port)).or_default().push(ip);
        Ok(())
    }

    /// Takes a port back.
    pub(crate) fn free(&mut self, binding: &PortBinding) {
        let key = (binding.proto, binding.host_port);
        if let Some(addresses) = self.taken.get_mut(&key) {
            addresses.retain(|a| IpAddr::V4(*a) != binding.host_ip);
            if addresses.is_empty() {
                self.taken.remove(&key);
            }
        }
    }

    fn is_free(&self, proto: Proto, ip: Ipv4Addr, port: u16) -> bool {
        let clashes = |a: &Ipv4Addr| *a == ip || a.is_unspecified() || ip.is_unspecified();
        !self.taken.get(&(proto, port)).is_some_and(|addresses| addresses.iter().any(clashes))
    }

    /// The first port from `first` to `last` that is free here and in the kernel.
    fn first_of(
        &self,
        request: &PortRequest,
        ip: Ipv4Addr,
        container_ip: Ipv4Addr,
        first: u16,
        last: u16,
    ) -> Result<(u16, Option<OwnedFd>)> {
        let mut failure = None;
        for port in first..=last {
            if !self.is_free(request.proto, ip, port) {
                failure.get_or_insert(Error::PortAllocated(SocketAddr::new(ip.into(), port)));
                continue;
            }
            match hold(request.proto, ip, port) {
                Ok(holder) => return Ok((port, holder)),
                Err(e) if e == Errno::ADDRINUSE && first != last => {}
                Err(e) => return Err(bind_error(request, ip, port, container_ip, e)),
            }
        }
        match failure {
            Some(failure) if first == last => Err(failure),
            _ => Err(Error::PortRangeAllocated { ip: ip.into(), first, last }),
        }
    }

    /// A port that the kernel has free.
    fn any(&self, request: &PortRequest, ip: Ipv4Addr, container_ip: Ipv4Addr) -> Result<(u16, Option<OwnedFd>)> {
        /// The kernel knows only ports that are held, so it may pick one whose holder got lost.
        const ATTEMPTS: usize = 32;
        let fail = |e| bind_error(request, ip, 0, container_ip, e);
        for _ in 0..ATTEMPTS {
            let Some(holder) = bound(request.proto, ip, 0).map_err(fail)? else {
                return self.any_unheld(request.proto, ip).map(|port| (port, None));
            };
            let port = local_port(&holder).map_err(fail)?;
            if self.is_free(request.proto, ip, port) {
                return Ok((port, Some(holder)));
            }
        }
        Err(fail(Errno::ADDRINUSE))
    }

    /// A port of the dynamic range (RFC 6335), for a protocol of which the kernel has no sockets.
    fn any_unheld(&self, proto: Proto, ip: Ipv4Addr) -> Result<u16> {
        let (first, last) = (49152, 65535);
        (first..=last).find(|port| self.is_free(proto, ip, *port)).ok_or(Error::PortRangeAllocated {
            ip: ip.into(),
            first,
            last,
        })
    }
}

fn bind_error(request: &PortRequest, ip: Ipv4Addr, port: u16, container_ip: Ipv4Addr, e: Errno) -> Error {
    Error::PortBind {
        host: SocketAddr::new(ip.into(), port),
        container: SocketAddr::new(container_ip.into(), request.container_port),
        proto: request.proto,
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
fn hold(proto: Proto, ip: Ipv4Addr, port: u16) -> Result<Option<OwnedFd>, Errno> {
    match bound(proto, ip, port) {
        Err(Errno::ADDRINUSE) if proto == Proto::Tcp => {}
        other => return other,
    }
    let Some(socket) = socket_of(proto)? else { return Ok(None) };
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(ip, port))?;
    listen(&socket, 0)?;
    shutdown(&socket, Shutdown::Both)?;
    set_socket_reuseaddr(&socket, false)?;
    Ok(Some(socket))
}

/// A socket bound to the port, or with 0 to one that the kernel picks.
fn bound(proto: Proto, ip: Ipv4Addr, port: u16) -> Result<Option<OwnedFd>, Errno> {
    let Some(socket) = socket_of(proto)? else { return Ok(None) };
    if proto == Proto::Udp {
        // Nobody ever reads what gets past the translation: let the kernel keep as little of it as it can.
        set_socket_recv_buffer_size(&socket, 0)?;
    }
    bind(&socket, &SocketAddrV4::new(ip, port))?;
    Ok(Some(socket))
}

/// `None` if the kernel lacks the protocol, as many do for SCTP.
fn socket_of(proto: Proto) -> Result<Option<OwnedFd>, Errno> {
    let (kind, protocol) = match proto {
        Proto::Tcp => (SocketType::STREAM, ipproto::TCP),
        Proto::Udp => (SocketType::DGRAM, ipproto::UDP),
        Proto::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    match socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, Some(protocol)) {
        Ok(socket) => Ok(Some(socket)),
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => Ok(None),
        Err(e) => Err(e),
    }
}

fn local_port(socket: &OwnedFd) -> Result<u16, Errno> {
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    Ok(address.port())
}
