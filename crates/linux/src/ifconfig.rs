//! Configuring an interface of the calling process' network namespace by ioctl: a handful of calls
//! for the container's side, where a netlink library would be most of the shim's code.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

/// A socket to configure through.
#[derive(Debug)]
pub struct Configurator(OwnedFd);

fn address(addr: Ipv4Addr) -> libc::sockaddr {
    let inet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(addr.octets()) },
        sin_zero: [0; 8],
    };
    // SAFETY: both are plain 16-byte structs; `sockaddr` is the kernel's generic view of `sockaddr_in`.
    unsafe { std::mem::transmute(inet) }
}

fn named(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.is_empty() || interface.len() >= request.ifr_name.len() || interface.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

impl Configurator {
    /// For the network namespace that the process is in now.
    pub fn new() -> io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        Ok(Self(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?))
    }

    fn request<T>(&self, code: u32, argument: &mut T) -> io::Result<()> {
        // SAFETY: every caller passes the struct that its request code is defined with.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), code as _, std::ptr::from_mut(argument)) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Brings an interface up.
    pub fn up(&self, interface: &str) -> io::Result<()> {
        let mut request = named(interface)?;
        self.request(libc::SIOCGIFFLAGS as u32, &mut request)?;
        // SAFETY: SIOCGIFFLAGS has filled in the flags member.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
        self.request(libc::SIOCSIFFLAGS as u32, &mut request)
    }

    /// Gives an interface its address.
    pub fn set_address(&self, interface: &str, addr: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
        let mut request = named(interface)?;
        request.ifr_ifru.ifru_addr = address(addr);
        self.request(libc::SIOCSIFADDR as u32, &mut request)?;
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0);
        request.ifr_ifru.ifru_netmask = address(Ipv4Addr::from(mask));
        self.request(libc::SIOCSIFNETMASK as u32, &mut request)
    }

    /// Routes everything by `gateway`.
    pub fn set_default_route(&self, gateway: Ipv4Addr) -> io::Result<()> {
        // SAFETY: `rtentry` is plain data for which zero is valid.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = address(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = address(gateway);
        route.rt_flags = (libc::RTF_UP | libc::RTF_GATEWAY) as libc::c_ushort;
        self.request(libc::SIOCADDRT as u32, &mut route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_namespace_gets_its_loopback() {
        let status = crate::process::clone_child(libc::CLONE_NEWNET, None, || {
            let configurator = Configurator::new().unwrap();
            configurator.up("lo").unwrap();
            configurator.set_address("lo", Ipv4Addr::new(10, 1, 2, 3), 24).unwrap();
            i32::from(configurator.up("no-such").is_ok())
        });
        let child = status.unwrap();
        let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&child.pidfd));
        let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }
}
