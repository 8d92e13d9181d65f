//! What a container sees in `/sys/fs/cgroup`: on v1 a tmpfs with its own cgroup of every hierarchy,
//! on v2 its own cgroup, or the whole tree if it shares the host's cgroup namespace.

use super::resolve::{Make, Root};
use super::tree;
use crate::cgroup::Cgroup;
use crate::spec::{Mount, MountFlags};
use rustix::fs::symlinkat;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Clones of the container's cgroup directories.
#[derive(Debug)]
pub(crate) enum Sources {
    V1(Vec<(String, OwnedFd)>),
    V2(OwnedFd),
}

fn clone_of(dir: &Path) -> io::Result<OwnedFd> {
    tree::clone_tree(File::open(dir)?.as_fd(), false)
}

/// Takes them; `own` is for a container with a cgroup namespace of its own.
pub(crate) fn take(cgroup: &Cgroup, own: bool) -> io::Result<Sources> {
    if let Some(dir) = cgroup.unified_dir() {
        let whole = cgroup.v2_mount().unwrap_or(dir);
        return clone_of(if own { dir } else { whole }).map(Sources::V2);
    }
    let each = cgroup.v1().iter().map(|(hierarchy, dir)| Ok((hierarchy.directory_name(), clone_of(dir)?)));
    each.collect::<io::Result<_>>().map(Sources::V1)
}

/// Attaches them at the mount's target.
pub(crate) fn attach(root: &Root, mount: &Mount, sources: Sources) -> io::Result<()> {
    let target = root.ensure(&mount.target, Make::Directory)?;
    match sources {
        Sources::V2(tree) => {
            tree::set_flags(tree.as_fd(), mount.flags, false)?;
            tree::set_propagation(tree.as_fd(), mount.propagation)?;
            tree::attach(tree.as_fd(), target.as_fd())
        }
        Sources::V1(hierarchies) => {
            let top = tree::new_filesystem("tmpfs", &["mode=755"])?;
            tree::set_flags(top.as_fd(), MountFlags { readonly: false, ..mount.flags }, false)?;
            tree::attach(top.as_fd(), target.as_fd())?;
            let inside = Root::new(top);
            for (name, hierarchy) in hierarchies {
                let dir = inside.ensure(Path::new(&name), Make::Directory)?;
                tree::set_flags(hierarchy.as_fd(), mount.flags, false)?;
                tree::set_propagation(hierarchy.as_fd(), mount.propagation)?;
                tree::attach(hierarchy.as_fd(), dir.as_fd())?;
                // `cpu` and `cpuacct` lead to `cpu,cpuacct`.
                for controller in name.split(',').filter(|c| *c != name) {
                    symlinkat(name.as_str(), inside.fd(), controller)?;
                }
            }
            if mount.flags.readonly { tree::set_readonly(inside.fd(), false) } else { Ok(()) }
        }
    }
}
