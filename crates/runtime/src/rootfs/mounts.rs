//! The plan's mounts, in order.

use super::resolve::{Make, Root};
use super::{cgroup_mounts, parts, shifted, tree};
use crate::cgroup::Cgroup;
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::spec::{Mount, MountSource, Namespace, Plan, Tree};
use gantry_linux::process::setns;
use gantry_model::IdMaps;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, openat2};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Takes clones of everything that comes from the host, while the host's tree is still there and
/// its propagation still unchanged (a clone of a shared mount is its peer).
/// Those with ids of the container are mapped to what they are in `user`.
pub(crate) fn take_sources(plan: &Plan, cgroup: &Cgroup, user: Option<BorrowedFd<'_>>) -> Result<Vec<Source>> {
    let mut sources = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        sources.push(match &mount.source {
            MountSource::Bind { path, recursive, .. } => {
                let user = user.filter(|_| mount.shifted);
                Source::Bind(take_bind(path, *recursive, user).or_fail(Stage::Mount, || {
                    format!("error mounting {} to rootfs at {}", path.display(), mount.target.display())
                })?)
            }
            MountSource::Cgroup => {
                let own = plan.namespaces.cgroup != Namespace::Host;
                Source::Cgroup(cgroup_mounts::take(cgroup, own).or_fail(Stage::Mount, || "take the cgroup mounts")?)
            }
            // An image is mounted when nothing that is done here shows on the host any more.
            MountSource::Fs { .. } | MountSource::Part { tree: Tree::Layers(_), .. } => Source::New,
            MountSource::Part { tree, subpath } => {
                let user = user.filter(|_| mount.shifted);
                let taken = take_part(tree, subpath, user);
                Source::Bind(taken.or_fail(Stage::Mount, || parts::describe(tree, subpath))?)
            }
            MountSource::SharedMemoryOf { pid, start_time } => Source::Bind(
                take_shared_memory(*pid, *start_time)
                    .or_fail(Stage::Mount, || "take the other container's /dev/shm")?,
            ),
        });
    }
    Ok(sources)
}

/// Something of the host's, detached.
#[derive(Debug)]
pub(crate) enum Source {
    Bind(OwnedFd),
    Cgroup(cgroup_mounts::Sources),
    New,
}

fn take_bind(path: &Path, recursive: bool, user: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    // A magic link (`/proc/self/fd/3`) would name something else than the path says.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let fd = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let taken = tree::clone_tree(fd.as_fd(), recursive)?;
    if let Some(user) = user {
        shifted::map(taken.as_fd(), user)?;
    }
    Ok(taken)
}

fn take_part(from: &Tree, subpath: &Path, user: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let taken = parts::take(from, subpath)?;
    if let Some(user) = user {
        shifted::map(taken.as_fd(), user)?;
    }
    Ok(taken)
}

/// A clone of another container's `/dev/shm`, which only a member of its mount namespace can make. The
/// process comes back to its own namespace, and with it to that namespace's root.
fn take_shared_memory(pid: u32, start_time: u64) -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/mnt")?;
    let theirs = File::open(format!("/proc/{pid}/ns/mnt"))?;
    // The descriptor first, then the check that it is of the process that is meant.
    if crate::container::start_time(pid)? != start_time {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    setns(theirs.as_fd(), libc::CLONE_NEWNS)?;
    // That root is the other container's: a link there must not choose what is shared.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let taken = openat2(CWD, "/dev/shm", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        .map_err(io::Error::from)
        .and_then(|fd| tree::clone_tree(fd.as_fd(), false));
    setns(own.as_fd(), libc::CLONE_NEWNS)?;
    taken
}

/// Attaches every mount below the root.
pub(crate) fn attach_all(root: &Root, plan: &Plan, sources: Vec<Source>) -> Result<()> {
    for (mount, source) in plan.mounts.iter().zip(sources) {
        attach(root, mount, source, plan).map_err(|e| failure(mount, &e))?;
    }
    Ok(())
}

