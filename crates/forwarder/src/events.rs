//! epoll.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const BATCH: usize = 64;

/// What an event is about. The numbers are places in tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The orders.
    Orders,
    /// A port of the host.
    Port(usize),
    /// A connection's client.
    Client(usize),
    /// A connection's container.
    Container(usize),
    /// The container's side of a session of datagrams.
    Session(usize),
}

impl About {
    fn encode(self) -> u64 {
        let (kind, number) = match self {
            Self::Orders => (0, 0),
            Self::Port(n) => (1, n),
            Self::Client(n) => (2, n),
            Self::Container(n) => (3, n),
            Self::Session(n) => (4, n),
        };
        kind << 32 | number as u64
    }

    fn decode(data: u64) -> Self {
        let number = (data & 0xffff_ffff) as usize;
        match data >> 32 {
            0 => Self::Orders,
            1 => Self::Port(number),
            2 => Self::Client(number),
            3 => Self::Container(number),
            _ => Self::Session(number),
        }
    }
}

/// Something that is ready.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) about: About,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Events(OwnedFd);

impl Events {
    pub(crate) fn new() -> Result<Self> {
        epoll::create(CreateFlags::CLOEXEC).map(Self)
    }

    /// Tells of input as long as there is some.
    pub(crate) fn watch_input(&self, fd: impl AsFd, about: About) -> Result<()> {
        epoll::add(&self.0, fd, EventData::new_u64(about.encode()), EventFlags::IN)
    }

    /// Tells once of every change for the better: who hears of it goes on until the kernel has no more.
    pub(crate) fn watch_changes(&self, fd: impl AsFd, about: About) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.0, fd, EventData::new_u64(about.encode()), flags)
    }

    pub(crate) fn forget(&self, fd: impl AsFd) {
        // It was being watched, so there is nothing that can fail.
        let _ = epoll::delete(&self.0, fd);
    }

    pub(crate) fn wait(&self, timeout: Option<Duration>, into: &mut Vec<Ready>) -> Result<()> {
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        let mut space = [const { MaybeUninit::<Event>::uninit() }; BATCH];
        into.clear();
        let events = match epoll::wait(&self.0, &mut space, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(e) => return Err(e),
        };
        into.extend(events.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            // What has ended or failed is found by trying both.
            let over = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            Ready {
                about: About::decode(data.u64()),
                readable: over || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: over || flags.contains(EventFlags::OUT),
            }
        }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for about in [About::Orders, About::Port(1), About::Client(2), About::Container(70_000), About::Session(0)] {
            assert_eq!(About::decode(about.encode()), about);
        }
    }
}
