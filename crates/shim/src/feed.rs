//! The socket to the process that forwards output to a log driver.
//!
//! The shim holds both ends. So what is in the socket outlives a forwarder that dies, and the daemon, which starts
//! another, gets the receiving end for it from here. When the shim ends, the forwarder reads what is left and then sees
//! the end.

use crate::diagnostics::say;
use crate::poller::{Interest, Poller, Token, Watched};
use gantry_container_logs::Stream;
use gantry_container_logs::feed::{MAX_PAYLOAD, packet};
use gantry_linux::seqpacket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Docker waits so long for a log driver when a container has ended.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Both ends, and what the socket did not take.
#[derive(Debug)]
pub(crate) struct Feed {
    sending: Watched,
    receiving: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
    /// Bytes in `waiting`.
    bytes: usize,
    /// `None`: the container waits. Else more than this is dropped.
    buffer: Option<usize>,
    /// Bytes of output dropped since somebody was told.
    dropped: u64,
}

impl Feed {
    /// From the ends that the daemon handed over, the sending one first.
    pub(crate) fn take(held: &mut Vec<OwnedFd>, buffer: Option<u64>) -> Option<Self> {
        if held.len() < 2 {
            say("the log driver's socket is missing");
            return None;
        }
        let mut ends = held.drain(..2);
        let (sending, receiving) = (ends.next()?, ends.next()?);
        drop(ends);
        let buffer = buffer.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let sending = Watched::new(sending, Token::Feed);
        Some(Self { sending, receiving, waiting: VecDeque::new(), bytes: 0, buffer, dropped: 0 })
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        if self.buffer.is_some_and(|most| self.bytes > 0 && self.bytes + bytes.len() > most) {
            if self.dropped == 0 {
                say("the log driver is too slow; output is being dropped");
            }
            self.dropped += bytes.len() as u64;
            return;
        }
        for part in bytes.chunks(MAX_PAYLOAD) {
            self.push(packet(stream, part, now));
        }
        self.flush();
    }

    /// The stream has ended.
    pub(crate) fn end(&mut self, stream: Stream, now: i64) {
        self.push(packet(stream, &[], now));
        self.flush();
    }

    /// Whether the container has to wait.
    pub(crate) fn is_congested(&self) -> bool {
        self.buffer.is_none() && !self.waiting.is_empty()
    }

    pub(crate) fn update(&mut self, poller: &Poller) {
        let interest = if self.waiting.is_empty() { Interest::Off } else { Interest::Write };
        if let Err(e) = self.sending.want(poller, interest) {
            say(&format!("waiting for the log driver: {e}"));
        }
    }

    /// Sends what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while let Some(first) = self.waiting.front() {
            match seqpacket::send(self.sending.as_fd(), first, &[]) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) => say(&format!("output for the log driver is lost: {e}")),
                Ok(()) => {}
            }
            self.bytes -= first.len();
            self.waiting.pop_front();
        }
        self.waiting = VecDeque::new();
        if self.dropped > 0 {
            say(&format!("the log driver goes on; {} bytes of output were dropped", self.dropped));
            self.dropped = 0;
        }
    }

    /// Sends the rest; a driver that takes nothing for ten seconds loses it.
    pub(crate) fn finish(&mut self) {
        let deadline = seconds() + LAST_WORDS.as_secs() as i64;
        self.flush();
        while !self.waiting.is_empty() {
            let left = Timespec { tv_sec: deadline - seconds(), tv_nsec: 0 };
            let mut fds = [PollFd::new(&self.sending, PollFlags::OUT)];
            let ready = left.tv_sec > 0 && poll(&mut fds, Some(&left)).is_ok_and(|ready| ready > 0);
            if !ready {
                say(&format!("the log driver does not take the last {} bytes", self.bytes));
                return;
            }
            self.flush();
        }
    }

    pub(crate) fn receiving_end(&self) -> BorrowedFd<'_> {
        self.receiving.as_fd()
    }

    fn push(&mut self, packet: Vec<u8>) {
        self.bytes += packet.len();
        self.waiting.push_back(packet);
    }
}

fn seconds() -> i64 {
    clock_gettime(ClockId::Monotonic).tv_sec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: Option<u64>) -> Feed {
        let (sending, receiving) = seqpacket::pair().expect("a pair");
        Feed::take(&mut vec![sending, receiving], buffer).expect("two ends")
    }

    fn received(feed: &Feed) -> usize {
        let mut buf = vec![0; 64 * 1024];
        let mut bytes = 0;
        while let Ok(packet) = seqpacket::recv(feed.receiving_end(), &mut buf) {
            bytes += packet.len - gantry_container_logs::feed::HEADER;
        }
        bytes
    }

    #[test]
    fn a_slow_driver_holds_the_container_back_and_loses_nothing() {
        let mut feed = feed(None);
        let mut written = 0;
        while !feed.is_congested() {
            feed.write(Stream::Stdout, &vec![b'x'; 100_000], 1);
            written += 100_000;
        }
        let mut read = received(&feed);
        feed.flush();
        assert!(!feed.is_congested());
        read += received(&feed);
        assert_eq!(read, written);
    }

    #[test]
    fn a_bounded_buffer_drops_and_never_congests() {
        let mut feed = feed(Some(200_000));
        for _ in 0..100 {
            feed.write(Stream::Stdout, &vec![b'x'; 100_000], 1);
            assert!(!feed.is_congested());
            assert!(feed.bytes <= 200_000 + 16 * HEADERS);
        }
        assert!(feed.dropped > 0);
        received(&feed);
        feed.flush();
        assert_eq!(feed.dropped, 0);
    }

    const HEADERS: usize = gantry_container_logs::feed::HEADER;
}
