//! A container's cgroup: made, limited, watched, emptied and removed, on v1, v2 and hybrid hosts.

use crate::failure::Result;
use crate::spec::Resources;
use std::io;
use std::os::fd::OwnedFd;

/// The cgroup hierarchies of the host.
#[derive(Debug, Clone)]
pub struct CgroupRoot {}

/// The cgroup of one container.
#[derive(Debug, Clone)]
pub struct Cgroup {}

impl CgroupRoot {
    /// What `/proc/self/mountinfo` shows.
    pub fn detect() -> io::Result<Self> {
        todo!()
    }

    /// The cgroup at `path` (as in [`crate::spec::Cgroup`]); nothing is made yet.
    pub fn cgroup(&self, path: &str) -> Cgroup {
        let _ = path;
        todo!()
    }
}

impl Cgroup {
    /// Changes limits of a running container.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let _ = resources;
        todo!()
    }

    /// Removes it from every hierarchy; it must be empty of processes. Missing is fine.
    pub fn remove(&self) -> io::Result<()> {
        todo!()
    }

    /// Kills every process in it and below, even if it is frozen or forks meanwhile.
    pub fn kill_all(&self) -> io::Result<()> {
        todo!()
    }

    /// Signals every process in it and below.
    pub fn signal_all(&self, signal: i32) -> io::Result<()> {
        let _ = signal;
        todo!()
    }

    /// Stops every process in it; returns when they are stopped.
    pub fn freeze(&self) -> io::Result<()> {
        todo!()
    }

    /// Lets them go on.
    pub fn thaw(&self) -> io::Result<()> {
        todo!()
    }

    /// How many of its processes the kernel killed for lack of memory.
    pub fn oom_kills(&self) -> io::Result<u64> {
        todo!()
    }

    /// A descriptor that becomes readable when the out-of-memory killer may have struck: read it
    /// (8192 bytes) and ask [`Cgroup::oom_kills`]. `None` without a memory controller.
    pub fn oom_events(&self) -> io::Result<Option<OwnedFd>> {
        todo!()
    }

    /// Pids of every process in it and below.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        todo!()
    }
}
