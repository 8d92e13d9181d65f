//! A container's files with its binds and volumes on them, whether it runs or not.
//!
//! As in Docker, what the container itself mounted, and its tmpfs, are not part of it: for that a daemon would have to
//! trust mounts which the container can make hang or lie.

use super::path::Asked;
use crate::Engine;
use crate::container::Container;
use crate::volumes::{Sources, Viewing};
use crate::{plan, procfs, remap};
use gantry_image_store::pack::Found;
use gantry_model::error::Context;
use gantry_model::{IdMaps, Result};
use gantry_runtime::spawn;
use gantry_runtime::spec::Mount;
use gantry_runtime::view::{self, Origin, Shift, Wanted};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// As many links as Docker follows.
const MAX_LINKS: usize = 255;
/// How often a container may end or start while its view is made.
const ATTEMPTS: usize = 5;

const LOOKING: &str = "looking at the container's files";

/// The files of a container.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) root: OwnedFd,
    /// What the container's ids are in it, if they are not the same.
    pub(crate) ids: Option<IdMaps>,
    /// Keeps the volumes mounted.
    _volumes: Option<Arc<Viewing>>,
}

impl View {
    /// A root that belongs to no container, with the ids of the store.
    pub(crate) fn of_store(root: OwnedFd) -> Self {
        Self { root, ids: None, _volumes: None }
    }

    /// With binds and volumes, to be read.
    pub(super) fn to_read(engine: &Engine, container: &Container) -> Result<Self> {
        Self::reading(engine, container, true)
    }

    /// The root file system alone, to be read.
    pub(crate) fn of_root(engine: &Engine, container: &Container) -> Result<Self> {
        Self::reading(engine, container, false)
    }

    fn reading(engine: &Engine, container: &Container, with_binds: bool) -> Result<Self> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let binds = if with_binds { Binds::of(engine, container)? } else { Binds::default() };
            let origin = running(engine, container).unwrap_or_else(|| Origin::Layers(layers(engine, container)));
            let error = match make(engine, container, origin.clone(), true, &binds) {
                Err(e) if attempts.next().is_some() => e,
                made => return made.context(LOOKING),
            };
            match origin {
                Origin::Running { .. } if !lives(&origin) => settle(engine, container),
                Origin::Layers(_) if error.raw_os_error() == Some(Errno::ROFS.raw_os_error()) => {
                    make_targets(engine, container, &binds)?;
                }
                _ => return Err(error).context(LOOKING),
            }
        }
    }

    /// With binds and volumes, for `work` to write to. A container that does not run is not started meanwhile.
    pub(super) fn write<T: Send>(
        engine: &Engine,
        container: &Container,
        mut work: impl FnMut(&Self) -> Result<T> + Send,
    ) -> Result<T> {
        let mut attempts = 0..ATTEMPTS;
        loop {
            let binds = Binds::of(engine, container)?;
            let readonly = container.read().host_config.readonly_rootfs;
            let place = engine.dirs(&container.id).merged();
            let mut within = |origin| {
                let shifted = Shifted::of(engine, container, &origin)?;
                let shift = shifted.as_ref().map(Shifted::shift);
                let ids = shifted.as_ref().map(|shifted| shifted.ids.clone());
                let wanted = Wanted { origin, readonly, binds: &binds.mounts, place: &place, shift };
                view::within(&wanted, |root| work(&Self { root: root.try_clone()?, ids, _volumes: None }))
            };
            if let Some(origin) = running(engine, container) {
                match within(origin.clone()) {
                    Err(_) if !lives(&origin) && attempts.next().is_some() => settle(engine, container),
                    done => return done.context(LOOKING)?,
                }
                continue;
            }
            let _verb = container.verbs.blocking_lock();
            if running(engine, container).is_none() {
                return within(writable(engine, container)).context(LOOKING)?;
            }
        }
    }

    /// What a path asks for; a link at its end is not followed unless the path says so.
    pub(super) fn find(&self, asked: &Asked) -> io::Result<Found> {
        let (parent, name) = asked.split();
        let Some(name) = name else { return Found::new(self.open(parent, OFlags::PATH)?) };
        let parent = self.open(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Found::new(rustix::fs::openat(&parent, name, flags, Mode::empty())?)
    }

    /// Opens a path as the container would, whatever links it has.
    pub(crate) fn open(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // Somebody renames things just now and the kernel could not be sure.
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
    }

    /// The path without links, for people and messages only: by the time it is read it may be wrong. What is missing
    /// is taken as it is written.
    pub(crate) fn evaluate(&self, path: &str) -> io::Result<String> {
        let parts = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let mut pending: VecDeque<String> = parts(path).into();
        let mut done = String::new();
        let mut links = 0;
        while let Some(part) = pending.pop_front() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.truncate(done.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let here = format!("{done}/{part}");
            let found = self.open(&here, OFlags::PATH | OFlags::NOFOLLOW);
            // Of what is no link, or not there, nothing can be read.
            let Ok(Ok(target)) = found.map(|fd| readlinkat(fd, c"", Vec::new())) else {
                done = here;
                continue;
            };
            let target = target.to_string_lossy().into_owned();
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            if target.starts_with('/') {
                done.clear();
            }
            for part in parts(&target).into_iter().rev() {
                pending.push_front(part);
            }
        }
        Ok(if done.is_empty() { "/".to_owned() } else { done })
    }
}

