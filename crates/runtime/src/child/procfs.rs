//! Writes to procfs through a mount that only this process has (CVE-2019-19921, CVE-2025-52881):
//! whatever a container mounted or linked over its own `/proc` is out of the way.

use crate::failure::{Failure, OrFail, Result, Stage};
use crate::rootfs::tree;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A detached proc mount of the pid namespace that the process is in.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    pub(crate) fn new() -> Result<Self> {
        tree::new_filesystem("proc", &[]).map(Self).or_fail(Stage::Setup, || "open a procfs")
    }

    /// One that another process has made.
    pub(crate) fn received(mount: OwnedFd) -> Self {
        Self(mount)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Writes to a file of it.
    pub(crate) fn write(&self, path: &str, value: &str) -> io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file = openat2(&self.0, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        rustix::io::write(&file, value.as_bytes())?;
        Ok(())
    }

    /// Sets a kernel parameter, `net.ipv4.ip_forward` or `net/ipv4/conf/eth0.1/forwarding`.
    pub(crate) fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let slashed = name.find(['.', '/']).is_some_and(|at| name.as_bytes()[at] == b'/');
        let path = format!("sys/{}", if slashed { name.to_owned() } else { name.replace('.', "/") });
        self.write(&path, value).or_fail(Stage::Setup, || format!("write sysctl {name}={value}"))
    }

    pub(crate) fn oom_score_adj(&self, score: i32) -> Result<()> {
        let path = format!("{}/oom_score_adj", rustix::process::getpid());
        self.write(&path, &score.to_string()).map_err(|e| {
            let mut failure = Failure::os(Stage::Setup, format!("set oom_score_adj to {score}"), &e);
            if e.kind() == io::ErrorKind::PermissionDenied {
                failure.message.push_str(" (lowering it needs CAP_SYS_RESOURCE, which this host does not grant)");
            }
            failure
        })
    }
}
