//! The option `size`: a project quota on the volume's directory.

use crate::error::{Result, VolumeError};
use crate::volume::Volume;
use gantry_linux::quota;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Projects below are left to whoever administers the machine by hand.
const FIRST_PROJECT: u32 = 0x4741_0000;

/// Reads a size as Docker does: a number, a unit of 1024s, an optional `b` or `ib`; no unit is bytes.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let unit = unit.trim_start();
    let power = match unit.chars().next() {
        None | Some('b') => 0,
        Some(c) => "kmgtp".find(c)? + 1,
    };
    if !matches!(unit.strip_prefix(['k', 'm', 'g', 't', 'p']).unwrap_or(unit), "" | "b" | "ib") || unit == "ib" {
        return None;
    }
    let value: f64 = number.parse().ok().filter(|value: &f64| value.is_finite())?;
    Some((value * 1024f64.powi(i32::try_from(power).ok()?)) as u64)
}

/// The limit that a volume's options ask for; 0 is none.
pub(crate) fn wanted(volume: &Volume) -> u64 {
    let size = volume.options.as_ref().and_then(|options| options.get("size"));
    size.and_then(|text| parse(text)).unwrap_or(0)
}

/// Limits the tree at `dir`, which is empty, and of which nothing has a project yet. `root` holds all volumes.
pub(crate) fn apply(name: &str, root: &Path, dir: &Path, bytes: u64) -> Result<()> {
    let unsupported = |e: io::Error| {
        tracing::debug!("volume {name}: {e}");
        VolumeError::Option { name: name.to_owned(), reason: "quota size requested but no quota support".to_owned() }
    };
    let limited = || -> io::Result<()> {
        let home = open(dir)?;
        let project = free_project(root)?;
        quota::limit_project(home.as_fd(), project, bytes)?;
        quota::set_project(home.as_fd(), project)?;
        // It was made before its parent had a project to inherit.
        quota::set_project(open(&dir.join("_data"))?.as_fd(), project)
    };
    limited().map_err(unsupported)
}

/// Forgets the limit of a tree that is about to be deleted, so that the number can be used again.
pub(crate) fn lift(dir: &Path) {
    let lifted = || -> io::Result<()> {
        let home = open(dir)?;
        let project = quota::project(home.as_fd())?;
        if project >= FIRST_PROJECT { quota::limit_project(home.as_fd(), project, 0) } else { Ok(()) }
    };
    if let Err(e) = lifted() {
        tracing::debug!("{}: its quota could not be lifted: {e}", dir.display());
    }
}

fn open(dir: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// One more than any volume's here has, whoever made it.
fn free_project(root: &Path) -> io::Result<u32> {
    let mut highest = FIRST_PROJECT;
    for entry in std::fs::read_dir(root)?.flatten() {
        if let Ok(project) = open(&entry.path()).and_then(|dir| quota::project(dir.as_fd())) {
            highest = highest.max(project);
        }
    }
    Ok(highest + 1)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10", 10),
            ("1k", 1024),
            ("2M", 2 << 20),
            ("1.5g", 3 << 29),
            ("1GiB", 1 << 30),
            ("5kb", 5120),
            ("7 m", 7 << 20),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for bad in ["", "m", "1x", "-1", "1ib", "1kk", "k1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
