//! `RUN --mount`: files of others, caches and memory for one command.
//!
//! What is shown of a context, a stage or an image is a copy of the build's own: nothing of it can lead out, and what a
//! command writes there is gone with it. The places that the mounts need in the container's layer go, too.

use super::backend::{Builder, open_layer};
use super::copy;
use super::scratch::Scratch;
use crate::blocking;
use crate::own_layer::OwnLayer;
use gantry_api_types::{BindOptions, Mount};
use gantry_image_builder::dockerfile::{CacheMount, CacheSharing};
use gantry_image_builder::{FilesOf, MountOf, RunAction, RunMount, SCRIPTS, digest, select};
use gantry_model::error::Context;
use gantry_model::{Error, Id, Result};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, DirBuilder, Permissions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// In a cache's directory: what it is called; written once, so its time is the cache's.
pub(super) const ID: &str = "id";
/// In a cache's directory: a byte for each command that began to use the cache; so its time is that of the last one.
pub(super) const USED: &str = "used";

/// The mounts of one command.
#[derive(Default)]
pub(super) struct Mounts {
    wanted: Vec<Mount>,
    tmpfs: BTreeMap<String, String>,
    /// Copies that go when the command is over.
    copies: Vec<Scratch>,
    /// Caches that nobody removes meanwhile.
    caches: Vec<CacheUse>,
}

impl Mounts {
    pub(super) fn wanted(&self) -> Option<Vec<Mount>> {
        (!self.wanted.is_empty()).then(|| self.wanted.clone())
    }

    pub(super) fn tmpfs(&self) -> Option<BTreeMap<String, String>> {
        (!self.tmpfs.is_empty()).then(|| self.tmpfs.clone())
    }

    /// Where they are.
    pub(super) fn targets(&self) -> Vec<String> {
        self.wanted.iter().map(|mount| mount.target.clone()).chain(self.tmpfs.keys().cloned()).collect()
    }

    fn bind(&mut self, source: &Path, target: &str, readonly: bool) {
        self.wanted.push(Mount {
            r#type: "bind".to_owned(),
            source: source.display().to_string(),
            target: target.to_owned(),
            read_only: readonly,
            bind_options: Some(BindOptions { propagation: "rprivate".to_owned(), ..BindOptions::default() }),
            ..Mount::default()
        });
    }
}

impl Builder {
    /// Gets everything ready that a command wants mounted.
    pub(super) async fn mounts(&self, action: &RunAction) -> Result<Mounts> {
        let mut mounts = Mounts::default();
        for mount in &action.mounts {
            self.mount(mount, &mut mounts).await?;
        }
        if !action.scripts.is_empty() {
            let (engine, scripts) = (self.engine.clone(), action.scripts.clone());
            let scratch = blocking(move || {
                let scratch = engine.scratch()?;
                for (name, text) in scripts {
                    let path = scratch.upper().join(name);
                    fs::write(&path, text).context(path.display())?;
                    fs::set_permissions(&path, Permissions::from_mode(0o755)).context(path.display())?;
                }
                Ok::<_, Error>(scratch)
            })
            .await?;
            mounts.bind(&scratch.upper(), SCRIPTS, true);
            mounts.copies.push(scratch);
        }
        Ok(mounts)
    }

    async fn mount(&self, mount: &RunMount, mounts: &mut Mounts) -> Result<()> {
        match &mount.of {
            MountOf::Files { of, path } => {
                let (source, scratch) = self.copy_of(of, path).await?;
                mounts.bind(&source, &mount.target, mount.readonly);
                mounts.copies.push(scratch);
            }
            MountOf::Cache(cache, seed) => {
                let using = self.engine.cache_mounts.take(cache, seed.as_ref()).await;
                let dir = self.cache_dir(&using, cache, seed.as_ref()).await?;
                mounts.bind(&dir, &mount.target, mount.readonly);
                mounts.caches.push(using);
            }
            MountOf::Tmpfs(tmpfs) => {
                let size = tmpfs.size.map(|size| format!("size={size}")).unwrap_or_default();
                // Programs may be run in it, as in a directory of the image.
                let options = ["exec", &size].into_iter().filter(|o| !o.is_empty()).collect::<Vec<_>>().join(",");
                mounts.tmpfs.insert(mount.target.clone(), options);
            }
            // Clients give secrets and agents in BuildKit's protocol alone.
            MountOf::Secret(secret) if secret.required => {
                return Err(Error::invalid(format!("secret {}: not found: this API has no way to give it", secret.id)));
            }
            MountOf::Ssh(agent) if agent.required => {
                let id = &agent.id;
                return Err(Error::invalid(format!("ssh agent {id}: not found: this API has no way to give it")));
            }
            MountOf::Secret(_) | MountOf::Ssh(_) => {}
        }
        Ok(())
    }

    /// A copy of a path in somebody's files, and where it is.
    async fn copy_of(&self, of: &FilesOf, path: &str) -> Result<(PathBuf, Scratch)> {
        use gantry_image_builder::Backend;
        let source = self.files(of).await?;
        let (engine, path) = (self.engine.clone(), if path.is_empty() { ".".to_owned() } else { path.to_owned() });
        blocking(move || {
            let scratch = engine.scratch()?;
            let one = select::select(&*source, &path, false)?.remove(0);
            let name = if one.is_directory() { scratch.upper() } else { scratch.upper().join("file") };
            let root = open_layer(&scratch.upper())?;
            copy::copy_out(&root, &*source, &one)?;
            Ok::<_, Error>((name, scratch))
        })
        .await
    }

