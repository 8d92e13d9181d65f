//! Opening sockets of our own.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Mode, chmod, chown};
use rustix::process::Gid;
use tokio::net::{TcpListener, UnixListener};

/// The file of a unix socket; removed when dropped, if it is still the one that was made.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).ok() == Some(self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

/// Listens on `path` with mode 0660 and the given group, or `docker` if such a group exists.
pub(super) fn bind(path: &Path, group: Option<&str>) -> Result<(UnixListener, SocketFile)> {
    let gid = group_id(group)?;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    refuse_living_socket(path)?;
    // The socket gets its place only when it has its mode and owner: nobody connects in between,
    // and clients of a daemon that is replaced always find a socket.
    let early = path.with_extension(format!("new{}", std::process::id()));
    let _ = std::fs::remove_file(&early);
    let failed = || format!("can't create unix socket {}", path.display());
    let socket = std::os::unix::net::UnixListener::bind(&early).with_context(failed)?;
    let placed = place(&early, path, gid);
    if placed.is_err() {
        let _ = std::fs::remove_file(&early);
    }
    let file = placed.with_context(failed)?;
    socket.set_nonblocking(true)?;
    Ok((UnixListener::from_std(socket)?, file))
}

fn place(early: &Path, path: &Path, gid: Option<u32>) -> std::io::Result<SocketFile> {
    chmod(early, Mode::from_raw_mode(0o600))?;
    if let Some(gid) = gid {
        chown(early, None, Some(Gid::from_raw(gid)))?;
    }
    chmod(early, Mode::from_raw_mode(0o660))?;
    let identity = identity(early)?;
    std::fs::rename(early, path)?;
    Ok(SocketFile { path: path.to_path_buf(), identity })
}

/// A socket that nobody listens on is left over from a daemon that died.
fn refuse_living_socket(path: &Path) -> Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(meta) => {
            use std::os::unix::fs::FileTypeExt as _;
            if !meta.file_type().is_socket() {
                bail!("can't create unix socket {}: something that is not a socket is there", path.display());
            }
        }
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("can't create unix socket {}: another daemon listens there", path.display());
    }
    Ok(())
}

/// The named group must exist; `docker` is a convention that not every machine has.
fn group_id(group: Option<&str>) -> Result<Option<u32>> {
    let name = match group {
        // dockerd: an empty group leaves the socket to root's.
        Some("") => return Ok(None),
        Some(name) => name,
        None => "docker",
    };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let found = lookup(&groups, name);
    match (found, group) {
        (None, Some(name)) => match name.parse() {
            Ok(gid) => Ok(Some(gid)),
            Err(_) => bail!("group {name} not found"),
        },
        (found, _) => Ok(found),
    }
}

fn lookup(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

/// Listens on a TCP address; a name is resolved and its first address taken, as dockerd does.
pub(super) fn bind_tcp(at: &str) -> Result<TcpListener> {
    let socket = std::net::TcpListener::bind(at).with_context(|| format!("listening on tcp://{at}"))?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn finds_groups() {
        let groups = "root:x:0:\ndocker:x:998:me,you\nbroken\nempty:x::\n";
        assert_eq!(lookup(groups, "docker"), Some(998));
        assert_eq!(lookup(groups, "empty"), None);
        assert_eq!(lookup(groups, "dock"), None);
    }

    #[tokio::test]
    async fn replaces_a_stale_socket_and_refuses_a_living_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/a.sock");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (socket, file) = bind(&path, Some("")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        assert!(bind(&path, Some("")).unwrap_err().to_string().contains("another daemon listens there"));
        drop((socket, file));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn leaves_alone_what_is_not_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        std::fs::write(&path, "data").unwrap();
        assert!(bind(&path, Some("")).unwrap_err().to_string().contains("not a socket"));
        std::fs::remove_file(&path).unwrap();
        let (_socket, file) = bind(&path, Some("")).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        drop(file);
        assert!(path.exists());
        assert!(bind(&path, Some("no-such-group")).unwrap_err().to_string().contains("group no-such-group not found"));
    }
}
