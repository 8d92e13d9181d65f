//! Streams between a client's connection and a container: attach, exec and logs.

mod detach;
mod frame;
mod pump;
mod session;

pub(crate) use detach::DetachKeys;
pub(crate) use frame::{HEADER, STDERR, STDOUT, frame, header};
pub(crate) use pump::{End, Input, pump_input};
pub use session::AttachSession;
pub(crate) use session::Kind;

use gantry_model::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::OwnedFd;
use tokio::net::UnixStream;

/// A stream socket pair: one end for the daemon, one to send away.
pub(crate) fn stream_pair() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
            .map_err(std::io::Error::from)?;
    Ok((UnixStream::from_std(ours.into())?, theirs))
}