    /// A cache's directory, made and filled if it is new.
    async fn cache_dir(&self, using: &CacheUse, cache: &CacheMount, seed: Option<&FilesOf>) -> Result<PathBuf> {
        let dir = self.engine.config.data_root.join("build/mounts").join(using.name());
        if dir.join("data").exists() {
            let used = dir.join(USED);
            let counted =
                fs::OpenOptions::new().append(true).create(true).open(&used).and_then(|mut file| file.write_all(b"."));
            counted.context(used.display())?;
            return Ok(dir.join("data"));
        }
        let copied = match seed {
            Some(of) => Some(self.copy_of(of, &cache.source).await?),
            None => None,
        };
        let (engine, cache, id) = (self.engine.clone(), cache.clone(), cache.id.clone());
        blocking(move || {
            // Another command may make the same cache just now: whoever is first wins.
            let new = engine.build_dir()?.join("tmp").join(Id::random().to_string());
            DirBuilder::new().mode(0o710).create(&new).context(new.display())?;
            fs::write(new.join(ID), id).context(new.display())?;
            fs::write(new.join(USED), ".").context(new.display())?;
            let data = new.join("data");
            match &copied {
                Some((from, _)) if from.is_dir() => fs::rename(from, &data).context(data.display())?,
                _ => DirBuilder::new().create(&data).context(data.display())?,
            }
            std::os::unix::fs::chown(&data, Some(cache.uid), Some(cache.gid)).context(data.display())?;
            fs::set_permissions(&data, Permissions::from_mode(cache.mode)).context(data.display())?;
            if let Err(e) = fs::rename(&new, &dir) {
                let _ = fs::remove_dir_all(&new);
                if !dir.join("data").exists() {
                    return Err(e).context(dir.display());
                }
            }
            Ok::<_, Error>(dir.join("data"))
        })
        .await
    }
}

/// Which caches are in use.
#[derive(Debug, Default)]
pub(crate) struct CacheMounts(Mutex<HashMap<String, InUse>>);

#[derive(Debug, Default)]
struct InUse {
    uses: usize,
    lock: Arc<tokio::sync::Mutex<()>>,
}

/// A cache while a command uses it.
pub(crate) struct CacheUse {
    name: String,
    caches: std::sync::Weak<CacheMounts>,
    /// Held.
    lock: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl CacheMounts {
    /// Takes a cache; one that is locked is waited for, a private one that is in use gets another directory.
    async fn take(self: &Arc<Self>, cache: &CacheMount, seed: Option<&FilesOf>) -> CacheUse {
        let first = name(cache, seed);
        let (name, lock) = {
            let mut all = self.lock();
            let mut name = first.clone();
            let mut number = 0;
            while cache.sharing == CacheSharing::Private && all.get(&name).is_some_and(|used| used.uses > 0) {
                number += 1;
                name = format!("{first}-{number}");
            }
            let used = all.entry(name.clone()).or_default();
            used.uses += 1;
            (name, (cache.sharing == CacheSharing::Locked).then(|| used.lock.clone()))
        };
        let mut using = CacheUse { name, caches: Arc::downgrade(self), lock: None };
        if let Some(lock) = lock {
            using.lock = Some(lock.lock_owned().await);
        }
        using
    }

    /// Calls `remove` for a cache unless somebody uses it; nobody can begin to meanwhile.
    pub(super) fn if_unused<T>(&self, name: &str, remove: impl FnOnce() -> T) -> Option<T> {
        let all = self.lock();
        let unused = all.get(name).is_none_or(|used| used.uses == 0);
        unused.then(remove)
    }

    /// Whether somebody uses it.
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.lock().get(name).is_some_and(|used| used.uses > 0)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, InUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CacheUse {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for CacheUse {
    fn drop(&mut self) {
        let Some(caches) = self.caches.upgrade() else { return };
        let mut all = caches.lock();
        if let Some(used) = all.get_mut(&self.name) {
            used.uses -= 1;
            if used.uses == 0 {
                all.remove(&self.name);
            }
        }
    }
}

/// What a cache's directory is called. One that begins otherwise is another one, whatever its id: whoever wants it to
/// be a user's cannot do with root's.
fn name(cache: &CacheMount, seed: Option<&FilesOf>) -> String {
    let CacheMount { id, source, mode, uid, gid, .. } = cache;
    if seed.is_none() && (*mode, *uid, *gid) == (0o755, 0, 0) {
        return digest::hex(&digest_of(id));
    }
    digest::hex(&digest_of(&format!("{id}\0{seed:?}\0{source}\0{mode:o} {uid} {gid}")))
}

fn digest_of(text: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(text).into()
}

/// Removes the empty places of mounts from a layer, with the directories above them that only they needed.
pub(super) fn remove_targets(own: &OwnLayer, targets: &[String]) {
    let mut done = HashSet::new();
    for target in targets {
        let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty()).collect();
        for end in (1..=parts.len()).rev() {
            let path = parts[..end].join("/");
            if !done.insert(path.clone()) || exists(&own.image, &path) || !remove_if_empty(&own.upper, &path) {
                break;
            }
        }
    }
}

fn exists(root: &OwnedFd, path: &str) -> bool {
    openat2(root, path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty(), ResolveFlags::IN_ROOT).is_ok()
}

/// Whether something empty was there, and is gone.
fn remove_if_empty(upper: &OwnedFd, path: &str) -> bool {
    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let Ok(parent) = openat2(upper, parent, flags, Mode::empty(), resolve) else { return false };
    let empty_file = statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_size == 0);
    if empty_file {
        return unlinkat(&parent, name, AtFlags::empty()).is_ok();
    }
    // Fails for a directory that has something in it.
    unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok()
}
