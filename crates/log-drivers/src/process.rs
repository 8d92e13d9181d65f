//! The process that forwards one container's output.
//!
//! It finds the feed's receiving end, its configuration and a pipe on which it says whether it is ready (see
//! [`spawn_fd`]). From then on it belongs to nobody: it ends when the feed does, after the last line is delivered or
//! the receiver has taken nothing for ten seconds.

use crate::config::Config;
use crate::driver::{self, Forward};
use gantry_container_logs::feed::{HEADER, Line, LineCutter, MAX_PAYLOAD};
use gantry_linux::{inherited, process, seqpacket, signals};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// The name under which the daemon's program is a forwarder.
pub const NAME: &str = "gantry-log";

/// Descriptors a forwarder finds, after the standard three.
pub mod spawn_fd {
    /// The receiving end of the feed.
    pub const FEED: i32 = 3;
    /// A memfd with the JSON of a [`Config`](crate::Config).
    pub const CONFIG: i32 = 4;
    /// Written to once: [`READY`](super::READY), or why it is not, and closed.
    pub const STATUS: i32 = 5;
}

/// What a forwarder says when its receiver was reached.
pub const READY: &str = "ready";

/// A receiver that cannot be reached is tried again after so long, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After the feed's end, a receiver that takes nothing for so long loses the rest.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Runs a forwarder to its end.
pub fn run() -> ExitCode {
    match forward() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{NAME}: {e}");
            ExitCode::FAILURE
        }
    }
}

fn forward() -> io::Result<()> {
    let feed = inherited::take(spawn_fd::FEED)?;
    let mut config = Vec::new();
    File::from(inherited::take(spawn_fd::CONFIG)?).read_to_end(&mut config)?;
    let status = File::from(inherited::take(spawn_fd::STATUS)?);
    process::close_on_exec_from(spawn_fd::FEED)?;
    signals::ignore(&[libc_signals::SIGPIPE, libc_signals::SIGHUP, libc_signals::SIGINT, libc_signals::SIGTERM])?;
    rustix::process::chdir("/")?;
    let config: Config = serde_json::from_slice(&config).map_err(io::Error::other)?;
    let container = config.subject.short_id().to_owned();
    let mut driver = driver::of(config);
    let opened = driver.open();
    tell(status, &opened.as_ref().map_or_else(ToString::to_string, |()| READY.to_owned()));
    opened?;
    let delivered = Arc::new(AtomicU64::new(0));
    watch_end(&feed, &delivered, container.clone())?;
    Forwarder { feed, driver, delivered, container }.run()
}

/// Signal numbers; the kernel's generic ones.
mod libc_signals {
    pub(super) const SIGHUP: i32 = 1;
    pub(super) const SIGINT: i32 = 2;
    pub(super) const SIGPIPE: i32 = 13;
    pub(super) const SIGTERM: i32 = 15;
}

/// Nobody listens to a forwarder that replaces one that died.
fn tell(mut status: File, text: &str) {
    let _ = status.write_all(text.as_bytes());
}

/// A driver blocks in its receiver's socket, so that a thread watches for the feed's end and for progress after it.
fn watch_end(feed: &OwnedFd, delivered: &Arc<AtomicU64>, container: String) -> io::Result<()> {
    let (feed, delivered) = (feed.try_clone()?, Arc::clone(delivered));
    thread::Builder::new().name("end".into()).stack_size(64 << 10).spawn(move || {
        // Without a request for input: only the hang-up wakes.
        let _ = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&feed, PollFlags::empty())], None));
        drop(feed);
        loop {
            let before = delivered.load(Ordering::Relaxed);
            // Not a wait for an event but a bound on having none.
            thread::sleep(LAST_WORDS);
            if delivered.load(Ordering::Relaxed) == before {
                eprintln!("{NAME}: container {container}: the log driver takes nothing; the rest of the log is lost");
                std::process::exit(1);
            }
        }
    })?;
    Ok(())
}

struct Forwarder {
    feed: OwnedFd,
    driver: Box<dyn Forward>,
    delivered: Arc<AtomicU64>,
    container: String,
}

impl Forwarder {
    fn run(mut self) -> io::Result<()> {
        let mut cutter = LineCutter::default();
        let mut buffer = vec![0; HEADER + MAX_PAYLOAD];
        while let Some(length) = self.receive(&mut buffer)? {
            let mut lines = Vec::new();
            cutter.packet(&buffer[..length], &mut |line| lines.push(line));
            for line in &lines {
                self.deliver(line);
            }
        }
        let mut lines = Vec::new();
        cutter.finish(now(), &mut |line| lines.push(line));
        for line in &lines {
            self.deliver(line);
        }
        self.insist(|driver| driver.flush());
        Ok(())
    }

    /// The next packet; `None` at the end. Flushes when that is due meanwhile.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match seqpacket::recv(self.feed.as_fd(), buffer) {
                Ok(packet) => return Ok((packet.len > 0).then_some(packet.len)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            let due = self.driver.due();
            if due.is_some_and(|due| due <= Instant::now()) {
                self.insist(|driver| driver.flush());
                continue;
            }
            let wait = due.map(|due| timespec(due.saturating_duration_since(Instant::now())));
            match poll(&mut [PollFd::new(&self.feed, PollFlags::IN)], wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn deliver(&mut self, line: &Line) {
        self.insist(|driver| driver.send(line));
    }

    /// Tries until it works: the line is the oldest one, and those behind it wait in the feed.
    fn insist(&mut self, mut attempt: impl FnMut(&mut dyn Forward) -> io::Result<()>) {
        let mut pause = RETRY.0;
        let mut failed = false;
        while let Err(e) = attempt(self.driver.as_mut()) {
            if !failed {
                eprintln!("{NAME}: container {}: {e}; trying again", self.container);
                failed = true;
            }
            // A receiver that is down says nothing when it is up again.
            thread::sleep(pause);
            pause = (pause * 2).min(RETRY.1);
        }
        if failed {
            eprintln!("{NAME}: container {}: the log driver goes on", self.container);
        }
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as i64
}
