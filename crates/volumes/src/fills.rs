//! Fills of what is mounted: volumes of plugins and of the local driver's options, and parts of volumes. Only who has
//! it mounted can finish or undo one, so each has a row from before it begins until it is over.

use crate::error::{Result, VolumeError};
use crate::staging::Stage;
use crate::volumes::Volumes;
use gantry_model::Id;
use gantry_state_db::{Batch, Table};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::PoisonError;

/// The rows, by an id of their own.
pub(crate) const FILLS: Table<Unfinished> = Table::new("volume_fills");

/// A fill that may have been cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    id: String,
    volume: String,
    /// The part of the volume that it fills; empty for all of it.
    pub subpath: String,
}

/// The right to fill a volume, which one has at a time.
#[derive(Debug)]
pub struct Turn {
    volumes: Volumes,
    name: String,
}

impl Unfinished {
    fn names(&self) -> [String; 2] {
        [format!(".gantry-fill-{}", self.id), format!(".gantry-full-{}", self.id)]
    }

    /// Finishes or undoes it in `to`, the directory that it fills.
    pub fn settle(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        let [growing, whole] = &self.names();
        Stage { parent: to, growing, whole }.settle(to)
    }
}

impl Volumes {
    /// Waits until nobody else fills the volume.
    pub fn turn_to_fill(&self, name: &str) -> Turn {
        let mut index = self.lock();
        while !index.uses.filling.insert(name.to_owned()) {
            index = self.0.settled.wait(index).unwrap_or_else(PoisonError::into_inner);
        }
        drop(index);
        Turn { volumes: self.clone(), name: name.to_owned() }
    }

    /// What earlier daemons have begun in this volume and not finished.
    pub fn unfinished_fills(&self, name: &str) -> Vec<Unfinished> {
        self.lock().unfinished.iter().filter(|fill| fill.volume == name).cloned().collect()
    }

    /// Volumes that have such.
    pub fn volumes_with_unfinished_fills(&self) -> BTreeSet<String> {
        self.lock().unfinished.iter().map(|fill| fill.volume.clone()).collect()
    }

    /// It is finished or undone, or its volume is no more.
    pub fn fill_is_settled(&self, fill: &Unfinished) -> Result<()> {
        self.0.db.commit(Batch::new().delete(FILLS, &fill.id))?;
        self.lock().unfinished.retain(|other| other.id != fill.id);
        Ok(())
    }
}

impl Turn {
    /// Fills the empty directory `to`, which is the volume's root or the part of it at `subpath`: with all that `copy`
    /// writes, or with nothing.
    pub fn fill(
        &self,
        to: BorrowedFd<'_>,
        subpath: &str,
        copy: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<()> {
        let fill = Unfinished { id: Id::random().to_string(), volume: self.name.clone(), subpath: subpath.to_owned() };
        self.volumes.0.db.commit(Batch::new().put(FILLS, &fill.id, &fill)?)?;
        let [growing, whole] = &fill.names();
        let stage = Stage { parent: to, growing, whole };
        if let Err(e) = stage.fill(to, copy) {
            // What it cannot undo now is the next one's, who has the volume mounted.
            match stage.settle(to) {
                Ok(()) => self.volumes.fill_is_settled(&fill)?,
                Err(_) => self.volumes.lock().unfinished.push(fill),
            }
            return Err(VolumeError::io(&self.name, "copy the image's files")(e));
        }
        self.volumes.fill_is_settled(&fill)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.volumes.lock().uses.filling.remove(&self.name);
        self.volumes.0.settled.notify_all();
    }
}
