//! What runs have of volumes: directories, mounts that are shared, mounts that plugins make.
//!
//! A crash of the daemon loses nothing: the local driver's mounts are held by the shims of the containers that use them
//! (`gantry_runtime::held_mount`), and a plugin is told by the id of the container, so that the next daemon can end
//! what the last one began.

use super::local_mount::{self, HostDirectory};
use crate::Engine;
use crate::container::{Container, Record};
use gantry_model::{Error, Id, Result};
use gantry_plugins::Patience;
use gantry_runtime::held_mount;
use gantry_runtime::spec::MountFlags;
use gantry_volumes::{DriverMount, Volume as Stored};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a run gets a volume from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A directory of the daemon's.
    Directory(PathBuf),
    /// A directory of the host's that an option names, or a plugin has made.
    Host(HostDirectory),
    /// The mount namespace that holds the file system.
    Held(Arc<OwnedFd>),
}

/// The volumes of a run, by name.
pub(crate) type Sources = BTreeMap<String, Source>;

/// The local driver's mounts that are in use.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    held: Mutex<HashMap<String, Arc<Mutex<Held>>>>,
    /// A prune of volumes is on its way.
    pub(super) pruning: AtomicBool,
}

/// One volume's mount. Empty while it is being made.
#[derive(Debug, Default)]
struct Held {
    namespace: Option<Arc<OwnedFd>>,
    users: HashSet<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runs {
    fn entry(&self, name: &str) -> Arc<Mutex<Held>> {
        lock(&self.held).entry(name.to_owned()).or_default().clone()
    }

    /// Mounts it for the first who asks; the others wait and share.
    fn enter(&self, name: &str, user: &str, mount: impl FnOnce() -> Result<OwnedFd>) -> Result<Arc<OwnedFd>> {
        let entry = self.entry(name);
        let mut held = lock(&entry);
        if held.namespace.is_none() {
            match mount() {
                Ok(namespace) => held.namespace = Some(Arc::new(namespace)),
                Err(e) => {
                    drop(held);
                    drop(entry);
                    self.forget_unused(name);
                    return Err(e);
                }
            }
        }
        held.users.insert(user.to_owned());
        // Just set, if it was not.
        held.namespace.clone().ok_or_else(|| Error::internal("a mount that is not there"))
    }

    /// The kernel unmounts it when nobody holds it any more.
    fn leave(&self, name: &str, user: &str) {
        let Some(entry) = lock(&self.held).get(name).cloned() else { return };
        {
            let mut held = lock(&entry);
            held.users.remove(user);
            if held.users.is_empty() {
                held.namespace = None;
            }
        }
        drop(entry);
        self.forget_unused(name);
    }

    /// Whether it is mounted already.
    pub(super) fn in_use(&self, name: &str) -> bool {
        lock(&self.held).contains_key(name)
    }

    fn forget_unused(&self, name: &str) {
        let mut all = lock(&self.held);
        // Nobody else has the entry, so nobody is about to mount it.
        let unused = all.get(name).is_some_and(|e| Arc::strong_count(e) == 1 && lock(e).namespace.is_none());
        if unused {
            all.remove(name);
        }
    }
}

impl Engine {
    /// Makes every volume of a container ready for its run, which `begin` begins; if it fails, they are given back.
    /// Blocks.
    pub(crate) fn with_volumes<T>(&self, record: &Record, begin: impl FnOnce(Sources) -> Result<T>) -> Result<T> {
        let user = record.id.to_string();
        let sources = self.mount_volumes(record, &user)?;
        let begun = begin(sources);
        if begun.is_err() {
            self.handle.block_on(self.unmount_all(&names(record), &user));
        }
        begun
    }

    /// Mounts volumes for a look at a container's files, as long as what is returned lives. Blocks.
    pub(crate) fn volumes_for_view(&self, record: &Record) -> Result<(Sources, Viewing)> {
        let user = format!("view-{}", Id::random());
        let sources = self.mount_volumes(record, &user)?;
        Ok((sources, Viewing { engine: self.arc(), user, names: names(record) }))
    }

    /// All volumes of a container for `user`, or none.
    fn mount_volumes(&self, record: &Record, user: &str) -> Result<Sources> {
        let mut sources = Sources::new();
        for name in names(record) {
            match self.mount_volume(&name, user) {
                Ok(source) => drop(sources.insert(name, source)),
                Err(e) => {
                    self.handle.block_on(self.unmount_all(&sources.into_keys().collect(), user));
                    let mountpoint = self.volumes.mountpoint(&name);
                    return Err(e.context(format!("error while mounting volume '{}'", mountpoint.display())));
                }
            }
        }
        Ok(sources)
    }

    /// Makes one volume ready for `user`. Blocks.
    pub(crate) fn mount_volume(&self, name: &str, user: &str) -> Result<Source> {
        let source = self.mount_as_it_is(name, user)?;
        self.settle_fills(name, &source);
        Ok(source)
    }

