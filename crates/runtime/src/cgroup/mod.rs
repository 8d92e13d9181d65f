//! A container's cgroup: made, limited, watched, emptied and removed, on v1, v2 and hybrid hosts.
//!
//! On a hybrid host the limits are v1's; the container joins the v2 hierarchy as well, whose kill
//! and freeze need no controller and are better than v1's.

mod detect;
mod device_program;
mod end;
mod files;
mod oom;
pub mod stats;
mod support;
mod tasks;
mod v1;
mod v2;

pub use detect::{CgroupRoot, Hierarchy};
pub use support::Support;

use crate::failure::{OrFail, Result, Stage};
use crate::spec;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The cgroup of one container.
#[derive(Debug, Clone)]
pub struct Cgroup {
    v1: Vec<(Hierarchy, PathBuf)>,
    v2: Option<PathBuf>,
    unified: bool,
    root: CgroupRoot,
    path: String,
}

impl CgroupRoot {
    /// The cgroup at `path` (as in [`spec::Cgroup`]); nothing is made yet.
    pub fn cgroup(&self, path: &str) -> Cgroup {
        let relative = path.trim_matches('/');
        Cgroup {
            v1: self.v1.iter().map(|h| (h.clone(), h.mount.join(relative))).collect(),
            v2: self.v2.as_ref().map(|mount| mount.join(relative)),
            unified: self.is_unified(),
            root: self.clone(),
            path: path.to_owned(),
        }
    }
}

impl Cgroup {
    /// Makes it in every hierarchy and applies the limits. What was made before a failure is removed.
    pub fn create(&self, wanted: &spec::Cgroup) -> Result<()> {
        self.try_create(wanted).inspect_err(|_| drop(self.remove()))
    }

    fn try_create(&self, wanted: &spec::Cgroup) -> Result<()> {
        if !self.unified {
            v1::check_controllers(&self.root.v1, &wanted.resources)?;
        }
        for (hierarchy, _) in &self.v1 {
            let dir = v1::create(hierarchy, &self.path)?;
            v1::apply(hierarchy, &dir, wanted)?;
        }
        if let Some(mount) = &self.root.v2 {
            let dir = v2::create(mount, &self.path)?;
            if self.unified {
                v2::update(&dir, &wanted.resources)?;
                v2::devices(&dir, &wanted.device_rules)?;
            }
        }
        Ok(())
    }

    /// Changes limits of a running container.
    pub fn update(&self, resources: &spec::Resources) -> Result<()> {
        if let Some(dir) = self.unified_dir() {
            return v2::update(dir, resources);
        }
        v1::check_controllers(&self.root.v1, resources)?;
        self.v1.iter().try_for_each(|(hierarchy, dir)| v1::update(hierarchy, dir, resources))
    }

    /// Puts the calling process into it: the v1 hierarchies, and v2's unless it was born there.
    ///
    /// A single thread that moves itself by `tasks` needs none of the kernel's locks that end in an
    /// RCU grace period of many milliseconds, as `cgroup.procs` and moving another process do.
    pub(crate) fn join(&self, born_in_v2: bool) -> Result<()> {
        for dir in self.v1.iter().map(|(_, dir)| dir) {
            files::write(dir, "tasks", "0").or_fail(Stage::Setup, || format!("enter {}", dir.display()))?;
        }
        match &self.v2 {
            Some(dir) if !born_in_v2 => {
                files::write(dir, "cgroup.procs", "0").or_fail(Stage::Setup, || format!("enter {}", dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// The v2 directory, for `CLONE_INTO_CGROUP`.
    pub(crate) fn open_v2(&self) -> io::Result<Option<File>> {
        self.v2.as_ref().map(File::open).transpose()
    }

    /// The cgroup that a process of the container is in now. On v2 a container may have moved its
    /// processes below its own cgroup (systemd does), and no process can be in a cgroup that has
    /// children with controllers: an exec then belongs beside init.
    pub(crate) fn where_is(mut self, pid: u32) -> Self {
        let Some(mount) = self.root.v2.clone() else { return self };
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let current = text.lines().find_map(|line| line.strip_prefix("0::"));
        let inside = |path: &&str| Path::new(path).starts_with(&self.path) && !path.contains("..");
        if let Some(path) = current.filter(inside) {
            self.v2 = Some(mount.join(path.trim_start_matches('/')));
        }
        self
    }

    /// Removes it, and what the container made below it, from every hierarchy; it must be empty of
    /// processes. Missing is fine. Goes on after an error, and tells the first.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for dir in self.dirs() {
            result = result.and(match remove_dir(dir) {
                // It has children, which is rare (or processes, and then it fails again).
                Err(_) => tasks::walk(dir, &mut remove_dir),
                Ok(()) => Ok(()),
            });
        }
        result
    }

    /// Whether any hierarchy still has it.
    pub fn exists(&self) -> bool {
        self.dirs().any(Path::exists)
    }

    fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().map(|(_, dir)| dir.as_path()).chain(self.v2.as_deref())
    }

    /// The v1 hierarchies and the container's directories in them.
    pub(crate) fn v1(&self) -> &[(Hierarchy, PathBuf)] {
        &self.v1
    }

    /// The directory in the v1 hierarchy with this controller.
    pub fn v1_dir(&self, controller: &str) -> Option<&Path> {
        let found = self.v1.iter().find(|(h, _)| h.controllers.iter().any(|c| c == controller));
        found.map(|(_, dir)| dir.as_path())
    }

    /// The directory in the v2 hierarchy, even if it has no controllers (hybrid).
    pub fn v2_dir(&self) -> Option<&Path> {
        self.v2.as_deref()
    }

    /// Where the v2 hierarchy is mounted.
    pub(crate) fn v2_mount(&self) -> Option<&Path> {
        self.root.v2.as_deref()
    }

    /// The directory in the v2 hierarchy if limits are v2's.
    pub fn unified_dir(&self) -> Option<&Path> {
        self.v2.as_deref().filter(|_| self.unified)
    }
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
