//! epoll, with descriptors that know what they are waited for.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Events taken from the kernel at once: on the stack, and a container rarely has more to say.
const BATCH: usize = 16;

/// What an event is about; the number names one of many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    Listener,
    Connection(u32),
    InitReport,
    InitEnd,
    Stdout,
    Stderr,
    Stdin,
    Terminal,
    Client(u32),
    ExecReport(u32),
    ExecEnd(u32),
    OutOfMemory,
    Compressor,
    Feed,
    Port(u32),
    ForwarderEnd(u32),
}

impl Token {
    fn encode(self) -> u64 {
        let (kind, number): (u64, u32) = match self {
            Self::Listener => (0, 0),
            Self::Connection(n) => (1, n),
            Self::InitReport => (2, 0),
            Self::InitEnd => (3, 0),
            Self::Stdout => (4, 0),
            Self::Stderr => (5, 0),
            Self::Stdin => (6, 0),
            Self::Terminal => (7, 0),
            Self::Client(n) => (8, n),
            Self::ExecReport(n) => (9, n),
            Self::ExecEnd(n) => (10, n),
            Self::OutOfMemory => (11, 0),
            Self::Compressor => (12, 0),
            Self::Feed => (13, 0),
            Self::Port(n) => (14, n),
            Self::ForwarderEnd(n) => (15, n),
        };
        kind << 32 | u64::from(number)
    }

    fn decode(data: u64) -> Option<Self> {
        let number = data as u32;
        Some(match data >> 32 {
            0 => Self::Listener,
            1 => Self::Connection(number),
            2 => Self::InitReport,
            3 => Self::InitEnd,
            4 => Self::Stdout,
            5 => Self::Stderr,
            6 => Self::Stdin,
            7 => Self::Terminal,
            8 => Self::Client(number),
            9 => Self::ExecReport(number),
            10 => Self::ExecEnd(number),
            11 => Self::OutOfMemory,
            12 => Self::Compressor,
            13 => Self::Feed,
            14 => Self::Port(number),
            15 => Self::ForwarderEnd(number),
            _ => return None,
        })
    }
}

/// What a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Nothing at all: a hang-up, which epoll otherwise always reports, would wake for ever.
    Off,
    /// Only a hang-up or an error.
    HangUp,
    /// Input.
    Read,
    /// Room for output.
    Write,
    /// Both.
    ReadWrite,
    /// Input that is new since the last wake-up.
    NewInput,
}

impl Interest {
    fn flags(self) -> Option<EventFlags> {
        match self {
            Self::Off => None,
            Self::HangUp => Some(EventFlags::empty()),
            Self::Read => Some(EventFlags::IN),
            Self::Write => Some(EventFlags::OUT),
            Self::ReadWrite => Some(EventFlags::IN | EventFlags::OUT),
            Self::NewInput => Some(EventFlags::IN | EventFlags::ET),
        }
    }

    /// From what is wanted of a stream, with a hang-up always being of interest.
    pub(crate) fn of(read: bool, write: bool) -> Self {
        match (read, write) {
            (true, true) => Self::ReadWrite,
            (true, false) => Self::Read,
            (false, true) => Self::Write,
            (false, false) => Self::HangUp,
        }
    }
}

/// An epoll instance.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Waits for events, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Ready> {
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        let mut space = [const { MaybeUninit::<Event>::uninit() }; BATCH];
        let events = match epoll::wait(&self.0, &mut space, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(Ready([None; BATCH])),
            Err(e) => return Err(e.into()),
        };
        let mut ready = Ready([None; BATCH]);
        for (event, slot) in events.iter().zip(&mut ready.0) {
            let (flags, data) = (event.flags, event.data);
            let hung_up = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            *slot = Token::decode(data.u64()).map(|token| (token, hung_up));
        }
        Ok(ready)
    }
}

/// What is ready.
#[derive(Debug)]
pub(crate) struct Ready([Option<(Token, bool)>; BATCH]);

impl Ready {
    pub(crate) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// What it is, and whether the other end hung up.
    pub(crate) fn events(&self) -> impl Iterator<Item = (Token, bool)> {
        self.0.into_iter().flatten()
    }
}

/// A descriptor that may be waited for.
#[derive(Debug)]
pub(crate) struct Watched<F: AsFd = OwnedFd> {
    fd: F,
    token: Token,
    current: Interest,
}

impl<F: AsFd> Watched<F> {
    pub(crate) fn new(fd: F, token: Token) -> Self {
        Self { fd, token, current: Interest::Off }
    }

    /// Changes what is waited for.
    pub(crate) fn want(&mut self, poller: &Poller, interest: Interest) -> io::Result<()> {
        if interest == self.current {
            return Ok(());
        }
        let data = EventData::new_u64(self.token.encode());
        match (self.current, interest.flags()) {
            (_, None) => epoll::delete(&poller.0, &self.fd)?,
            (Interest::Off, Some(flags)) => epoll::add(&poller.0, &self.fd, data, flags)?,
            (_, Some(flags)) => epoll::modify(&poller.0, &self.fd, data, flags)?,
        }
        self.current = interest;
        Ok(())
    }
}

impl<F: AsFd> AsFd for Watched<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let tokens = [
            Token::Listener,
            Token::Connection(1),
            Token::InitReport,
            Token::InitEnd,
            Token::Stdout,
            Token::Stderr,
            Token::Stdin,
            Token::Terminal,
            Token::Client(u32::MAX),
            Token::ExecReport(7),
            Token::ExecEnd(7),
            Token::OutOfMemory,
            Token::Compressor,
            Token::Feed,
            Token::Port(3),
            Token::ForwarderEnd(4),
        ];
        for token in tokens {
            assert_eq!(Token::decode(token.encode()), Some(token));
        }
        assert_eq!(Token::decode(u64::MAX), None);
    }

    #[test]
    fn only_what_is_wanted_wakes() {
        let poller = Poller::new().expect("epoll");
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        let mut watched = Watched::new(read, Token::Stdout);
        let now = Some(Duration::ZERO);
        watched.want(&poller, Interest::Read).expect("watches");
        assert!(poller.wait(now).expect("waits").is_empty());
        rustix::io::write(&write, b"x").expect("writes");
        assert_eq!(poller.wait(now).expect("waits").events().collect::<Vec<_>>(), [(Token::Stdout, false)]);
        watched.want(&poller, Interest::Off).expect("forgets");
        drop(write);
        assert!(poller.wait(now).expect("waits").is_empty(), "not even a hang-up");
        watched.want(&poller, Interest::HangUp).expect("watches");
        assert_eq!(poller.wait(now).expect("waits").events().collect::<Vec<_>>(), [(Token::Stdout, true)]);
    }
}
