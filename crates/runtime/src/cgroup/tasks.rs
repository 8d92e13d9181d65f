//! The processes of a cgroup: listed, signalled, stopped, killed.

use super::Cgroup;
use super::files::{keyed, write};
use gantry_linux::process::kill;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Calls `visit` with a cgroup's directory and every one below it, children first.
pub(super) fn walk(dir: &Path, visit: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), visit)?;
        }
    }
    visit(dir)
}

fn pids_of(dir: &Path) -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    walk(dir, &mut |dir| {
        match fs::read_to_string(dir.join("cgroup.procs")) {
            Ok(text) => pids.extend(text.lines().filter_map(|l| l.parse::<u32>().ok())),
            // The cgroup went away, or is threaded; its processes are listed by its domain.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => {}
            Err(e) => return Err(e),
        }
        Ok(())
    })?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

impl Cgroup {
    /// The directory whose members are the container's, whatever the container does with the others.
    fn membership(&self) -> Option<&Path> {
        let of = |name: &str| self.v1_dir(name);
        // A privileged container may move its processes in hierarchies that it can write to; v2's
        // subtree is walked, so what it does below stays visible.
        self.v2_dir()
            .or_else(|| of("pids"))
            .or_else(|| of("memory"))
            .or_else(|| of("devices"))
            .or_else(|| self.dirs().next())
    }

    /// Pids of every process in it and below.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        self.membership().map_or(Ok(Vec::new()), pids_of)
    }

    /// Signals every process in it and below.
    pub fn signal_all(&self, signal: i32) -> io::Result<()> {
        for pid in self.pids()? {
            match kill(pid as i32, signal) {
                Err(e) if e.raw_os_error() != Some(libc::ESRCH) => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Kills every process in it and below, even if it is frozen or forks meanwhile. Returns when
    /// every process has its signal, not when all have ended.
    pub fn kill_all(&self) -> io::Result<()> {
        if let Some(dir) = self.v2_dir() {
            match write(dir, "cgroup.kill", "1") {
                Ok(()) => return Ok(()),                            // v2's freezer lets the killed die.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // Before 5.14, or the cgroup is gone.
                Err(e) => return Err(e),
            }
        }
        // Frozen, nobody forks away from the loop.
        let frozen = self.freeze();
        let killed = self.signal_all(libc::SIGKILL);
        self.thaw()?;
        if frozen.is_err() {
            self.signal_all(libc::SIGKILL)?;
        }
        killed
    }

    fn freezer(&self) -> io::Result<Freezer> {
        // v2's freezer lets frozen tasks die and tells by an event when all have stopped.
        if let Some(dir) = self.v2_dir() {
            return Ok(Freezer::V2(dir.to_owned()));
        }
        let v1 = self.v1_dir("freezer").map(|dir| Freezer::V1(dir.to_owned()));
        v1.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this host has no freezer cgroup"))
    }

    /// Stops every process in it; returns when they are stopped.
    pub fn freeze(&self) -> io::Result<()> {
        match self.freezer()? {
            Freezer::V2(dir) => {
                write(&dir, "cgroup.freeze", "1")?;
                wait_frozen(&dir)
            }
            Freezer::V1(dir) => freeze_v1(&dir),
        }
    }

    /// Lets them go on.
    pub fn thaw(&self) -> io::Result<()> {
        let result = match self.freezer() {
            Ok(Freezer::V2(dir)) => write(&dir, "cgroup.freeze", "0"),
            Ok(Freezer::V1(dir)) => write(&dir, "freezer.state", "THAWED"),
            Err(_) => Ok(()),
        };
        match result {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whether its processes are stopped.
    pub fn is_frozen(&self) -> io::Result<bool> {
        match self.freezer()? {
            Freezer::V2(dir) => Ok(keyed(&dir, "cgroup.events", "frozen")? == Some(1)),
            Freezer::V1(dir) => Ok(fs::read_to_string(dir.join("freezer.state"))?.trim() == "FROZEN"),
        }
    }
}

enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

/// How long stopping may take: a task in an uninterruptible sleep may never stop.
const FREEZE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// The kernel notifies of changes of `cgroup.events` by POLLPRI.
fn wait_frozen(dir: &Path) -> io::Result<()> {
    let events = File::open(dir.join("cgroup.events"))?;
    let deadline = std::time::Instant::now() + FREEZE_TIMEOUT;
    loop {
        // Reading arms the notification, so nothing is missed between the two.
        if keyed(dir, "cgroup.events", "frozen")? == Some(1) {
            return Ok(());
        }
        let mut text = [0; 256];
        rustix::io::pread(&events, &mut text[..], 0)?;
        if keyed(dir, "cgroup.events", "frozen")? == Some(1) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            write(dir, "cgroup.freeze", "0")?;
            return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
        }
        let timeout = rustix::event::Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&events, PollFlags::PRI)];
        rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))?;
    }
}

/// v1 has no notification: the state reads FREEZING until all have stopped, and each read makes the
/// kernel look again. Tasks that fork at that moment can keep it there until it is written again.
fn freeze_v1(dir: &Path) -> io::Result<()> {
    let deadline = std::time::Instant::now() + FREEZE_TIMEOUT;
    while std::time::Instant::now() < deadline {
        write(dir, "freezer.state", "FROZEN")?;
        if fs::read_to_string(dir.join("freezer.state"))?.trim() == "FROZEN" {
            return Ok(());
        }
        std::thread::yield_now();
    }
    write(dir, "freezer.state", "THAWED")?;
    Err(io::Error::from_raw_os_error(libc::ETIMEDOUT))
}
