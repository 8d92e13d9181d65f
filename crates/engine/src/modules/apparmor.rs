//! AppArmor: whether the kernel has it, and the profile of containers that ask for none.

use gantry_model::error::Context;
use gantry_model::{Error, Result};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Docker's name, which tools look for.
pub(super) const DEFAULT: &str = "docker-default";
/// No profile.
pub(super) const UNCONFINED: &str = "unconfined";

/// What such a container may: nearly everything in its own file system, but not change the kernel by files, mount, or
/// reach processes outside of the profile.
const PROFILE: &str = r"
profile docker-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,

  # The engine and its shims end containers.
  signal (receive) peer=unconfined,
  signal (receive) peer=gantry,
  signal (send,receive) peer=docker-default,

  # Files of /proc but those of processes, and of the parameters of the container's own namespaces.
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,

  deny mount,

  # Of /sys only what lies below fs/cgroup.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,

  ptrace (trace,read,tracedby,readby) peer=docker-default,
}
";

/// Whether the kernel has it and it is switched on.
pub(super) fn is_enabled(sys: &Path) -> bool {
    let parameter = fs::read_to_string(sys.join("module/apparmor/parameters/enabled"));
    parameter.is_ok_and(|text| text.starts_with('Y')) && sys.join("kernel/security/apparmor").is_dir()
}

/// Loads the default profile unless somebody has.
pub(super) fn ensure_default(sys: &Path) -> Result<()> {
    if is_loaded(sys, DEFAULT)? {
        return Ok(());
    }
    load(PROFILE)
        .map_err(|e| e.context(format!("AppArmor enabled on system but the {DEFAULT} profile could not be loaded")))
}

fn is_loaded(sys: &Path, name: &str) -> Result<bool> {
    let path = sys.join("kernel/security/apparmor/profiles");
    let text = fs::read_to_string(&path).context(path.display())?;
    Ok(text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(" ("))))
}

/// The kernel takes compiled profiles, which only its own compiler makes.
fn load(profile: &str) -> Result<()> {
    let run = || -> std::io::Result<std::process::Output> {
        let mut parser = Command::new("apparmor_parser")
            .args(["--replace", "--skip-cache"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = parser.stdin.take() {
            input.write_all(b"@{PROC}=/proc/\n")?;
            input.write_all(profile.as_bytes())?;
        }
        parser.wait_with_output()
    };
    match run() {
        // Children of the daemon are reaped by the kernel, so that nobody learns how this one ended: its words tell.
        Ok(output) if output.stderr.is_empty() => Ok(()),
        Ok(output) => Err(Error::internal(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::CHILD.raw_os_error()) => Ok(()),
        Err(e) => Err(Error::internal(format!("running apparmor_parser: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_seen_by_the_kernels_files() {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path();
        assert!(!is_enabled(sys));
        fs::create_dir_all(sys.join("module/apparmor/parameters")).unwrap();
        fs::create_dir_all(sys.join("kernel/security/apparmor")).unwrap();
        let parameter = sys.join("module/apparmor/parameters/enabled");
        fs::write(&parameter, "N\n").unwrap();
        assert!(!is_enabled(sys));
        fs::write(&parameter, "Y\n").unwrap();
        assert!(is_enabled(sys));
        let profiles = sys.join("kernel/security/apparmor/profiles");
        fs::write(&profiles, "docker-default-2 (enforce)\n").unwrap();
        assert!(!is_loaded(sys, DEFAULT).unwrap());
        fs::write(&profiles, "x (complain)\ndocker-default (enforce)\n").unwrap();
        assert!(is_loaded(sys, DEFAULT).unwrap());
        ensure_default(sys).unwrap();
    }
}
