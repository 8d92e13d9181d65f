//! Datagrams of IPv6, with the address of this host that they came to and that the answer is to come from.
//!
//! A socket that is bound to all addresses would answer from whichever the kernel prefers for the way back, and a client
//! that had asked another one would not know the answer for its own.

use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

/// An address of this host, and where that alone does not say which (link-local ones) the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// The address.
    pub address: Ipv6Addr,
    /// The interface's number, or 0.
    pub interface: u32,
}

/// A datagram that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Bytes at the start of the buffer.
    pub len: usize,
    /// Who sent it.
    pub from: SocketAddrV6,
    /// To whom.
    pub to: Local,
}

/// Control data of one `in6_pktinfo`, as aligned as `cmsghdr` wants it.
type Control = [u64; 6];

/// Has the kernel say of each datagram to which address it came.
pub fn tell_destinations(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            ptr::from_ref(&on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has a socket hear what comes to it, or nothing: its port stays its own, and who sends to it is told by the kernel that
/// nobody is there. Without the capability that it takes to hear again nothing is changed.
pub fn hear(socket: impl AsFd, whether: bool) -> io::Result<()> {
    const SO_BINDTOIFINDEX: libc::c_int = 62;
    // The kernel does not ask whether there is such an interface, and numbers them from 1.
    let interface: libc::c_int = if whether { 0 } else { libc::c_int::MAX };
    if !rustix::thread::capabilities(None)?.effective.contains(CapabilitySet::NET_RAW) {
        return Ok(());
    }
    // SAFETY: the option is an int, which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_BINDTOIFINDEX,
            ptr::from_ref(&interface).cast(),
            size_of_val(&interface) as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The next datagram, without waiting.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Arrival> {
    let mut name = MaybeUninit::<libc::sockaddr_in6>::zeroed();
    let mut control: Control = [0; 6];
    let mut part = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut message = header(name.as_mut_ptr(), &mut part, &mut control, size_of::<Control>());
    // SAFETY: the header points to a name, a buffer and control data of the lengths it tells, all of which outlive the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before, and plain data whatever the kernel wrote.
    let name = unsafe { name.assume_init() };
    if message.msg_namelen < size_of::<libc::sockaddr_in6>() as libc::socklen_t
        || i32::from(name.sin6_family) != libc::AF_INET6
    {
        return Err(Errno::AFNOSUPPORT.into());
    }
    let from = SocketAddrV6::new(
        Ipv6Addr::from(name.sin6_addr.s6_addr),
        u16::from_be(name.sin6_port),
        name.sin6_flowinfo,
        name.sin6_scope_id,
    );
    let to = destination(&message).ok_or(Errno::NODATA)?;
    Ok(Arrival { len: len as usize, from, to })
}

fn destination(message: &libc::msghdr) -> Option<Local> {
    // SAFETY: `message` was filled in by the kernel and its control data is still there, so that the headers lie within
    // it; what is read of a header's data is as long as its kind says, and need not be aligned.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(message);
        while !at.is_null() {
            if (*at).cmsg_level == libc::IPPROTO_IPV6 && (*at).cmsg_type == libc::IPV6_PKTINFO {
                let info: libc::in6_pktinfo = ptr::read_unaligned(libc::CMSG_DATA(at).cast());
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex as u32 } else { 0 };
                return Some(Local { address, interface });
            }
            at = libc::CMSG_NXTHDR(message, at);
        }
    }
    None
}

/// Sends a datagram from an address of this host, without waiting.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], from: Local, to: SocketAddrV6) -> io::Result<()> {
    // SAFETY: plain data, for which zero is valid.
    let mut name: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_port = to.port().to_be();
    name.sin6_addr.s6_addr = to.ip().octets();
    name.sin6_scope_id = to.scope_id();
    let mut control: Control = [0; 6];
    // SAFETY: computes a length.
    let space = unsafe { libc::CMSG_SPACE(size_of::<libc::in6_pktinfo>() as u32) } as usize;
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let message = header(ptr::from_mut(&mut name), &mut part, &mut control, space);
    // SAFETY: the control data has room for one header and its data, which is as long as the header tells; `sendmsg` only
    // reads, from what outlives the call.
    let sent = unsafe {
        let at = libc::CMSG_FIRSTHDR(&raw const message);
        (*at).cmsg_level = libc::IPPROTO_IPV6;
        (*at).cmsg_type = libc::IPV6_PKTINFO;
        (*at).cmsg_len = libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) as _;
        let mut info: libc::in6_pktinfo = mem::zeroed();
        info.ipi6_addr.s6_addr = from.address.octets();
        info.ipi6_ifindex = from.interface as _;
        ptr::write_unaligned(libc::CMSG_DATA(at).cast(), info);
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn header(
    name: *mut libc::sockaddr_in6,
    part: &mut libc::iovec,
    control: &mut Control,
    control_len: usize,
) -> libc::msghdr {
    // SAFETY: plain data, for which zero means "none"; some libraries pad it with private fields.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = name.cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = ptr::from_mut(part);
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control_len as _;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    #[test]
    fn who_hears_nothing_keeps_the_port_and_refuses() {
        // Making a socket hear again takes a capability.
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let server = UdpSocket::bind("0.0.0.0:0").unwrap();
        let at = SocketAddr::from(([127, 0, 0, 1], server.local_addr().unwrap().port()));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(at).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        hear(&server, false).unwrap();
        client.send(b"one").unwrap();
        assert_eq!(client.recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(UdpSocket::bind(at).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        hear(&server, true).unwrap();
        client.send(b"three").unwrap();
        assert_eq!(server.recv(&mut [0; 8]).unwrap(), 5);
    }

    #[test]
    fn an_answer_comes_from_the_address_that_was_asked() {
        let server = UdpSocket::bind("[::]:0").unwrap();
        tell_destinations(&server).unwrap();
        let at = SocketAddr::from((Ipv6Addr::LOCALHOST, server.local_addr().unwrap().port()));
        let client = UdpSocket::bind("[::1]:0").unwrap();
        // It takes nothing from elsewhere.
        client.connect(at).unwrap();
        for text in [&b"question"[..], b""] {
            client.send(text).unwrap();
            let mut buf = [0; 64];
            let arrival = receive(server.as_fd(), &mut buf).unwrap();
            assert_eq!(arrival.len, text.len());
            assert_eq!(SocketAddr::from(arrival.from), client.local_addr().unwrap());
            assert_eq!(arrival.to, Local { address: Ipv6Addr::LOCALHOST, interface: 0 });
            send(server.as_fd(), b"answer", arrival.to, arrival.from).unwrap();
            assert_eq!(client.recv(&mut buf).unwrap(), 6);
        }
        assert_eq!(receive(server.as_fd(), &mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
