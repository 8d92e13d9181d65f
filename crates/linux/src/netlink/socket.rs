//! The socket, and the matching of answers to requests.

use super::message::Verdict;
use super::{Batch, Message, Messages};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size_force, socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, getsockname, netlink, recv, send,
    socket_with,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The subsystems of the kernel that are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// A socket to the kernel. It belongs to the network namespace in which its thread was when it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// The last sequence number used. Answers to earlier numbers are leftovers of a failed exchange.
    seq: u32,
    buffer: Vec<u8>,
}

/// One request of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which message of the batch.
    pub index: usize,
    /// The kernel's reason.
    pub errno: Errno,
    /// The kernel's words, if it had any.
    pub reason: Option<String>,
}

/// An exchange with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a request.
    #[error("{}{}", io::Error::from(.0.errno), reason(.0))]
    Refused(Refusal),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// The errno behind the failure.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            Self::Io(e) => Errno::from_io_error(e),
        }
    }
}

impl From<Errno> for Error {
    fn from(e: Errno) -> Self {
        Self::Io(e.into())
    }
}

impl From<Error> for io::Error {
    fn from(e: Error) -> Self {
        match e {
            Error::Refused(Refusal { errno, reason: None, .. }) => errno.into(),
            Error::Refused(ref refusal) => Self::new(Self::from(refusal.errno).kind(), e),
            Error::Io(e) => e,
        }
    }
}

fn reason(refusal: &Refusal) -> String {
    refusal.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default()
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let protocol = match protocol {
            Protocol::Route => None,
            Protocol::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // Connected to the kernel's port, so that no other process can slip in an answer.
        connect(&fd, &netlink::SocketAddrNetlink::new(0, 0))?;
        // Refusals with words in them, and without a copy of the request. Best effort: only the words depend on it.
        let _ = enable(&fd, libc::NETLINK_EXT_ACK);
        let _ = enable(&fd, libc::NETLINK_CAP_ACK);
        // The kernel fills at most 32 KiB per datagram of a dump.
        Ok(Self { fd, seq: 0, buffer: vec![0; 32 * 1024] })
    }

    /// The number by which the kernel tells others who has changed something.
    pub fn port(&self) -> io::Result<u32> {
        let address = netlink::SocketAddrNetlink::try_from(getsockname(&self.fd)?)?;
        Ok(address.pid())
    }

    /// Sends the batch and gives what was refused, in the order of the batch. What an empty list means for
    /// messages without [`ACK`](super::ACK) depends on the protocol: nftables commits all or nothing.
    pub fn exchange(&mut self, batch: &mut Batch) -> Result<Vec<Refusal>, Error> {
        self.exchange_with(batch, |_| ())
    }

    /// The same, and `data` sees every message that is not a verdict.
    fn exchange_with(&mut self, batch: &mut Batch, mut data: impl FnMut(&Message<'_>)) -> Result<Vec<Refusal>, Error> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut missing = batch.answers();
        let first = self.transmit(batch)?;
        let mut refusals = Vec::new();
        while missing > 0 {
            let Some(datagram) = receive(&self.fd, &mut self.buffer)? else { break };
            for message in Messages::new(datagram) {
                let index = message.seq.wrapping_sub(first) as usize;
                if index >= batch.len() {
                    continue;
                }
                match message.verdict() {
                    Verdict::Success => missing = missing.saturating_sub(1),
                    Verdict::Failure(errno, reason) => {
                        refusals.push(refusal(index, errno, reason));
                        missing = missing.saturating_sub(1);
                    }
                    Verdict::Data => data(&message),
                }
            }
        }
        if missing > 0 && refusals.is_empty() {
            return Err(io::Error::other("the kernel's answer got lost").into());
        }
        refusals.sort_by_key(|r| r.index);
        Ok(refusals)
    }

    /// Sends the batch; the first refusal is the error.
    pub fn transact(&mut self, batch: &mut Batch) -> Result<(), Error> {
        match self.exchange(batch)?.into_iter().next() {
            Some(refusal) => Err(Error::Refused(refusal)),
            None => Ok(()),
        }
    }

    /// Sends one request with [`ACK`](super::ACK) and gives what `read` makes of the first answer with data.
    pub fn query<T>(
        &mut self,
        batch: &mut Batch,
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let mut found = None;
        let refusals = self.exchange_with(batch, |message| {
            if found.is_none() {
                found = read(message);
            }
        })?;
        match refusals.into_iter().next() {
            Some(refusal) => Err(Error::Refused(refusal)),
            None => Ok(found),
        }
    }

    /// Sends one request with [`DUMP`](super::DUMP) and collects what `read` makes of each object.
    pub fn dump<T>(
        &mut self,
        batch: &mut Batch,
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        /// A dump during which objects come and go has to be repeated; a busy host does not stop being busy.
        const ATTEMPTS: usize = 8;
        for _ in 0..ATTEMPTS {
            if let Some(objects) = self.dump_once(batch, &mut read)? {
                return Ok(objects);
            }
        }
        Err(io::Error::from(io::ErrorKind::Interrupted).into())
    }

    /// `None` if the objects changed meanwhile.
    fn dump_once<T>(
        &mut self,
        batch: &mut Batch,
        read: &mut impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let first = self.transmit(batch)?;
        let mut objects = Vec::new();
        let mut interrupted = false;
        while let Some(datagram) = receive(&self.fd, &mut self.buffer)? {
            for message in Messages::new(datagram).filter(|m| m.seq == first) {
                interrupted |= message.interrupted();
                match message.verdict() {
                    Verdict::Success => return Ok((!interrupted).then_some(objects)),
                    Verdict::Failure(errno, reason) => {
                        return Err(Error::Refused(refusal(0, errno, reason)));
                    }
                    Verdict::Data => objects.extend(read(&message)),
                }
            }
        }
        Err(io::Error::other("the kernel's list has no end").into())
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Numbers the messages and sends them; gives the first number.
    pub(super) fn transmit(&mut self, batch: &mut Batch) -> Result<u32, Error> {
        let first = self.seq.wrapping_add(1);
        let count = batch.len() as u32;
        let bytes = batch.finish(first).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.seq = self.seq.wrapping_add(count);
        loop {
            match send(&self.fd, bytes, SendFlags::empty()) {
                Ok(_) => return Ok(first),
                Err(Errno::INTR) => {}
                // A batch must fit into the send buffer as a whole, whose size the host's limit does not bind root in.
                Err(Errno::MSGSIZE) if socket_send_buffer_size(&self.fd)? < 2 * bytes.len() => {
                    set_socket_send_buffer_size_force(&self.fd, 2 * bytes.len())?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// The next datagram; `None` if there is none, which after a request means that none will come: the kernel
/// answers before `sendmsg` returns, and makes the rest of a dump when some of it is read.
pub(super) fn receive<'a>(fd: &OwnedFd, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, Error> {
    loop {
        match recv(fd, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            Ok((_, full)) if full > buffer.len() => return Err(Errno::MSGSIZE.into()),
            Ok((len, _)) => return Ok(Some(&buffer[..len])),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

pub(super) fn refusal(index: usize, errno: i32, reason: Option<&str>) -> Refusal {
    // Errno numbers end at 4095; anything else is no answer of a kernel.
    let errno = if (1..4096).contains(&errno) { Errno::from_raw_os_error(errno) } else { Errno::BADMSG };
    Refusal { index, errno, reason: reason.map(str::to_owned) }
}

fn enable(fd: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int, and `on` outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
