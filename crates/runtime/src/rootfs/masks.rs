//! Paths that are hidden or read-only.

use super::resolve::Root;
use super::{devices, tree};
use crate::failure::{OrFail, Result, Stage};
use rustix::fs::{FileType, OFlags, fstat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Hides files behind `/dev/null` and directories behind an empty read-only tmpfs.
pub(crate) fn mask(root: &Root, paths: &[PathBuf]) -> Result<()> {
    let mut cover = Covers::default();
    for path in paths {
        cover.mask(root, path).or_fail(Stage::Mount, || format!("mask {}", path.display()))?;
    }
    Ok(())
}

/// Makes paths read-only, with what is mounted below them.
pub(crate) fn make_readonly(root: &Root, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        readonly(root, path).or_fail(Stage::Mount, || format!("make {} read-only", path.display()))?;
    }
    Ok(())
}

/// What does not exist on this kernel needs no mask.
fn existing(root: &Root, path: &Path) -> io::Result<Option<OwnedFd>> {
    match root.open(path, OFlags::PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(e) => Err(e),
    }
}

/// One tmpfs covers all directories: it is empty and stays so.
#[derive(Default)]
struct Covers {
    directory: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

impl Covers {
    fn mask(&mut self, root: &Root, path: &Path) -> io::Result<()> {
        let Some(target) = existing(root, path)? else { return Ok(()) };
        let is_dir = FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Directory;
        let cover = if is_dir { self.directory()? } else { self.file(root)? };
        // Each clone is attached once; the original stays detached.
        let clone = tree::clone_tree(cover.as_fd(), false)?;
        tree::attach(clone.as_fd(), target.as_fd())
    }

    fn directory(&mut self) -> io::Result<&OwnedFd> {
        if self.directory.is_none() {
            let empty = tree::new_filesystem("tmpfs", &["ro", "nr_blocks=1", "nr_inodes=1"])?;
            tree::set_readonly(empty.as_fd(), false)?;
            self.directory = Some(empty);
        }
        self.directory.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, root: &Root) -> io::Result<&OwnedFd> {
        if self.file.is_none() {
            self.file = Some(devices::null(root, OFlags::PATH)?);
        }
        self.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn readonly(root: &Root, path: &Path) -> io::Result<()> {
    let Some(target) = existing(root, path)? else { return Ok(()) };
    let clone = tree::clone_tree(target.as_fd(), true)?;
    tree::set_readonly(clone.as_fd(), false)?;
    tree::attach(clone.as_fd(), target.as_fd())
}
