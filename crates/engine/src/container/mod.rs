//! A container in memory, and the registry that finds it.

pub mod record;
pub mod registry;

pub use record::{Record, State};
pub use registry::Registry;

use gantry_model::Id;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::watch;

use crate::shim::ShimLink;

/// A container.
///
/// `record` is the truth that clients see; it is locked for moments only, never across an await.
/// `verbs` serialises the lifecycle verbs (start, stop, remove, …), which take time.
#[derive(Debug)]
pub struct Container {
    /// The id, which never changes.
    pub id: Id,
    record: RwLock<Record>,
    /// Held while a lifecycle verb runs.
    pub verbs: tokio::sync::Mutex<()>,
    /// The connection to the shim while there is one.
    pub link: RwLock<Option<Arc<ShimLink>>>,
    /// Counts up at every change of state; waiters watch it.
    pub changed: watch::Sender<u64>,
    /// A pending restart by policy; notified to cancel it.
    pub restart_cancel: tokio::sync::Notify,
}

impl Container {
    /// Wraps a record.
    pub fn new(record: Record) -> Self {
        Self {
            id: record.id,
            record: RwLock::new(record),
            verbs: tokio::sync::Mutex::new(()),
            link: RwLock::new(None),
            changed: watch::channel(0).0,
            restart_cancel: tokio::sync::Notify::new(),
        }
    }

    /// The record, for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Record> {
        self.record.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The record, for changing; call [`Container::announce`] after a change of state.
    pub fn write(&self) -> RwLockWriteGuard<'_, Record> {
        self.record.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Wakes who waits for a change of state.
    pub fn announce(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// The connection to the running shim.
    pub fn shim(&self) -> Option<Arc<ShimLink>> {
        self.link.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Sets or clears the connection.
    pub fn set_shim(&self, link: Option<Arc<ShimLink>>) {
        *self.link.write().unwrap_or_else(std::sync::PoisonError::into_inner) = link;
    }
}

/// Where a container keeps its files.
#[derive(Debug, Clone)]
pub struct Dirs {
    data: PathBuf,
    exec: PathBuf,
}

impl Dirs {
    /// Of container `id`.
    pub fn new(data_root: &Path, exec_root: &Path, id: &Id) -> Self {
        let id = id.to_string();
        Self { data: data_root.join("containers").join(&id), exec: exec_root.join("containers").join(&id) }
    }

    /// `<data-root>/containers/<id>`: everything that survives a reboot.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `<exec-root>/containers/<id>`: socket, state and exit file of a run.
    pub fn exec(&self) -> &Path {
        &self.exec
    }

    /// The writable layer.
    pub fn upper(&self) -> PathBuf {
        self.data.join("rw/diff")
    }

    /// overlayfs' work directory.
    pub fn work(&self) -> PathBuf {
        self.data.join("rw/work")
    }

    /// Mount point of the root, used only inside the container's own mount namespace.
    pub fn merged(&self) -> PathBuf {
        self.data.join("rw/merged")
    }

    /// `<id>-json.log`.
    pub fn log(&self, id: &Id) -> PathBuf {
        self.data.join(format!("{id}-json.log"))
    }

    /// `/etc/hosts` of the container.
    pub fn hosts(&self) -> PathBuf {
        self.data.join("hosts")
    }

    /// `/etc/hostname` of the container.
    pub fn hostname(&self) -> PathBuf {
        self.data.join("hostname")
    }

    /// `/etc/resolv.conf` of the container.
    pub fn resolv_conf(&self) -> PathBuf {
        self.data.join("resolv.conf")
    }
}