fn failure(mount: &Mount, error: &io::Error) -> Failure {
    let target = mount.target.display().to_string();
    let what = match &mount.source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Fs { kind, .. } => kind.clone(),
        MountSource::Cgroup => "cgroup".to_owned(),
        MountSource::SharedMemoryOf { .. } => "/dev/shm".to_owned(),
        MountSource::Part { tree, subpath } => parts::describe(tree, subpath),
    };
    let mut failure = Failure::os(Stage::Mount, format!("error mounting {what:?} to rootfs at {target:?}"), error);
    if error.raw_os_error() == Some(libc::ENOTDIR) {
        failure.message.push_str(
            ": Are you trying to mount a directory onto a file (or vice-versa)? \
             Check if the specified host path exists and is the expected type",
        );
    }
    failure
}

fn attach(root: &Root, mount: &Mount, source: Source, plan: &Plan) -> io::Result<()> {
    match (source, &mount.source) {
        (Source::Bind(tree), MountSource::Bind { recursive_readonly, .. }) => {
            bind(root, mount, &tree, *recursive_readonly)
        }
        (Source::Bind(tree), MountSource::SharedMemoryOf { .. }) => bind(root, mount, &tree, false),
        (Source::Bind(tree), MountSource::Part { .. }) => bind(root, mount, &tree, mount.flags.readonly),
        (_, MountSource::Part { tree: Tree::Layers(layers), subpath }) => {
            bind(root, mount, &parts::of_image(root, layers, subpath)?, true)
        }
        (Source::Cgroup(sources), _) => cgroup_mounts::attach(root, mount, sources),
        (_, MountSource::Fs { kind, options }) => filesystem(root, mount, kind, options, plan),
        // `take_sources` makes a source of the mount's own kind.
        (Source::Bind(_) | Source::New, _) => Ok(()),
    }
}

