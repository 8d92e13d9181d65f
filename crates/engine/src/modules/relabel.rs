//! `:z` and `:Z`: what is mounted gets the container's label, or one that all containers may use.

use super::selinux;
use crate::container::Record;
use crate::volumes::{Source, Sources};
use gantry_model::{Error, Result};
use rustix::fs::{CWD, Dir, Mode, OFlags, XattrFlags, openat, setxattr};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Deeper trees keep their labels: each level holds a descriptor.
const MAX_DEPTH: usize = 500;

/// A host whose own files had a container's label would not boot again.
const SYSTEM: [&str; 28] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/etc/passwd",
    "/etc/pki",
    "/etc/shadow",
    "/home",
    "/lib",
    "/lib64",
    "/media",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr",
    "/usr/local",
    "/usr/share",
    "/var",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// Labels what a container that is about to run mounts and wants labelled.
pub(crate) fn mounts_of(record: &Record, volumes: &Sources) -> Result<()> {
    if record.labels.mount.is_empty() {
        return Ok(());
    }
    for point in &record.mounts {
        let Some(shared) = wanted(&point.mode) else { continue };
        let path = match (point.r#type.as_str(), volumes.get(&point.name)) {
            ("bind", _) => PathBuf::from(&point.source),
            ("volume", Some(Source::Directory(path))) => path.clone(),
            _ => continue,
        };
        let label = if shared { selinux::shared(&record.labels.mount)? } else { record.labels.mount.clone() };
        relabel(&path, &label)?;
    }
    Ok(())
}

/// Whether a mode asks for a label, and for one that is shared.
fn wanted(mode: &str) -> Option<bool> {
    mode.split(',').find_map(|word| match word {
        "z" => Some(true),
        "Z" => Some(false),
        _ => None,
    })
}

fn relabel(path: &Path, label: &str) -> Result<()> {
    let failed = |e: io::Error| Error::internal(format!("relabel of {} to {label:?}: {e}", path.display()));
    let real = std::fs::canonicalize(path).map_err(failed)?;
    if SYSTEM.iter().any(|system| real == Path::new(system)) {
        return Err(Error::invalid(format!("SELinux relabeling of {} is not allowed", real.display())));
    }
    match openat(CWD, &real, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|root| tree(&root, label, 0))
    {
        // A file system that knows no labels has one for all its files.
        Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => Ok(()),
        done => done.map_err(failed),
    }
}

/// Labels a file and, if it is a directory, what is below it. By descriptors and without following a link: another
/// container that has the tree may put a link to the host's files in the way at any moment.
fn tree(file: &OwnedFd, label: &str, depth: usize) -> io::Result<()> {
    // The xattr calls refuse a descriptor of this kind; its link in /proc leads to the file itself, symbolic links included.
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    setxattr(&name, "security.selinux", &nul_terminated(label), XattrFlags::empty())?;
    let here = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match openat(file, c".", here, Mode::empty()) {
        Ok(dir) if depth < MAX_DEPTH => dir,
        Ok(_) | Err(Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..")
            && let Some(below) = open_entry(dir.as_fd(), name)?
        {
            tree(&below, label, depth + 1)?;
        }
    }
    Ok(())
}

/// `None` for what has gone in the meantime.
fn open_entry(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<OwnedFd>> {
    match openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// As the kernel gives labels out.
fn nul_terminated(label: &str) -> Vec<u8> {
    let mut bytes = label.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Without SELinux in the kernel, any privileged process may set the attribute to anything: so the walk is real here.
    fn label_of(path: &Path) -> Option<String> {
        let mut text = [0u8; 256];
        let length = rustix::fs::lgetxattr(path, "security.selinux", &mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).trim_end_matches('\0').to_owned())
    }

    #[test]
    fn a_tree_is_labelled_and_what_its_links_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        for file in [tree.join("a/b/file"), outside.join("file")] {
            fs::write(file, "x").unwrap();
        }
        symlink(&outside, tree.join("a/link")).unwrap();
        symlink(outside.join("file"), tree.join("file-link")).unwrap();
        symlink(&tree, dir.path().join("way")).unwrap();
        let label = "system_u:object_r:container_file_t:s0:c1,c2";
        // The way to it may be a link, as in Docker.
        relabel(&dir.path().join("way"), label).unwrap();
        for path in ["", "a", "a/b", "a/b/file", "a/link", "file-link"] {
            assert_eq!(label_of(&tree.join(path)).as_deref(), Some(label), "{path}");
        }
        for path in [outside.clone(), outside.join("file")] {
            assert_ne!(label_of(&path).as_deref(), Some(label), "{}", path.display());
        }
        let only = tree.join("a/b/file");
        relabel(&only, "u:r:t:s0").unwrap();
        assert_eq!(label_of(&only).as_deref(), Some("u:r:t:s0"));
    }

    #[test]
    fn the_host_itself_keeps_its_labels() {
        for path in ["/", "/etc", "/usr/../usr"] {
            let refused = relabel(Path::new(path), "u:r:t:s0").unwrap_err().to_string();
            assert!(refused.contains("is not allowed"), "{refused}");
        }
        assert!(relabel(Path::new("/nothing-here"), "u:r:t:s0").is_err());
    }

    #[test]
    fn modes() {
        let found = ["", "ro", "ro,z", "Z", "rw,Z,rslave"].map(wanted);
        assert_eq!(found, [None, None, Some(true), Some(false), Some(false)]);
    }
}
