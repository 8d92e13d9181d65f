//! From root with everything to what the program may be: limits, groups, ids, capabilities, filter.

use super::user::Identity;
use crate::capabilities;
use crate::failure::{Failure, OrFail, Result, Stage, errno_text};
use crate::spec::{Capabilities, ProcessSpec, Rlimit};
use gantry_linux::{process, seccomp};
use rustix::fs::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use std::io;
use std::path::Path;

/// Sets the resource limits.
pub(crate) fn limit(rlimits: &[Rlimit]) -> Result<()> {
    for limit in rlimits {
        process::set_rlimit(limit.resource, limit.soft, limit.hard).map_err(|e| {
            let name = limit.name();
            let mut failure = Failure::os(Stage::Setup, format!("error setting rlimit {name}"), &e);
            if e.raw_os_error() == Some(libc::EPERM) {
                failure
                    .message
                    .push_str(" (raising a hard limit needs CAP_SYS_RESOURCE, which this host does not grant)");
            }
            failure
        })?;
    }
    Ok(())
}

/// Makes room for limits that a process will set later, when it may not raise them any more; 0 is the caller.
pub(crate) fn raise_hard_limits(pid: u32, rlimits: &[Rlimit]) -> Result<()> {
    for limit in rlimits {
        process::raise_hard_rlimit(pid, limit.resource, limit.hard)
            .or_fail(Stage::Setup, || format!("error setting rlimit {}", limit.name()))?;
    }
    Ok(())
}

/// Becomes `identity` with the process' capabilities, in its working directory and under its filter.
///
/// The filter is loaded as late as possible. Without no-new-privileges that takes `CAP_SYS_ADMIN`,
/// so it must happen before capabilities are dropped, and the filter has to allow the rest (Docker's
/// profile does; runc works this way too).
pub(crate) fn assume(process: &ProcessSpec, identity: &Identity, filter: &[u8]) -> Result<()> {
    let filter = (process.seccomp && !filter.is_empty()).then_some(filter);
    if let (Some(filter), false) = (filter, process.no_new_privileges) {
        load(filter)?;
    }
    bound(process.capabilities.bounding)?;
    let entered = enter(&process.cwd);
    set_keep_capabilities(true).or_fail(Stage::Setup, || "keep capabilities")?;
    become_user(identity)?;
    // root may be locked out where the user is not (a FUSE or NFS mount).
    entered.or_else(|_| enter(&process.cwd))?;
    verify_inside()?;
    set_keep_capabilities(false).or_fail(Stage::Setup, || "drop capabilities")?;
    set(process.capabilities)?;
    if process.no_new_privileges {
        set_no_new_privs(true).or_fail(Stage::Setup, || "set no_new_privs")?;
        filter.map_or(Ok(()), load)?;
    }
    Ok(())
}

fn load(filter: &[u8]) -> Result<()> {
    seccomp::load(filter).or_fail(Stage::Setup, || "load the seccomp filter")
}

fn set_of(bits: u64) -> CapabilitySet {
    CapabilitySet::from_bits_retain(bits)
}

/// Drops everything else from the bounding set.
fn bound(keep: u64) -> Result<()> {
    for n in 0..64 {
        if keep & (1 << n) != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(set_of(1 << n)) {
            Ok(()) => {}
            // The kernel's last capability was the one before.
            Err(rustix::io::Errno::INVAL) => break,
            Err(e) => return Err(Failure::os(Stage::Setup, "drop capabilities from the bounding set", &e.into())),
        }
    }
    Ok(())
}

fn become_user(identity: &Identity) -> Result<()> {
    let groups: Vec<Gid> = identity.groups.iter().map(|g| Gid::from_raw(*g)).collect();
    set_thread_groups(&groups).or_fail(Stage::User, || "setgroups")?;
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    set_thread_res_gid(gid, gid, gid).or_fail(Stage::User, || format!("setgid {}", identity.gid))?;
    set_thread_res_uid(uid, uid, uid).or_fail(Stage::User, || format!("setuid {}", identity.uid))
}

fn set(wanted: Capabilities) -> Result<()> {
    let sets = CapabilitySets {
        effective: set_of(wanted.effective),
        permitted: set_of(wanted.permitted),
        inheritable: set_of(wanted.inheritable),
    };
    if let Err(e) = set_capabilities(None, sets) {
        let have = rustix::thread::capabilities(None).map_or(0, |sets| sets.permitted.bits());
        let missing = capabilities::names(wanted.permitted & !have).join(", ");
        let hint = if missing.is_empty() { String::new() } else { format!(" (this host does not grant {missing})") };
        let mut failure = Failure::os(Stage::Setup, "set capabilities", &e.into());
        failure.message.push_str(&hint);
        return Err(failure);
    }
    // EINVAL: a kernel without ambient capabilities has none to clear.
    let _ = clear_ambient_capability_set();
    for n in (0..64).filter(|n| wanted.ambient & (1 << n) != 0) {
        configure_capability_in_ambient_set(set_of(1 << n), true)
            .or_fail(Stage::Setup, || "set ambient capabilities")?;
    }
    Ok(())
}

fn enter(cwd: &Path) -> Result<()> {
    let cwd = if cwd.as_os_str().is_empty() { Path::new("/") } else { cwd };
    rustix::process::chdir(cwd).map_err(|e| {
        let e = io::Error::from(e);
        let message =
            format!("chdir to cwd ({:?}) set in config.json failed: {}", cwd.display().to_string(), errno_text(&e));
        Failure { stage: Stage::WorkingDir, errno: e.raw_os_error().unwrap_or(0), message }
    })
}

/// A working directory outside of the root (by a leaked descriptor, `/proc/self/fd/7`) would be a way
/// out (CVE-2024-21626): the kernel then calls it unreachable.
fn verify_inside() -> Result<()> {
    match rustix::process::getcwd(Vec::new()) {
        Ok(path) if path.as_bytes().starts_with(b"/") => Ok(()),
        Ok(_) | Err(rustix::io::Errno::NOENT) => Err(Failure::new(
            Stage::WorkingDir,
            "current working directory is outside of container mount namespace root -- possible container breakout detected",
        )),
        Err(e) => Err(Failure::os(Stage::WorkingDir, "getcwd", &e.into())),
    }
}
