//! What a Linux security module is told about the program that is executed next.

use super::procfs::Procfs;
use crate::failure::{OrFail, Result, Stage};
use crate::spec::ProcessSpec;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Labels with the files of the process' own `/proc` that they are written to: opened where a trusted procfs is at
/// hand, written as late as possible.
#[derive(Debug, Default)]
pub(crate) struct Labels(Vec<(OwnedFd, String, &'static str)>);

impl Labels {
    /// Of a process, for the calling one.
    pub(crate) fn of(process: &ProcessSpec, procfs: &Procfs) -> Result<Self> {
        Self::in_proc(process, procfs.fd(), rustix::process::getpid().as_raw_nonzero().get())
    }

    /// Whether a process has any.
    pub(crate) fn needed(process: &ProcessSpec) -> bool {
        process.apparmor.is_some() || process.selinux.is_some()
    }

    fn in_proc(process: &ProcessSpec, proc: BorrowedFd<'_>, pid: i32) -> Result<Self> {
        let mut all = Vec::new();
        let mut add = |names: &[&str], value: String, what| -> Result<()> {
            let file = open_first(proc, pid, names)
                .or_fail(Stage::Setup, || format!("unable to apply {what}: open /proc/self/attr/exec"))?;
            all.push((file, value, what));
            Ok(())
        };
        if let Some(profile) = &process.apparmor {
            // A kernel with several modules has a place for each.
            add(&["attr/apparmor/exec", "attr/exec"], format!("exec {profile}"), "apparmor profile")?;
        }
        if let Some(label) = &process.selinux {
            add(&["attr/selinux/exec", "attr/exec"], label.clone(), "SELinux label")?;
        }
        Ok(Self(all))
    }

    /// Tells the module.
    pub(crate) fn apply(&self) -> Result<()> {
        for (file, value, what) in &self.0 {
            rustix::io::write(file, value.as_bytes())
                .or_fail(Stage::Setup, || format!("unable to apply {what}: write {value:?}"))?;
        }
        Ok(())
    }
}

fn open_first(proc: BorrowedFd<'_>, pid: i32, names: &[&str]) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    let mut error = io::ErrorKind::NotFound.into();
    for name in names {
        match openat2(proc, format!("{pid}/{name}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Ok(file) => return Ok(file),
            Err(e) => error = e.into(),
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Capabilities;
    use std::fs;
    use std::os::fd::AsFd;

    fn process(apparmor: Option<&str>, selinux: Option<&str>) -> ProcessSpec {
        let capabilities = Capabilities { bounding: 0, effective: 0, permitted: 0, inheritable: 0, ambient: 0 };
        ProcessSpec {
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".into(),
            create_cwd: false,
            user: String::new(),
            additional_groups: Vec::new(),
            capabilities,
            no_new_privileges: false,
            rlimits: Vec::new(),
            seccomp: false,
            tty: false,
            console_size: (0, 0),
            apparmor: apparmor.map(str::to_owned),
            selinux: selinux.map(str::to_owned),
        }
    }

    #[test]
    fn each_module_is_told_in_its_place() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("7/attr/apparmor")).unwrap();
        for file in ["7/attr/exec", "7/attr/apparmor/exec"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let proc = fs::File::open(dir.path()).unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        let labels =
            Labels::in_proc(&process(Some("docker-default"), Some("u:r:t:s0:c1,c2")), proc.as_fd(), 7).unwrap();
        assert_eq!(read("7/attr/exec"), "", "not before it is time");
        labels.apply().unwrap();
        assert_eq!(read("7/attr/apparmor/exec"), "exec docker-default");
        assert_eq!(read("7/attr/exec"), "u:r:t:s0:c1,c2");
    }

    #[test]
    fn older_kernels_and_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("7/attr")).unwrap();
        let proc = fs::File::open(dir.path()).unwrap();
        let spec = process(Some("mine"), None);
        let error = Labels::in_proc(&spec, proc.as_fd(), 7).unwrap_err();
        assert_eq!(
            error.message,
            "unable to apply apparmor profile: open /proc/self/attr/exec: no such file or directory"
        );
        fs::write(dir.path().join("7/attr/exec"), "").unwrap();
        Labels::in_proc(&spec, proc.as_fd(), 7).unwrap().apply().unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("7/attr/exec")).unwrap(), "exec mine");
        // A link in the way is not followed.
        fs::remove_file(dir.path().join("7/attr/exec")).unwrap();
        std::os::unix::fs::symlink("/dev/null", dir.path().join("7/attr/exec")).unwrap();
        assert!(Labels::in_proc(&spec, proc.as_fd(), 7).is_err());
        assert!(!Labels::needed(&process(None, None)));
    }
}
