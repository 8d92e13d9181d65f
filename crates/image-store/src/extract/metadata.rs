//! Owners, modes, times and extended attributes.

use super::{ExtractError, dirs::Place};
use crate::tar::{Entry, Time};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{
        AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, futimens,
        lsetxattr, setxattr, utimensat,
    },
    io::Errno,
};

/// Marks of overlayfs itself; an archive that could set them could uncover or redirect what lies below.
const OVERLAY_MARKS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// The metadata of a directory, applied when nothing changes inside it any more.
pub(super) struct Late {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: Time,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Late {
    pub(super) fn of(entry: &mut Entry) -> Self {
        let xattrs = std::mem::take(&mut entry.xattrs);
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs }
    }

    /// Memory that is held until the end.
    pub(super) fn cost(&self) -> usize {
        self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    pub(super) fn apply(&self, directory: BorrowedFd<'_>, path: &[u8]) -> Result<(), ExtractError> {
        let fail = |what| move |e| ExtractError::system(what, path, e);
        fchown(directory, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
            .map_err(fail("change owner of"))?;
        fchmod(directory, Mode::from_raw_mode(self.mode)).map_err(fail("change mode of"))?;
        set_xattrs(&self.xattrs, path, |name, value| fsetxattr(directory, name, value, XattrFlags::empty()))?;
        futimens(directory, &timestamps(self.mtime)).map_err(fail("set times of"))
    }
}

/// Finishes a regular file that was created with the permission bits of its entry.
pub(super) fn finish_file(file: BorrowedFd<'_>, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
    let fail = |what| move |e| ExtractError::system(what, path, e);
    if entry.uid != 0 || entry.gid != 0 {
        fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
            .map_err(fail("change owner of"))?;
    }
    // After the owner: a change of owner takes the setuid bit and file capabilities away.
    if entry.mode & 0o7000 != 0 {
        fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(fail("change mode of"))?;
    }
    set_xattrs(&entry.xattrs, path, |name, value| fsetxattr(file, name, value, XattrFlags::empty()))?;
    futimens(file, &timestamps(entry.mtime)).map_err(fail("set times of"))
}

/// Finishes a link, device or pipe, which must not be opened.
pub(super) fn finish_node(place: &Place<'_>, entry: &Entry) -> Result<(), ExtractError> {
    let fail = |what| move |e| ExtractError::system(what, place.path, e);
    let (uid, gid) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
    chownat(place.parent(), place.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(fail("change owner of"))?;
    if !entry.xattrs.is_empty() {
        // There is no setxattrat before Linux 6.13. The descriptor pins the directory, and lsetxattr does not follow
        // the last component.
        let prefix = format!("/proc/self/fd/{}/", place.parent().as_raw_fd());
        let path = [prefix.as_bytes(), place.name].concat();
        set_xattrs(&entry.xattrs, place.path, |name, value| {
            lsetxattr(path.as_slice(), name, value, XattrFlags::empty())
        })?;
    }
    utimensat(place.parent(), place.name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(fail("set times of"))
}

/// Finishes a link, device or pipe by an `O_PATH` descriptor of it.
pub(super) fn finish_object(object: &OwnedFd, entry: &Entry, path: &[u8]) -> Result<(), ExtractError> {
    let fail = |what| move |e| ExtractError::system(what, path, e);
    let (uid, gid) = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
    chownat(object, c"", uid, gid, AtFlags::EMPTY_PATH).map_err(fail("change owner of"))?;
    // A name of our own that leads to exactly this object, even to a link.
    let magic = format!("/proc/self/fd/{}", object.as_raw_fd());
    set_xattrs(&entry.xattrs, path, |name, value| setxattr(&magic, name, value, XattrFlags::empty()))?;
    utimensat(CWD, &magic, &timestamps(entry.mtime), AtFlags::empty()).map_err(fail("set times of"))
}

/// Sets the times of a directory.
pub(super) fn set_modified(directory: BorrowedFd<'_>, mtime: Time) -> Result<(), Errno> {
    futimens(directory, &timestamps(mtime))
}

/// Makes overlayfs hide what the layers below have in this directory.
pub(super) fn make_opaque(directory: impl AsFd, path: &[u8]) -> Result<(), ExtractError> {
    fsetxattr(directory, c"trusted.overlay.opaque", b"y", XattrFlags::empty())
        .map_err(|e| ExtractError::system("mark as opaque", path, e))
}

fn set_xattrs(
    xattrs: &[(Vec<u8>, Vec<u8>)],
    path: &[u8],
    mut set: impl FnMut(&[u8], &[u8]) -> Result<(), Errno>,
) -> Result<(), ExtractError> {
    for (name, value) in xattrs {
        if OVERLAY_MARKS.iter().any(|mark| name.starts_with(mark)) {
            continue;
        }
        match set(name, value) {
            // Like Docker: an attribute that this file system or these privileges do not allow is left out.
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(e) => return Err(ExtractError::system("set extended attributes of", path, e)),
        }
    }
    Ok(())
}

fn timestamps(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
