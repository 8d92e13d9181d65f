//! Limits on v2.

use super::files::{make_dir, set, set_some, write};
use super::{device_program, v1::max_or};
use crate::failure::{OrFail, Result, Stage};
use crate::spec::{DeviceRule, Resources};
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What containers may be limited in.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/// Makes the directory, with the controllers enabled on the way to it.
pub(super) fn create(mount: &Path, path: &str) -> Result<PathBuf> {
    let mut dir = mount.to_owned();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        enable_controllers(&dir);
        dir.push(part);
        make_dir(&dir).or_fail(Stage::Setup, || format!("mkdir {}", dir.display()))?;
    }
    Ok(dir)
}

/// Best effort: a controller that could not be enabled shows as a limit's file that is missing.
fn enable_controllers(dir: &Path) {
    let read = |file| fs::read_to_string(dir.join(file)).unwrap_or_default();
    let (available, enabled) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let has = |list: &str, name: &str| list.split_ascii_whitespace().any(|c| c == name);
    for name in CONTROLLERS.into_iter().filter(|c| has(&available, c) && !has(&enabled, c)) {
        // One at a time: the kernel refuses a list as a whole.
        let _ = write(dir, "cgroup.subtree_control", &format!("+{name}"));
    }
}

/// Applies limits.
pub(super) fn update(dir: &Path, r: &Resources) -> Result<()> {
    set_some(dir, "memory.max", r.memory.map(max_or))?;
    if let (Some(memory), Some(total)) = (r.memory, r.memory_swap) {
        // Docker counts memory and swap together, v2 swap alone.
        let swap = if total < 0 { "max".to_owned() } else { (total - memory).max(0).to_string() };
        set(dir, "memory.swap.max", swap)?;
    }
    set_some(dir, "memory.low", r.memory_reservation.map(max_or))?;
    set_some(dir, "cpu.weight", r.cpu_shares.filter(|s| *s != 0).map(weight_of_shares))?;
    cpu_max(dir, r)?;
    set_some(dir, "cpuset.cpus", r.cpuset_cpus.as_ref())?;
    set_some(dir, "cpuset.mems", r.cpuset_mems.as_ref())?;
    set_some(dir, "pids.max", r.pids.map(max_or))?;
    io(dir, r)
}

/// v1's 2..=262144 onto v2's 1..=10000, as runc and systemd do it.
fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

/// v1's 10..=1000 onto v2's 1..=10000.
fn io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn cpu_max(dir: &Path, r: &Resources) -> Result<()> {
    match (r.cpu_quota, r.cpu_period) {
        (None, None) => Ok(()),
        (None, Some(period)) => {
            let current = fs::read_to_string(dir.join("cpu.max")).unwrap_or_default();
            set(dir, "cpu.max", format!("{} {period}", current.split(' ').next().unwrap_or("max")))
        }
        (Some(quota), None) => set(dir, "cpu.max", max_or(quota)),
        (Some(quota), Some(period)) => set(dir, "cpu.max", format!("{} {period}", max_or(quota))),
    }
}

fn io(dir: &Path, r: &Resources) -> Result<()> {
    let bfq = dir.join("io.bfq.weight").exists();
    let file = if bfq { "io.bfq.weight" } else { "io.weight" };
    let convert = |w: u64| if bfq { w } else { io_weight(w) };
    set_some(dir, file, r.blkio_weight.map(|w| convert(w.into())))?;
    for (major, minor, weight) in &r.blkio_weight_device {
        set(dir, file, format!("{major}:{minor} {}", convert(*weight)))?;
    }
    let maxima = [
        ("rbps", &r.blkio_read_bps),
        ("wbps", &r.blkio_write_bps),
        ("riops", &r.blkio_read_iops),
        ("wiops", &r.blkio_write_iops),
    ];
    for (key, entries) in maxima {
        for (major, minor, value) in entries {
            set(dir, "io.max", format!("{major}:{minor} {key}={value}"))?;
        }
    }
    Ok(())
}

/// Attaches the program that decides about device access.
pub(super) fn devices(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let program = device_program::assemble(rules);
    let attach = || {
        let cgroup = fs::File::open(dir)?;
        let program = gantry_linux::bpf::load_device_program(&program)?;
        gantry_linux::bpf::attach_device_program(cgroup.as_fd(), program.as_fd())
    };
    attach().or_fail(Stage::Setup, || "attach the device program to the cgroup")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "memory.max",
            "memory.swap.max",
            "memory.low",
            "cpu.weight",
            "cpu.max",
            "cpuset.cpus",
            "cpuset.mems",
            "pids.max",
            "io.weight",
            "io.max",
        ];
        for file in files {
            fs::write(dir.path().join(file), "").unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(dir.path().join(file)).unwrap()
    }

    #[test]
    fn limits_are_converted() {
        let dir = tree();
        let resources = Resources {
            memory: Some(1000),
            memory_swap: Some(3000),
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            pids: Some(-1),
            blkio_weight: Some(500),
            blkio_read_bps: vec![(8, 0, 4096)],
            cpuset_cpus: Some("0-1".into()),
            ..Resources::default()
        };
        update(dir.path(), &resources).unwrap();
        assert_eq!(read(&dir, "memory.max"), "1000");
        assert_eq!(read(&dir, "memory.swap.max"), "2000");
        assert_eq!(read(&dir, "cpu.weight"), "39");
        assert_eq!(read(&dir, "cpu.max"), "50000 100000");
        assert_eq!(read(&dir, "pids.max"), "max");
        assert_eq!(read(&dir, "io.weight"), "4950");
        assert_eq!(read(&dir, "io.max"), "8:0 rbps=4096");
        assert_eq!(read(&dir, "cpuset.cpus"), "0-1");
        assert_eq!(read(&dir, "cpuset.mems"), "");
    }

    #[test]
    fn weights_reach_both_ends() {
        assert_eq!((weight_of_shares(2), weight_of_shares(262_144), weight_of_shares(1)), (1, 10_000, 1));
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }

    #[test]
    fn a_missing_controller_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let failure = update(dir.path(), &Resources { pids: Some(5), ..Resources::default() }).unwrap_err();
        assert!(failure.message.contains("pids.max"), "{failure}");
    }

    #[test]
    fn controllers_are_enabled_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("cgroup.controllers"), "cpu memory misc\n").unwrap();
        fs::write(root.path().join("cgroup.subtree_control"), "cpu\n").unwrap();
        let dir = create(root.path(), "/gantry/x").unwrap();
        assert_eq!(dir, root.path().join("gantry/x"));
        // A regular file keeps the tail of what was there; the kernel's does not.
        assert!(fs::read_to_string(root.path().join("cgroup.subtree_control")).unwrap().starts_with("+memory"));
    }
}
