//! Packets over the control socket of a container.
//!
//! Nothing here blocks: [`send`] and [`recv`] answer `WouldBlock`, and the caller waits for the
//! descriptor in its own way (the daemon with its reactor, the shim with epoll).

use crate::{MAX_PACKET, codec};
use gantry_linux::seqpacket;
use serde::Serialize;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

pub use gantry_linux::seqpacket::{MAX_FDS, Packet};

/// Name of the control socket in a container's state directory.
pub const SOCKET_NAME: &str = "shim.sock";
/// Name of the file with the encoded [`crate::Exit`].
pub const EXIT_NAME: &str = "exit";

/// Connections that may wait while the shim is busy: a daemon, its successor and some spare.
const BACKLOG: i32 = 16;

/// Makes the listening socket at `path` (of any length), which must not exist.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    seqpacket::listen(path, BACKLOG)
}

/// Connects to the shim at `path` (of any length). `ConnectionRefused`: the shim is gone.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    seqpacket::connect(path)
}

/// The next connection, if its user is root or the caller's own. Others are closed and answered
/// with `PermissionDenied`.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let connection = seqpacket::accept(listener)?;
    let peer = seqpacket::peer_credentials(connection.as_fd())?;
    if peer.uid != 0 && peer.uid != seqpacket::effective_uid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(connection)
}

/// Sends one packet with descriptors; `WouldBlock` when the peer does not keep up.
pub fn send(socket: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    seqpacket::send(socket, packet, fds)
}

/// Encodes and sends one [`crate::Request`] or [`crate::Message`].
pub fn send_value<T: Serialize>(socket: BorrowedFd<'_>, value: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let packet = codec::encode(value).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    send(socket, &packet, fds)
}

/// Receives one packet into `buf`, which should hold [`MAX_PACKET`] bytes. A length of 0 is the
/// peer's end.
pub fn recv(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Packet> {
    debug_assert!(buf.len() >= MAX_PACKET, "a shorter buffer loses packets");
    seqpacket::recv(socket, buf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, RequestBody};
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str, tail: &str) -> Self {
            let root = std::env::temp_dir().join(format!("gantry-transport-{}-{name}", std::process::id()));
            std::fs::create_dir_all(root.join(tail)).expect("a scratch directory");
            Self(root)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn exchange(path: &Path) {
        let listener = listen(path).expect("listens");
        assert_eq!(std::fs::symlink_metadata(path).expect("exists").permissions().mode() & 0o7777, 0o600);
        assert_eq!(accept(listener.as_fd()).expect_err("nobody").kind(), io::ErrorKind::WouldBlock);
        let client = connect(path).expect("connects");
        let server = accept(listener.as_fd()).expect("same user");
        let mut buf = vec![0; MAX_PACKET];
        assert_eq!(recv(server.as_fd(), &mut buf).expect_err("empty").kind(), io::ErrorKind::WouldBlock);

        let (mut reader, writer) = io::pipe().expect("a pipe");
        let request = Request { id: 3, body: RequestBody::Exec { exec_id: "x".into() } };
        send_value(client.as_fd(), &request, &[writer.as_fd(), writer.as_fd()]).expect("fits");
        drop(writer);
        let packet = recv(server.as_fd(), &mut buf).expect("a packet");
        assert_eq!(codec::decode::<Request>(&buf[..packet.len]), Ok(request));
        assert_eq!(packet.fds.len(), 2);
        for fd in packet.fds {
            assert!(std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).is_ok());
            std::fs::File::from(fd).write_all(b"!").expect("the pipe is open");
        }
        let mut got = String::new();
        reader.read_to_string(&mut got).expect("every writer is closed");
        assert_eq!(got, "!!");

        drop(client);
        assert_eq!(recv(server.as_fd(), &mut buf).expect("the end").len, 0);
    }

    #[test]
    fn packets_and_descriptors_cross() {
        let dir = Dir::new("short", "");
        exchange(&dir.0.join(SOCKET_NAME));
    }

    #[test]
    fn paths_longer_than_sun_path_work() {
        let tail = "d".repeat(120);
        let dir = Dir::new("long", &tail);
        exchange(&dir.0.join(tail).join(SOCKET_NAME));
    }

    #[test]
    fn a_path_in_use_is_not_taken_over() {
        let dir = Dir::new("taken", "");
        let path = dir.0.join(SOCKET_NAME);
        let first = listen(&path).expect("listens");
        assert_eq!(listen(&path).expect_err("taken").kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(connect(&path).expect_err("nobody listens").kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_was_sent_before_a_reset_arrives() {
        let (a, b) = seqpacket::pair().expect("a pair");
        send(a.as_fd(), b"unread", &[]).expect("fits");
        send(b.as_fd(), b"last words", &[]).expect("fits");
        drop(b);
        let mut buf = vec![0; MAX_PACKET];
        assert_eq!(recv(a.as_fd(), &mut buf).expect("the packet").len, 10);
        assert_eq!(recv(a.as_fd(), &mut buf).expect("the end").len, 0);
    }

    #[test]
    fn too_many_descriptors_are_refused_by_the_sender() {
        let (a, _b) = seqpacket::pair().expect("a pair");
        let fds = vec![a.as_fd(); MAX_FDS + 1];
        assert_eq!(send(a.as_fd(), b"x", &fds).expect_err("too many").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_slow_reader_is_would_block_and_nothing_is_lost() {
        let (a, b) = seqpacket::pair().expect("a pair");
        let packet = vec![7; 4096];
        let mut sent = 0;
        let end = loop {
            match send(a.as_fd(), &packet, &[]) {
                Ok(()) => sent += 1,
                Err(e) => break e.kind(),
            }
        };
        assert_eq!(end, io::ErrorKind::WouldBlock);
        assert!(sent > 0);
        let mut buf = vec![0; MAX_PACKET];
        for _ in 0..sent {
            assert_eq!(recv(b.as_fd(), &mut buf).expect("a packet").len, packet.len());
        }
    }
}