    fn mount_as_it_is(&self, name: &str, user: &str) -> Result<Source> {
        let volume = self.volumes.get(name)?;
        if !volume.is_local() {
            let mounted = self.handle.block_on(async {
                let driver = self.volume_driver(&volume.driver, Patience::Long).await?;
                driver.mount(name, user).await.map_err(Error::from)
            });
            let directory =
                |path: String| HostDirectory { path: path.into(), recursive: true, flags: MountFlags::default() };
            return mounted.map(|path| Source::Host(directory(path)));
        }
        let mountpoint = self.volumes.mountpoint(name);
        let Some(mount) = volume.driver_mount() else {
            self.volumes.begin_run(name, user);
            return Ok(Source::Directory(mountpoint));
        };
        if let Some(directory) = local_mount::bind(&mount, &mountpoint)? {
            return Ok(Source::Host(directory));
        }
        let mount = || local_mount::file_system(&mount, &mountpoint, &self.config.exec_root);
        self.volume_runs.enter(name, user, mount).map(Source::Held)
    }

    /// The run of a container is over, or never began.
    pub(crate) async fn unmount_volumes(&self, container: &Container) {
        let (user, names) = {
            let record = container.read();
            (record.id.to_string(), names(&record))
        };
        self.unmount_all(&names, &user).await;
    }

    async fn unmount_all(&self, names: &BTreeSet<String>, user: &str) {
        for name in names {
            self.unmount_volume(name, user).await;
        }
    }

    /// `user` is done with a volume. A plugin that fails is logged, for nobody can act on it.
    pub(crate) async fn unmount_volume(&self, name: &str, user: &str) {
        let Ok(volume) = self.volumes.get(name) else { return };
        if volume.is_local() {
            self.volumes.end_run(name, user);
            return self.volume_runs.leave(name, user);
        }
        let unmounted = async {
            let driver = self.volume_driver(&volume.driver, Patience::Brief).await?;
            driver.unmount(name, user).await.map_err(Error::from)
        };
        if let Err(e) = unmounted.await {
            tracing::warn!("container {user}: unmounting volume {name}: {e}");
        }
    }

    /// A new daemon takes over a run: its directories are in use, its mounts are those that its shim holds.
    pub(crate) fn readopt_volumes(&self, record: &Record, shim: Option<u32>) {
        let user = record.id.to_string();
        for name in names(record) {
            let Ok(volume) = self.volumes.get(&name) else { continue };
            if !is_file_system(&volume) {
                self.volumes.begin_run(&name, &user);
                continue;
            }
            let found =
                self.held_numbers(record).remove(&name).zip(shim).ok_or_else(|| Error::internal("no trace of it"));
            let entered = found.and_then(|(number, pid)| {
                self.volume_runs.enter(&name, &user, || Ok(held_mount::find(pid, number)?)).map(drop)
            });
            if let Err(e) = entered {
                tracing::warn!("container {user}: the mount of volume {name} is not found again: {e}");
            }
        }
    }

    fn held_numbers(&self, record: &Record) -> BTreeMap<String, u64> {
        let file = std::fs::read(self.dirs(&record.id).volumes_file());
        file.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes down, in the run's directory, what [`Self::readopt_volumes`] reads.
    pub(crate) fn note_held_volumes(&self, record: &Record, sources: &Sources) -> Result<()> {
        let mut numbers = BTreeMap::new();
        for (name, source) in sources {
            if let Source::Held(namespace) = source {
                numbers.insert(name.clone(), held_mount::number(namespace.as_fd())?);
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let text = serde_json::to_vec(&numbers).map_err(|e| Error::internal(e.to_string()))?;
        Ok(std::fs::write(self.dirs(&record.id).volumes_file(), text)?)
    }
}

/// Volumes that are mounted so that somebody can look at a container's files.
#[derive(Debug)]
pub(crate) struct Viewing {
    engine: Arc<Engine>,
    user: String,
    names: BTreeSet<String>,
}

impl Drop for Viewing {
    fn drop(&mut self) {
        let (engine, user, names) =
            (self.engine.clone(), std::mem::take(&mut self.user), std::mem::take(&mut self.names));
        // A plugin takes its time.
        self.engine.handle.spawn(async move { engine.unmount_all(&names, &user).await });
    }
}

/// The volumes of a container, each once.
fn names(record: &Record) -> BTreeSet<String> {
    record.mounts.iter().filter(|m| m.r#type == "volume").map(|m| m.name.clone()).collect()
}

pub(super) fn is_file_system(volume: &Stored) -> bool {
    matches!(volume.driver_mount(), Some(DriverMount::Fs { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Result<OwnedFd> {
        Ok(std::fs::File::open("/dev/null")?.into())
    }

    #[test]
    fn mounted_once_and_as_long_as_somebody_uses_it() {
        let runs = Runs::default();
        let first = runs.enter("v", "a", descriptor).unwrap();
        let second = runs.enter("v", "b", || panic!("it is mounted")).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        drop((first, second));
        runs.leave("v", "a");
        assert_eq!(lock(&runs.held).len(), 1);
        runs.leave("v", "b");
        assert!(lock(&runs.held).is_empty());
        assert!(runs.enter("v", "a", || Err(Error::internal("no"))).is_err());
        assert!(lock(&runs.held).is_empty());
    }
}
