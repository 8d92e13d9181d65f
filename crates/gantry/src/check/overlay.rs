//! overlayfs, tried with a detached mount where images would be.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use super::Finding;
use crate::settings::DEFAULT_DATA_ROOT;

pub(super) fn look() -> Finding {
    let Some(place) = place() else {
        return Finding::absent("overlayfs", "could not be tried: no place to write");
    };
    let tried = attempt(&place);
    // Only what was made here; a leftover would be a directory of empty directories in a temporary place.
    let _ = fs::remove_dir_all(&place);
    match tried {
        Ok(true) => Finding::present("overlayfs", "with any number of layers (lowerdir+)"),
        // The names of all layers then go through one string of 255 bytes.
        Ok(false) => {
            Finding::absent("overlayfs lowerdir+", "images of more than about fifteen layers do not start (Linux 6.5)")
        }
        Err(error) => {
            let parent = place.parent().unwrap_or(Path::new("/")).display();
            Finding::fatal("overlayfs", format!("images cannot be mounted on {parent}: {error}"))
        }
    }
}

/// The file system that matters is the data-root's; before the first start, its parent's.
fn place() -> Option<PathBuf> {
    [DEFAULT_DATA_ROOT, "/var/lib", "/var/tmp", "/tmp"].iter().find_map(|parent| {
        let place = Path::new(parent).join(format!(".gantry-check-{}", std::process::id()));
        fs::create_dir(&place).ok().map(|()| place)
    })
}

/// Whether overlayfs takes layers one by one; an error if it does not work here at all.
fn attempt(place: &Path) -> Result<bool, Errno> {
    let dir = |name: &str| -> Result<PathBuf, Errno> {
        let path = place.join(name);
        fs::create_dir(&path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok(path)
    };
    let (lower, upper, work) = (dir("lower")?, dir("upper")?, dir("work")?);
    let modern = {
        let context = overlay()?;
        fsconfig_set_string(&context, "lowerdir+", &lower).is_ok()
    };
    let context = overlay()?;
    fsconfig_set_string(&context, "lowerdir", &lower)?;
    fsconfig_set_string(&context, "upperdir", &upper)?;
    fsconfig_set_string(&context, "workdir", &work)?;
    fsconfig_create(&context)?;
    // Detached: it goes when the descriptor does.
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    Ok(modern)
}

fn overlay() -> Result<OwnedFd, Errno> {
    fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
}
