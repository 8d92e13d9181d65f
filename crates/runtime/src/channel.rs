//! The socket between a parent and the child that it cloned: reports one way, the word to go the other.
//!
//! `SOCK_SEQPACKET`, so that a report is a packet and a descriptor travels with it. The child's end
//! is close-on-exec: end of file after no failure means that the program runs.

use crate::failure::{DIED_IN_SETUP, Failure, OrFail, Stage};
use crate::spec::ContainerNet;
use rustix::io::Errno;
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
    /// Another process than the one that was cloned becomes the program. Comes with its pidfd and the mount namespace.
    Init {
        pid: u32,
    },
    /// Only the exec is left: end of file after this means success, and before it a death.
    Executing,
}

/// The parent's end.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    executing: bool,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct ChildEnd(Option<OwnedFd>);

/// Makes both ends, close-on-exec.
pub(crate) fn pair() -> io::Result<(Channel, ChildEnd)> {
    let (parent, child) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel { socket: parent, executing: false }, ChildEnd(Some(child))))
}

impl Channel {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn read_report(&mut self) -> io::Result<Report> {
        loop {
            match self.receive()? {
                None if self.executing => return Ok(Report::Executed),
                None => {
                    return Ok(Report::Failed(Failure::new(Stage::Setup, DIED_IN_SETUP)));
                }
                Some((Packet::Executing, _)) => self.executing = true,
                Some((Packet::Failed(failure), _)) => return Ok(Report::Failed(failure)),
                Some((Packet::Pty, mut fds)) if !fds.is_empty() => return Ok(Report::Pty(fds.remove(0))),
                Some((Packet::Pty | Packet::Init { .. }, _)) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Waits for the first word of a helper: the init process it has cloned, its pidfd and the mount namespace.
    pub(crate) fn receive_init(&mut self) -> crate::failure::Result<(u32, OwnedFd, OwnedFd)> {
        let died = || Failure::new(Stage::Setup, "the process that sets the container up died");
        let packet = self.receive().or_fail(Stage::Setup, || "hear of the init process")?;
        match packet {
            Some((Packet::Init { pid }, mut fds)) if fds.len() == 2 => {
                let (pidfd, mounts) = (fds.remove(0), fds.remove(0));
                Ok((pid, pidfd, mounts))
            }
            Some((Packet::Failed(failure), _)) => Err(failure),
            _ => Err(died()),
        }
    }

    /// The next packet and the descriptors that came with it; `None` at the end.
    fn receive(&self) -> io::Result<Option<(Packet, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                // A child that ends with an unread word in its queue resets the connection. That is told first and
                // once; what it has sent before comes after, then the end.
                Err(Errno::CONNRESET | Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        };
        if read == 0 {
            return Ok(None);
        }
        let fds = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        let packet = postcard::from_bytes(&bytes[..read]).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Some((packet, fds)))
    }

    pub(crate) fn send_go(&self, net: &ContainerNet) -> io::Result<()> {
        let bytes = postcard::to_allocvec(net).map_err(io::Error::other)?;
        rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl ChildEnd {
    fn socket(&self) -> io::Result<BorrowedFd<'_>> {
        self.0.as_ref().map(AsFd::as_fd).ok_or_else(|| Errno::BADF.into())
    }

    /// Leaves the channel to another process that holds this end.
    pub(crate) fn close(&mut self) {
        self.0 = None;
    }

    /// Everything is ready; the exec is next.
    pub(crate) fn executing(&self) -> io::Result<()> {
        self.send(&Packet::Executing)
    }

    /// Best effort: the exit status tells a parent that hears nothing.
    pub(crate) fn fail(&self, mut failure: Failure) {
        let limit = (0..=MAX_PACKET / 2).rev().find(|n| failure.message.is_char_boundary(*n)).unwrap_or(0);
        failure.message.truncate(limit);
        let _ = self.send(&Packet::Failed(failure));
    }

    fn send(&self, packet: &Packet) -> io::Result<()> {
        let bytes = postcard::to_allocvec(packet).map_err(io::Error::other)?;
        rustix::net::send(self.socket()?, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Whether the parent is still there to supervise what is about to run.
    pub(crate) fn parent_is_alive(&self) -> bool {
        let Ok(socket) = self.socket() else { return false };
        let mut byte = [0; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(rustix::net::recv(socket, &mut byte[..], flags), Ok((0, _)) | Err(Errno::CONNRESET))
    }

    pub(crate) fn send_pty(&self, master: BorrowedFd<'_>) -> io::Result<()> {
        self.send_with(&Packet::Pty, &[master])
    }

    pub(crate) fn send_init(&self, pid: u32, pidfd: BorrowedFd<'_>, mounts: BorrowedFd<'_>) -> io::Result<()> {
        self.send_with(&Packet::Init { pid }, &[pidfd, mounts])
    }

    fn send_with(&self, packet: &Packet, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_allocvec(packet).map_err(io::Error::other)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
        sendmsg(self.socket()?, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the parent's word; `None` when the parent is gone.
    pub(crate) fn wait_for_go(&self) -> io::Result<Option<ContainerNet>> {
        let socket = self.socket()?;
        let mut bytes = vec![0; MAX_PACKET];
        let (read, _) = rustix::io::retry_on_intr(|| rustix::net::recv(socket, &mut bytes[..], RecvFlags::empty()))?;
        if read == 0 {
            return Ok(None);
        }
        postcard::from_bytes(&bytes[..read]).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_in_order_and_eof_means_executed() {
        let (mut parent, child) = pair().unwrap();
        let (pipe, _writer) = rustix::pipe::pipe().unwrap();
        child.send_pty(pipe.as_fd()).unwrap();
        child.fail(Failure::new(Stage::User, "é".repeat(MAX_PACKET)));
        child.executing().unwrap();
        drop(child);
        assert!(matches!(parent.read_report().unwrap(), Report::Pty(_)));
        let Report::Failed(failure) = parent.read_report().unwrap() else { panic!("no failure") };
        assert_eq!((failure.stage, failure.message.len()), (Stage::User, MAX_PACKET / 2));
        assert!(matches!(parent.read_report().unwrap(), Report::Executed));
    }

    #[test]
    fn a_death_before_the_exec_is_a_failure() {
        let (mut parent, child) = pair().unwrap();
        assert!(child.parent_is_alive());
        drop(child);
        assert!(matches!(parent.read_report().unwrap(), Report::Failed(_)));
    }

    #[test]
    fn a_failure_survives_a_word_that_was_not_read() {
        let (mut parent, child) = pair().unwrap();
        parent.send_go(&ContainerNet::default()).unwrap();
        child.fail(Failure::new(Stage::Mount, "no such mount"));
        drop(child);
        let Report::Failed(failure) = parent.read_report().unwrap() else { panic!("no failure") };
        assert_eq!((failure.stage, failure.message.as_str()), (Stage::Mount, "no such mount"));
        assert!(matches!(parent.read_report().unwrap(), Report::Failed(_)));
    }

    #[test]
    fn the_word_to_go_carries_the_network() {
        let (parent, child) = pair().unwrap();
        let net = ContainerNet::default();
        parent.send_go(&net).unwrap();
        assert_eq!(child.wait_for_go().unwrap(), Some(net));
        drop(parent);
        assert!(!child.parent_is_alive());
        assert_eq!(child.wait_for_go().unwrap(), None);
    }
}
