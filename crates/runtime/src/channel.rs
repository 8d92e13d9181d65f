//! The socket between a parent and the child that it cloned: reports one way, the word to go the other.
//!
//! `SOCK_SEQPACKET`, so that a report is a packet and a descriptor travels with it. The child's end
//! is close-on-exec: end of file after no failure means that the program runs.

use crate::failure::Failure;
use crate::spec::ContainerNet;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Failure messages are cut to this: a packet must fit in the socket's buffer.
const MAX_PACKET: usize = 16 * 1024;

/// What a child says to its parent.
#[derive(Debug)]
pub enum Report {
    /// The master of the terminal that the child opened in the container.
    Pty(OwnedFd),
    /// It could not become the program, and exits.
    Failed(Failure),
    /// The program runs.
    Executed,
}

#[derive(Debug, Serialize, Deserialize)]
enum Packet {
    Pty,
    Failed(Failure),
}

/// The parent's end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// The child's end.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

/// Makes both ends, close-on-exec.
pub(crate) fn pair() -> io::Result<(Channel, ChildEnd)> {
    let (parent, child) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel(parent), ChildEnd(child)))
}

impl Channel {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn read_report(&self) -> io::Result<Report> {
        let mut bytes = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                // A child that dies with an unread word in its queue resets the connection.
                Err(rustix::io::Errno::CONNRESET) => break 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        };
        if read == 0 {
            return Ok(Report::Executed);
        }
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        match (postcard::from_bytes(&bytes[..read]), fd) {
            (Ok(Packet::Pty), Some(fd)) => Ok(Report::Pty(fd)),
            (Ok(Packet::Failed(failure)), _) => Ok(Report::Failed(failure)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(crate) fn send_go(&self, net: &ContainerNet) -> io::Result<()> {
        let bytes = postcard::to_allocvec(net).map_err(io::Error::other)?;
        rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl ChildEnd {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Best effort: the exit status tells a parent that hears nothing.
    pub(crate) fn fail(&self, mut failure: Failure) {
        let limit = (0..=MAX_PACKET / 2).rev().find(|n| failure.message.is_char_boundary(*n)).unwrap_or(0);
        failure.message.truncate(limit);
        if let Ok(bytes) = postcard::to_allocvec(&Packet::Failed(failure)) {
            let _ = rustix::net::send(&self.0, &bytes, SendFlags::NOSIGNAL);
        }
    }

    pub(crate) fn send_pty(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = postcard::to_allocvec(&Packet::Pty).map_err(io::Error::other)?;
        let fds = [master];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the parent's word; `None` when the parent is gone.
    pub(crate) fn wait_for_go(&self) -> io::Result<Option<ContainerNet>> {
        let mut bytes = vec![0; MAX_PACKET];
        let (read, _) = rustix::io::retry_on_intr(|| rustix::net::recv(&self.0, &mut bytes[..], RecvFlags::empty()))?;
        if read == 0 {
            return Ok(None);
        }
        postcard::from_bytes(&bytes[..read]).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Stage;

    #[test]
    fn reports_arrive_in_order_and_eof_means_executed() {
        let (parent, child) = pair().unwrap();
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        child.send_pty(pipe.as_fd()).unwrap();
        child.fail(Failure::new(Stage::User, "é".repeat(MAX_PACKET)));
        drop(child);
        assert!(matches!(parent.read_report().unwrap(), Report::Pty(_)));
        let Report::Failed(failure) = parent.read_report().unwrap() else { panic!("no failure") };
        assert_eq!((failure.stage, failure.message.len()), (Stage::User, MAX_PACKET / 2));
        assert!(matches!(parent.read_report().unwrap(), Report::Executed));
    }

    #[test]
    fn the_word_to_go_carries_the_network() {
        let (parent, child) = pair().unwrap();
        let net = ContainerNet { interface: None };
        parent.send_go(&net).unwrap();
        assert_eq!(child.wait_for_go().unwrap(), Some(net));
        drop(parent);
        assert_eq!(child.wait_for_go().unwrap(), None);
    }
}