/// What is mounted on a container's files, and what is mounted for that.
#[derive(Debug, Default)]
struct Binds {
    mounts: Vec<Mount>,
    /// Of which the mounts name descriptors.
    _sources: Sources,
    volumes: Option<Arc<Viewing>>,
}

impl Binds {
    fn of(engine: &Engine, container: &Container) -> Result<Self> {
        let record = container.read().clone();
        let (sources, viewing) = engine.volumes_for_view(&record)?;
        let mounts = plan::mounts::shown(engine, &record, &plan::mounts::for_daemon(&sources))?;
        Ok(Self { mounts, _sources: sources, volumes: Some(Arc::new(viewing)) })
    }
}

fn make(engine: &Engine, container: &Container, origin: Origin, readonly: bool, binds: &Binds) -> io::Result<View> {
    let place = engine.dirs(&container.id).merged();
    let shifted = Shifted::of(engine, container, &origin)?;
    let shift = shifted.as_ref().map(Shifted::shift);
    let root = view::open(&Wanted { origin, readonly, binds: &binds.mounts, place: &place, shift })?;
    Ok(View { root, ids: shifted.map(|shifted| shifted.ids), _volumes: binds.volumes.clone() })
}

/// The mount of a container whose process lives.
fn running(engine: &Engine, container: &Container) -> Option<Origin> {
    let (pid, start_time) = {
        let state = &container.read().state;
        (state.status.is_live() && state.pid != 0).then_some((state.pid, state.pid_start_time))?
    };
    // What cannot be read belongs to a process that has just ended; that is found out when it is looked at.
    let remapped = remap::of_process(pid).is_ok_and(|ids| ids.is_some());
    let shim = || spawn::find_shim(&engine.dirs(&container.id).pid_file()).ok().flatten();
    Some(Origin::Running { pid, start_time, keeper: remapped.then(shim).flatten().map(|shim| shim.pid) })
}

/// A container's map of ids, held for a moment.
struct Shifted {
    ids: IdMaps,
    user: OwnedFd,
    root: (u32, u32),
}

impl Shifted {
    /// Of a running container that of its process, of another that which it will have.
    fn of(engine: &Engine, container: &Container, origin: &Origin) -> io::Result<Option<Self>> {
        let ids = match origin {
            Origin::Running { pid, .. } => remap::of_process(*pid)?,
            _ => remap::wanted(engine, &container.read().host_config).cloned(),
        };
        let Some(ids) = ids else { return Ok(None) };
        let root = ids.root().ok_or(Errno::INVAL)?;
        Ok(Some(Self { user: remap::namespace(engine, &ids)?, ids, root }))
    }

    fn shift(&self) -> Shift<'_> {
        Shift { user: self.user.as_fd(), root: self.root }
    }
}

fn layers(engine: &Engine, container: &Container) -> Vec<std::path::PathBuf> {
    std::iter::once(engine.dirs(&container.id).upper()).chain(container.read().layers.iter().cloned()).collect()
}

fn writable(engine: &Engine, container: &Container) -> Origin {
    let dirs = engine.dirs(&container.id);
    Origin::Writable { lower: container.read().layers.clone(), upper: dirs.upper(), work: dirs.work() }
}

/// Makes what a container that never ran lacks: the places of its volumes. Its files can then be read without being
/// in the way of a start.
fn make_targets(engine: &Engine, container: &Container, binds: &Binds) -> Result<()> {
    let _verb = container.verbs.blocking_lock();
    if running(engine, container).is_none() {
        make(engine, container, writable(engine, container), false, binds).context("making the container's mounts")?;
    }
    Ok(())
}

/// Whether the process that the record names still has its files; a record is told of an end a moment later.
fn lives(origin: &Origin) -> bool {
    let Origin::Running { pid, start_time, .. } = origin else { return false };
    // A process that nobody has reaped yet has no namespaces any more.
    Path::new(&format!("/proc/{pid}/ns/mnt")).exists() && procfs::start_time(*pid) == Some(*start_time)
}

fn settle(engine: &Engine, container: &Container) {
    engine.handle.block_on(container.settled());
}
