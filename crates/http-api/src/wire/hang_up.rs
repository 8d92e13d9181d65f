//! Noticing that a client is gone which nobody reads from any more.
//!
//! A client that closes its sending side still listens, and reads as ended just like one that is gone. The kernel tells
//! them apart: when both directions are closed it reports a hang-up, on unix sockets always, on TCP after a reset.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest};

/// A client's byte stream.
pub trait Peer: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket below, if it is known.
    fn socket(&self) -> Option<BorrowedFd<'_>>;

    /// Whether the kernel says when the client is gone, and not only when it has no more to say.
    fn tells_hang_up(&self) -> bool {
        false
    }

    /// Ready when the client has read all that was written, or nobody can tell.
    fn has_read(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

#[cfg(test)]
impl Peer for tokio::io::DuplexStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

#[cfg(test)]
impl Peer for tokio::net::UnixStream {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(self))
    }

    fn tells_hang_up(&self) -> bool {
        true
    }
}

/// Tells of a client's hang-up.
#[derive(Debug)]
pub(crate) struct HangUp(Option<AsyncFd<OwnedFd>>);

impl HangUp {
    /// Of this client; one whose socket cannot be watched never hangs up.
    pub(super) fn of(client: &impl Peer) -> Self {
        let duplicate = client.socket().and_then(|socket| socket.try_clone_to_owned().ok());
        Self(duplicate.and_then(|socket| watch(socket).ok()))
    }

    /// Ready when the client is gone.
    pub(crate) async fn happened(self) {
        match &self.0 {
            Some(socket) if socket.ready(Interest::PRIORITY).await.is_ok() => {}
            _ => std::future::pending().await,
        }
    }
}

/// Only what needs no asking for is waited for, which is errors and hang-ups: data do not wake anybody.
#[expect(deprecated, reason = "the successor is unsafe, and an OwnedFd owns its descriptor")]
fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, Interest::PRIORITY)
}

#[cfg(test)]
mod tests {
    use super::HangUp;
    use std::time::Duration;
    use tokio::io::AsyncWriteExt;
    use tokio::net::UnixStream;

    #[tokio::test]
    async fn half_a_close_is_none() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let happened = HangUp::of(&server).happened();
        tokio::pin!(happened);
        client.write_all(b"unread").await.unwrap();
        client.shutdown().await.unwrap();
        let patience = Duration::from_millis(50);
        assert!(tokio::time::timeout(patience, &mut happened).await.is_err());
        drop(client);
        happened.await;
    }
}
