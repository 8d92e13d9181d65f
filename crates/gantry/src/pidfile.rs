//! The pid file and the lock on the data-root.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// A written pid file; removed when dropped.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes our pid to `path`, unless a process that lives is named there.
    pub(crate) fn write(path: &Path) -> Result<Self> {
        if let Some(pid) = living(path) {
            bail!("process with PID {pid} is still running: another daemon uses the pid file {}", path.display());
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
        }
        std::fs::write(path, std::process::id().to_string())
            .with_context(|| format!("writing the pid file {}", path.display()))?;
        Ok(Self { path: path.to_path_buf() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Ours only as long as our pid stands in it: a second daemon may have found the file stale.
        if std::fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == std::process::id().to_string()) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The process named in the file, if it lives and is not us: after a restart in a container our own
/// pid may stand there.
fn living(path: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let ours = u32::try_from(pid).ok()? == std::process::id();
    let pid = rustix::process::Pid::from_raw(pid)?;
    let lives = !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH));
    (lives && !ours && !is_zombie(pid)).then(|| pid.as_raw_nonzero().get())
}

/// Signals still reach a process that has ended until its parent notices, which in a container may be never.
fn is_zombie(pid: rustix::process::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // After the name, which may contain anything.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Holds a data-root for one daemon. The kernel drops the lock with the process, however it ends.
#[derive(Debug)]
pub(crate) struct RootLock {
    _file: File,
}

impl RootLock {
    /// Takes the lock on `root`, which must exist.
    pub(crate) fn take(root: &Path) -> Result<Self> {
        let (path, mut file) = Self::open(root)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = holder(&mut file);
                if holder == std::process::id().to_string() || living(&path).is_some() {
                    bail!("the data-root {} is in use by another daemon (pid {holder})", root.display());
                }
                // Killed while it started a shim: the child has the descriptor until it executes its program, at once.
                flock(&file, FlockOperation::LockExclusive).with_context(|| format!("locking {}", path.display()))?;
            }
            Err(e) => bail!("locking {}: {e}", path.display()),
        }
        Self::hold(file)
    }

    /// The same without ever waiting: the daemon that holds it may live where its pid means nothing here.
    pub(crate) fn take_now(root: &Path) -> Result<Self> {
        let (path, mut file) = Self::open(root)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Self::hold(file),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!("the data-root {} is in use by another daemon (pid {})", root.display(), holder(&mut file))
            }
            Err(e) => bail!("locking {}: {e}", path.display()),
        }
    }

    fn open(root: &Path) -> Result<(PathBuf, File)> {
        let path = root.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.with_context(|| format!("opening {}", path.display()))?;
        Ok((path, file))
    }

    fn hold(mut file: File) -> Result<Self> {
        // Only for the messages above, in another daemon.
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Self { _file: file })
    }
}

/// What the lock's holder wrote into it.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_stale_pid_file_and_removes_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/pid");
        // No process has this pid: the kernel's limit is 2^22.
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "2147483646").unwrap();
        let file = PidFile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn refuses_the_pid_file_of_a_living_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "1\n").unwrap();
        let error = PidFile::write(&path).unwrap_err().to_string();
        assert!(error.contains("process with PID 1 is still running"), "{error}");
    }

    #[test]
    fn a_data_root_has_one_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let lock = RootLock::take(dir.path()).unwrap();
        let error = RootLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by another daemon (pid {})", std::process::id())), "{error}");
        assert_eq!(RootLock::take_now(dir.path()).unwrap_err().to_string(), error);
        drop(lock);
        RootLock::take(dir.path()).unwrap();
    }

    #[test]
    fn waits_for_what_a_killed_daemon_was_just_starting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // No process has this pid; a child that has not executed its program yet holds the lock on.
        std::fs::write(&path, "2147483646").unwrap();
        let inherited = File::open(&path).unwrap();
        flock(&inherited, FlockOperation::LockExclusive).unwrap();
        let root = dir.path().to_path_buf();
        let next = std::thread::spawn(move || RootLock::take(&root).map(drop));
        drop(inherited);
        next.join().unwrap().unwrap();
    }
}
