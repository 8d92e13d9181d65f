//! Who uses a volume: creations of containers, runs, copies of an image's files.

use crate::copy::open_dir;
use crate::error::{Result, VolumeError};
use crate::staging::Stage;
use crate::volumes::Volumes;
use rustix::fs::CWD;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::PoisonError;

/// The directory, beside `_data`, in which a copy of an image's files grows.
const FILL: &str = "_fill";

/// The same when the copy is whole and its entries are on their way into a `_data` that a container uses.
const FULL: &str = "_full";

/// By volume. Nothing of it is kept: runs are found again.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// Names that are being filled from an image.
    pub(crate) filling: HashSet<String>,
    /// Creations of containers that are going to use a volume and are not in the registry yet.
    pins: HashMap<String, usize>,
    /// Runs that may have a volume's directory mounted.
    runs: BTreeMap<String, HashSet<String>>,
}

impl Uses {
    pub(crate) fn is_pinned(&self, name: &str) -> bool {
        self.pins.contains_key(name)
    }
}

/// Keeps a volume from being removed while a container that will use it is created.
#[derive(Debug)]
pub struct Pin {
    volumes: Volumes,
    name: String,
}

impl Volumes {
    /// Keeps `name` from being removed until the pin is dropped.
    pub fn pin(&self, name: &str) -> Result<Pin> {
        let mut index = self.lock();
        if !index.has(name) {
            return Err(VolumeError::NotFound(name.to_owned()));
        }
        *index.uses.pins.entry(name.to_owned()).or_default() += 1;
        Ok(Pin { volumes: self.clone(), name: name.to_owned() })
    }

    /// `user` is going to mount the volume's directory: from now on it is not exchanged. Waits for a copy that has begun.
    pub fn begin_run(&self, name: &str, user: &str) {
        let mut index = self.lock();
        while index.uses.filling.contains(name) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        index.uses.runs.entry(name.to_owned()).or_default().insert(user.to_owned());
    }

    /// `user` has it mounted no more.
    pub fn end_run(&self, name: &str, user: &str) {
        let mut index = self.lock();
        if let Some(users) = index.uses.runs.get_mut(name) {
            users.remove(user);
            if users.is_empty() {
                index.uses.runs.remove(name);
            }
        }
    }

    /// Runs `copy` for the data directory of `name` if it is empty; one caller at a time for a volume. The caller pins
    /// the volume. A copy that fails or that a crash interrupts was never there. The directory is exchanged for a full
    /// one, unless a container runs on it: then the copy is moved into it when it is whole.
    pub fn fill_if_empty(&self, name: &str, copy: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let _turn = self.turn_to_fill(name);
        let running = self.lock().uses.runs.contains_key(name);
        let data = self.mountpoint(name);
        let filled = if running { fill_in_place(&data, copy) } else { fill_aside(&data, copy) };
        filled.map_err(VolumeError::io(name, "copy the image's files"))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut index = self.volumes.lock();
        if let Some(count) = index.uses.pins.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                index.uses.pins.remove(&self.name);
            }
        }
    }
}

fn is_empty(dir: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(dir)?.next().is_none())
}

/// A rename takes the place of a directory only if that is empty.
fn fill_aside(data: &Path, copy: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if !is_empty(data)? {
        return Ok(());
    }
    let aside = data.with_file_name(FILL);
    let clear = || match fs::remove_dir_all(&aside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    clear()?;
    fs::create_dir(&aside)?;
    // As the empty directory was, if the copy does not say otherwise.
    fs::set_permissions(&aside, fs::metadata(data)?.permissions())?;
    let filled = copy(&aside).and_then(|()| match fs::rename(&aside, data) {
        // Somebody on the host was quicker; what he wrote stays.
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => clear(),
        renamed => renamed,
    });
    if filled.is_err() {
        clear()?;
    }
    filled
}

/// For a directory that is in use.
fn fill_in_place(data: &Path, copy: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    if !is_empty(data)? {
        return Ok(());
    }
    let home = open_dir(CWD, data.parent().unwrap_or(data))?;
    let to = open_dir(CWD, data)?;
    Stage { parent: home.as_fd(), growing: FILL, whole: FULL }.fill(to.as_fd(), |_| copy(&data.with_file_name(FILL)))
}

/// Finishes or undoes a fill that a crash has cut short. `home` is the volume's directory.
pub(crate) fn settle(home: &Path) -> io::Result<()> {
    if !home.join(FILL).exists() && !home.join(FULL).exists() {
        return Ok(());
    }
    let (parent, to) = (open_dir(CWD, home)?, open_dir(CWD, home.join("_data"))?);
    Stage { parent: parent.as_fd(), growing: FILL, whole: FULL }.settle(to.as_fd())
}