/// Shows a file or directory of the host's below the root.
pub(crate) fn attach_bind(root: &Root, mount: &Mount, user: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let user = user.filter(|_| mount.shifted);
    match &mount.source {
        MountSource::Bind { path, recursive, recursive_readonly } => {
            bind(root, mount, &take_bind(path, *recursive, user)?, *recursive_readonly)
        }
        MountSource::Part { tree: Tree::Layers(layers), subpath } => {
            bind(root, mount, &parts::of_image(root, layers, subpath)?, true)
        }
        MountSource::Part { tree, subpath } => {
            bind(root, mount, &take_part(tree, subpath, user)?, mount.flags.readonly)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn bind(root: &Root, mount: &Mount, source: &OwnedFd, recursive_readonly: bool) -> io::Result<()> {
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(source)?.st_mode) == FileType::Directory;
    let target = root.ensure(&mount.target, if is_dir { Make::Directory } else { Make::File })?;
    refuse_in_proc(&mount.target, source.as_fd(), target.as_fd())?;
    tree::set_flags(source.as_fd(), mount.flags, recursive_readonly)?;
    tree::attach(source.as_fd(), target.as_fd())?;
    // After attaching: a peer of a shared mount below becomes private only as part of this tree.
    tree::set_propagation(source.as_fd(), mount.propagation)
}

fn filesystem(root: &Root, mount: &Mount, kind: &str, options: &[String], plan: &Plan) -> io::Result<()> {
    let ids = plan.user_namespace.as_ref().map(|user| &user.ids);
    let covers = root.open(&mount.target, OFlags::PATH | OFlags::DIRECTORY).is_ok();
    let target = if matches!(kind, "proc" | "sysfs") {
        // Whoever decides where /proc is decides what label and sysctl writes mean (CVE-2019-19921):
        // it must be a real directory, reached without a link.
        root.ensure(&mount.target, Make::Directory)?;
        root.open_without_links(&mount.target, OFlags::PATH | OFlags::DIRECTORY)?
    } else {
        root.ensure(&mount.target, Make::Directory)?
    };
    let mut all: Vec<&str> = Vec::with_capacity(options.len() + 1);
    let mode;
    if kind == "tmpfs" && covers && !options.iter().any(|o| o.starts_with("mode=")) {
        // A tmpfs keeps the mode of the directory it covers (/home stays 755); where there was none everybody may
        // write, as the kernel has it.
        mode = format!("mode={:o}", rustix::fs::fstat(&target)?.st_mode & 0o7777);
        all.push(&mode);
    }
    let mapped;
    match ids.filter(|_| matches!(kind, "tmpfs" | "devpts")) {
        Some(ids) => {
            mapped = map_owners(ids, options)?;
            all.extend(mapped.iter().map(String::as_str));
        }
        None => all.extend(options.iter().map(String::as_str)),
    }
    let label = plan.mount_label.as_deref();
    let context = label.filter(|_| matches!(kind, "tmpfs" | "devpts")).map(|label| format!("context={label}"));
    all.extend(context.as_deref());
    let new = tree::new_filesystem(kind, &all)?;
    if let Some(label) = label.filter(|_| kind == "mqueue") {
        // It takes no such option.
        let root = rustix::fs::openat(&new, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::fsetxattr(&root, "security.selinux", label.as_bytes(), rustix::fs::XattrFlags::empty())?;
    }
    let own_ipc = plan.namespaces.ipc != Namespace::Host;
    if let Some((uid, gid)) = ids.filter(|_| kind == "mqueue" && own_ipc).and_then(IdMaps::root) {
        // It was made with the namespace, by somebody who was nobody there yet.
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(&new, "", uid, gid, AtFlags::EMPTY_PATH)?;
    }
    tree::set_flags(new.as_fd(), mount.flags, false)?;
    tree::attach(new.as_fd(), target.as_fd())?;
    tree::set_propagation(new.as_fd(), mount.propagation)
}

/// The host reads `uid=` and `gid=` as its own ids, but they are the container's.
fn map_owners(ids: &IdMaps, options: &[String]) -> io::Result<Vec<String>> {
    let one = |option: &String| {
        let (key, map) = match option.split_once('=') {
            Some((key @ "uid", value)) => (key, ids.uids.to_host(value.parse().ok()?)),
            Some((key @ "gid", value)) => (key, ids.gids.to_host(value.parse().ok()?)),
            _ => return Some(option.clone()),
        };
        map.map(|id| format!("{key}={id}"))
    };
    let mapped = options
        .iter()
        .map(|option| one(option).ok_or_else(|| io::Error::other(format!("{option} is not in the user namespace"))));
    mapped.collect()
}

/// Files of `/proc` that may be covered: programs like lxcfs make them say what the container may use.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// A mount in `/proc` could make label, sysctl and masking writes miss their aim (CVE-2019-16884). What
/// counts is where the path has led, not what it says; and only a procfs may stand in for `/proc` itself.
fn refuse_in_proc(path: &Path, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    let is_proc = |fd| Ok::<_, io::Error>(rustix::fs::fstatfs(fd)?.f_type == rustix::fs::PROC_SUPER_MAGIC);
    if path == Path::new("/proc") && is_proc(source)? {
        return Ok(());
    }
    if (path.starts_with("/proc") || is_proc(target)?) && !COVERABLE.iter().any(|known| path == Path::new(known)) {
        return Err(io::Error::other(format!("\"{}\" cannot be mounted because it is inside /proc", path.display())));
    }
    Ok(())
}

/// Makes the root itself read-only (`ReadonlyRootfs`), once everything in it is made.
pub(crate) fn finish_root(root: &Root, readonly: bool) -> Result<()> {
    if readonly {
        tree::set_readonly(root.fd(), false).or_fail(Stage::Mount, || "make the root file system read-only")?;
    }
    Ok(())
}
