//! Volumes, parts of volumes, and images as mounts.
//!
//! Whoever writes to a volume may exchange its directories for links at any moment. So a part of it is found by one
//! look-up that leads nowhere out of the tree, and what was found is what is mounted, not its path.

use super::resolve::Root;
use super::tree;
use crate::spec::Tree;
use crate::{held_mount, overlay};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::fchdir;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A clone of the part, from a tree that is mounted somewhere.
pub(crate) fn take(from: &Tree, subpath: &Path) -> io::Result<OwnedFd> {
    match from {
        Tree::Directory(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let base = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
            tree::clone_tree(part(base, subpath)?.as_fd(), true)
        }
        Tree::Held(namespace) => held_mount::take_by_number(*namespace, |base| {
            let part = part(base, subpath)?;
            tree::clone_tree(part.as_fd(), true)
        }),
        Tree::Layers(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// A detached mount of an image or a part of it. `root` is a mount of the calling process' own, private namespace.
pub(crate) fn of_image(root: &Root, layers: &[PathBuf], subpath: &Path) -> io::Result<OwnedFd> {
    let whole = overlay::mount(layers, None)?;
    if subpath.as_os_str().is_empty() {
        return Ok(whole);
    }
    // Before Linux 6.15 only what is mounted in the caller's namespace can be cloned.
    tree::attach(whole.as_fd(), root.fd())?;
    let cloned = part(whole.try_clone()?, subpath).and_then(|part| tree::clone_tree(part.as_fd(), false));
    detach(whole.as_fd())?;
    cloned
}

/// Mounts it at `place`, which is made, in the calling process' own, private namespace: for a program that can only be
/// given a path.
pub(crate) fn put(from: &Tree, subpath: &Path, place: &Path) -> io::Result<()> {
    let make = |fd: &OwnedFd| -> io::Result<OwnedFd> {
        if FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory {
            fs::create_dir_all(place)?;
        } else {
            fs::create_dir_all(place.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
            fs::File::create_new(place)?;
        }
        Ok(openat2(CWD, place, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
    };
    let Tree::Layers(layers) = from else {
        let taken = take(from, subpath)?;
        return tree::attach(taken.as_fd(), make(&taken)?.as_fd());
    };
    let whole = overlay::mount(layers, None)?;
    if subpath.as_os_str().is_empty() {
        return tree::attach(whole.as_fd(), make(&whole)?.as_fd());
    }
    // Before Linux 6.15 only what is mounted in the caller's namespace can be cloned.
    let beside = place.with_extension("whole");
    fs::create_dir_all(&beside)?;
    let target = openat2(CWD, &beside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    tree::attach(whole.as_fd(), target.as_fd())?;
    let cloned = part(whole.try_clone()?, subpath).and_then(|part| tree::clone_tree(part.as_fd(), false));
    detach(whole.as_fd())?;
    let cloned = cloned?;
    tree::attach(cloned.as_fd(), make(&cloned)?.as_fd())
}

/// The directory or file at `subpath`, wherever links below `base` lead, as long as it is below `base`.
fn part(base: OwnedFd, subpath: &Path) -> io::Result<OwnedFd> {
    if subpath.as_os_str().is_empty() {
        return Ok(base);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(&base, subpath, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // Somebody renames things just now and the kernel could not be sure.
            Err(Errno::AGAIN) => {}
            Err(Errno::XDEV) => return Err(io::Error::other("path concatenation escapes the base directory")),
            opened => return Ok(opened?),
        }
    }
}

fn detach(mount: BorrowedFd<'_>) -> io::Result<()> {
    fchdir(mount)?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// For errors.
pub(crate) fn describe(from: &Tree, subpath: &Path) -> String {
    let base = match from {
        Tree::Directory(path) => path.display().to_string(),
        Tree::Held(_) => "volume".to_owned(),
        Tree::Layers(_) => "image".to_owned(),
    };
    if subpath.as_os_str().is_empty() { base } else { format!("cannot access path {base}/{}", subpath.display()) }
}
