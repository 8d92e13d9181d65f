//! Hearing of changes that anybody makes.

use super::{Message, Messages};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A socket that the kernel tells of changes in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Monitor {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// What a wait has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Messages, which have been read.
    Messages,
    /// There was more than the socket could hold: anything may have changed.
    TooMuch,
    /// The other descriptor is readable, or has ended.
    Stop,
}

impl Monitor {
    /// Hears of changes to nftables.
    pub fn of_nftables() -> io::Result<Self> {
        const NFNLGRP_NFTABLES: u32 = 7;
        let kind = Some(netlink::NETFILTER);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, kind)?;
        bind(&fd, &netlink::SocketAddrNetlink::new(0, 1 << (NFNLGRP_NFTABLES - 1)))?;
        Ok(Self { fd, buffer: vec![0; 64 * 1024] })
    }

    /// Waits for changes and reads all that there are, or until there is something to read from `stop`.
    pub fn wait(&mut self, stop: BorrowedFd<'_>, mut read: impl FnMut(&Message<'_>)) -> io::Result<Heard> {
        loop {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                outcome => outcome?,
            };
            if !fds[1].revents().is_empty() {
                return Ok(Heard::Stop);
            }
            if let Some(heard) = self.read_all(&mut read)? {
                return Ok(heard);
            }
        }
    }

    fn read_all(&mut self, read: &mut impl FnMut(&Message<'_>)) -> io::Result<Option<Heard>> {
        let mut heard = None;
        loop {
            match recv(&self.fd, &mut self.buffer[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
                Ok((_, full)) if full > self.buffer.len() => heard = Some(Heard::TooMuch),
                Ok((len, _)) => {
                    Messages::new(&self.buffer[..len]).for_each(|m| read(&m));
                    heard = heard.or(Some(Heard::Messages));
                }
                Err(Errno::NOBUFS) => heard = Some(Heard::TooMuch),
                Err(Errno::AGAIN) => return Ok(heard),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
