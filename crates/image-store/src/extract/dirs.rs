//! Directories of a layer, opened beneath its root and kept open while they are in use.

use super::{ExtractError, names};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2},
    io::Errno,
};
use std::{collections::HashMap, rc::Rc};

/// Open directories that are kept. Archives visit a directory's entries together, so few are enough.
const KEPT: usize = 64;

/// A name in an open directory: all that is needed to create it without resolving anything again.
pub(super) struct Place<'p> {
    pub(super) parent: Rc<OwnedFd>,
    pub(super) name: &'p [u8],
    /// The whole cleaned path, for messages and book-keeping.
    pub(super) path: &'p [u8],
}

impl Place<'_> {
    pub(super) fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }
}

pub(super) struct Dirs {
    root: Rc<OwnedFd>,
    kept: HashMap<Vec<u8>, Rc<OwnedFd>>,
}

impl Dirs {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Rc::new(root), kept: HashMap::new() }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The place of a cleaned path that is not the root; directories that the archive left out are made.
    pub(super) fn place<'p>(&mut self, path: &'p [u8]) -> Result<Place<'p>, ExtractError> {
        let (parent, name) = names::split(path);
        let parent = match self.existing(parent) {
            Err(Errno::NOENT) => self.make(parent)?,
            opened => opened.map_err(|e| ExtractError::system("open", parent, e))?,
        };
        Ok(Place { parent, name, path })
    }

    /// The place of a path whose directory must be there.
    pub(super) fn existing_place<'p>(&mut self, path: &'p [u8]) -> Result<Place<'p>, Errno> {
        let (parent, name) = names::split(path);
        Ok(Place { parent: self.existing(parent)?, name, path })
    }

    /// A directory opened for reading, to change its metadata.
    pub(super) fn readable(&self, path: &[u8]) -> Result<OwnedFd, ExtractError> {
        self.open(path, OFlags::RDONLY).map_err(|e| ExtractError::system("open", path, e))
    }

    /// Forgets every open directory, because one is about to go away.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    fn existing(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(kept) = self.kept.get(path) {
            return Ok(kept.clone());
        }
        let opened = Rc::new(self.open(path, OFlags::PATH)?);
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(path.to_vec(), opened.clone());
        Ok(opened)
    }

    fn open(&self, path: &[u8], access: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = access | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        loop {
            match openat2(&*self.root, path, flags, Mode::empty(), resolve) {
                // The kernel could not rule out a race with a rename elsewhere on the machine.
                Err(Errno::AGAIN | Errno::INTR) => {}
                done => return done,
            }
        }
    }

    fn make(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, ExtractError> {
        make_each(self.root.clone(), path, |prefix| self.existing(prefix))
    }
}

/// Makes a directory and its parents, each beneath the one before. `existing` opens what is there.
pub(super) fn make_each(
    root: Rc<OwnedFd>,
    path: &[u8],
    mut existing: impl FnMut(&[u8]) -> Result<Rc<OwnedFd>, Errno>,
) -> Result<Rc<OwnedFd>, ExtractError> {
    let mut made = root;
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let prefix = &path[..end];
        made = match existing(prefix) {
            Err(Errno::NOENT) => {
                let (_, name) = names::split(prefix);
                mkdirat(&*made, name, Mode::from_raw_mode(0o755))
                    .map_err(|e| ExtractError::system("make directory", prefix, e))?;
                existing(prefix)
            }
            found => found,
        }
        .map_err(|e| ExtractError::system("open", prefix, e))?;
    }
    Ok(made)
}
