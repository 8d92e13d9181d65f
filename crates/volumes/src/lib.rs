//! Named and anonymous volumes: Docker's `local` driver, and who uses which volume.
//!
//! A volume is a directory `<data-root>/volumes/<name>/_data` and a row in the state file. Names
//! that begin with a dot are volumes on their way in or out; [`Volumes::open`] finishes or undoes
//! what a crash interrupted:
//!
//! | directory | row | meaning |
//! |---|---|---|
//! | `.new-<name>` | yes | made; the last rename is missing |
//! | `.new-<name>` | no | never acknowledged; deleted |
//! | `.old-<name>` | yes | the removal was never acknowledged; put back |
//! | `.old-<name>` | no | removed; the rest is deleted |
//! | `<name>` | no | data of another engine (or an older copy of the state file): adopted |
//!
//! A volume of a plugin is a row alone. `<name>/_fill` is the copy of an image's files that is about to become
//! `_data`; `<name>/_full` is a copy whose entries are about to be moved into a `_data` that a container uses. Fills of
//! what is mounted have rows of their own (`fills.rs`) and are settled by the next who mounts the volume.
//!
//! The calls block on the file system and, where the text says so, on an fsync.

mod copy;
mod error;
mod fills;
mod options;
mod quota;
mod recover;
mod size;
mod staging;
mod uses;
mod volume;
mod volumes;

pub use copy::copy_tree;
pub use error::{Result, VolumeError};
pub use fills::{Turn, Unfinished};
pub use options::{DriverMount, VOLUME_DRIVER, check_name};
pub use size::{tree_size, tree_sizes};
pub use uses::Pin;
pub use volume::Volume;
pub use volumes::{Claim, Claimed, CreateRequest, Leaving, Staged, Volumes};
