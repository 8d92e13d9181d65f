//! What the processes that set a container up together tell each other: one word at a time, with descriptors.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Descriptors that go with a word at most.
const MAX_FDS: usize = 2;

/// One end.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// Both ends, close-on-exec.
pub(crate) fn pair() -> io::Result<(Link, Link)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Link(one), Link(other)))
}

impl Link {
    /// Says a word.
    pub(crate) fn send(&self, word: u8, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        sendmsg(&self.0, &[IoSlice::new(&[word])], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for the word; another one, or the end, is an error. Returns its descriptors.
    pub(crate) fn expect(&self, word: u8) -> io::Result<Vec<OwnedFd>> {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let read = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => break message.bytes,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        };
        let fds = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
            _ => Vec::new(),
        });
        let fds = fds.collect();
        if read == 1 && byte[0] == word { Ok(fds) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn words_come_with_their_descriptors_and_the_end_is_an_error() {
        let (one, other) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        one.send(1, &[file.as_fd(), file.as_fd()]).unwrap();
        one.send(2, &[]).unwrap();
        assert_eq!(other.expect(1).unwrap().len(), 2);
        assert!(other.expect(3).is_err());
        drop(one);
        assert!(other.expect(2).is_err());
    }
}
