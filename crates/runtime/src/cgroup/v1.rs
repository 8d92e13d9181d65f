//! Limits on v1.

use super::detect::Hierarchy;
use super::files::{make_dir, set, set_some, write};
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::spec::{Cgroup, DeviceRule, Resources};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Makes the cgroup's directory in one hierarchy.
pub(super) fn create(hierarchy: &Hierarchy, path: &str) -> Result<PathBuf> {
    let mut dir = hierarchy.mount.clone();
    for part in path.split('/').filter(|p| !p.is_empty()) {
        let parent = dir.clone();
        dir.push(part);
        make_dir(&dir).or_fail(Stage::Setup, || format!("mkdir {}", dir.display()))?;
        if hierarchy.controllers.iter().any(|c| c == "cpuset") {
            inherit_cpuset(&parent, &dir).or_fail(Stage::Setup, || format!("prepare {}", dir.display()))?;
        }
    }
    Ok(dir)
}

/// A new cpuset is empty, and no task can enter it before it has cpus and memory nodes.
fn inherit_cpuset(parent: &Path, dir: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if fs::read_to_string(dir.join(file))?.trim().is_empty() {
            write(dir, file, fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// Applies everything that one hierarchy's controllers are in charge of.
pub(super) fn apply(hierarchy: &Hierarchy, dir: &Path, cgroup: &Cgroup) -> Result<()> {
    update(hierarchy, dir, &cgroup.resources)?;
    if hierarchy.controllers.iter().any(|c| c == "devices") {
        devices(dir, &cgroup.device_rules)?;
    }
    Ok(())
}

/// Applies the limits that can change while the container runs.
pub(super) fn update(hierarchy: &Hierarchy, dir: &Path, r: &Resources) -> Result<()> {
    for controller in &hierarchy.controllers {
        match controller.as_str() {
            "memory" => memory(dir, r)?,
            "cpu" => cpu(dir, r)?,
            "cpuset" => {
                set_some(dir, "cpuset.cpus", r.cpuset_cpus.as_ref())?;
                set_some(dir, "cpuset.mems", r.cpuset_mems.as_ref())?;
            }
            "pids" => set_some(dir, "pids.max", r.pids.map(max_or))?,
            "blkio" => blkio(dir, r)?,
            _ => {}
        }
    }
    Ok(())
}

/// Fails if a limit is wanted whose controller no hierarchy has.
pub(super) fn check_controllers(hierarchies: &[Hierarchy], r: &Resources) -> Result<()> {
    let wanted = [
        ("memory", r.memory.is_some() || r.memory_reservation.is_some() || r.memory_swap.is_some()),
        ("cpu", r.cpu_shares.is_some() || r.cpu_quota.is_some()),
        ("cpuset", r.cpuset_cpus.is_some() || r.cpuset_mems.is_some()),
        ("pids", r.pids.is_some()),
        ("blkio", r.blkio_weight.is_some()),
    ];
    for (name, wanted) in wanted {
        if wanted && !hierarchies.iter().any(|h| h.controllers.iter().any(|c| c == name)) {
            return Err(Failure::new(Stage::Setup, format!("this host has no {name} cgroup controller")));
        }
    }
    Ok(())
}

fn memory(dir: &Path, r: &Resources) -> Result<()> {
    // The kernel wants memory <= memory+swap at every moment, so the order of the two writes
    // depends on the direction. Trying again in the other order covers both.
    let limit = |value| set_some(dir, "memory.limit_in_bytes", value);
    let swap = |value| set_some(dir, "memory.memsw.limit_in_bytes", value);
    if limit(r.memory).is_err() || swap(r.memory_swap).is_err() {
        swap(r.memory_swap)?;
        limit(r.memory)?;
    }
    set_some(dir, "memory.soft_limit_in_bytes", r.memory_reservation)?;
    set_some(dir, "memory.swappiness", r.memory_swappiness)?;
    if r.oom_kill_disable {
        set(dir, "memory.oom_control", 1)?;
    }
    Ok(())
}

fn cpu(dir: &Path, r: &Resources) -> Result<()> {
    set_some(dir, "cpu.shares", r.cpu_shares)?;
    set_some(dir, "cpu.cfs_period_us", r.cpu_period)?;
    set_some(dir, "cpu.cfs_quota_us", r.cpu_quota)?;
    set_some(dir, "cpu.rt_period_us", r.cpu_rt_period)?;
    set_some(dir, "cpu.rt_runtime_us", r.cpu_rt_runtime)
}

fn blkio(dir: &Path, r: &Resources) -> Result<()> {
    // Since 5.0 weights belong to the BFQ scheduler, under its own name.
    let weight = if dir.join("blkio.weight").exists() { "blkio.weight" } else { "blkio.bfq.weight" };
    set_some(dir, weight, r.blkio_weight)?;
    let devices = [
        (format!("{weight}_device"), &r.blkio_weight_device),
        ("blkio.throttle.read_bps_device".to_owned(), &r.blkio_read_bps),
        ("blkio.throttle.write_bps_device".to_owned(), &r.blkio_write_bps),
        ("blkio.throttle.read_iops_device".to_owned(), &r.blkio_read_iops),
        ("blkio.throttle.write_iops_device".to_owned(), &r.blkio_write_iops),
    ];
    for (file, entries) in devices {
        for (major, minor, value) in entries {
            set(dir, &file, format!("{major}:{minor} {value}"))?;
        }
    }
    Ok(())
}

fn devices(dir: &Path, rules: &[DeviceRule]) -> Result<()> {
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    for rule in rules {
        let file = if rule.allow { "devices.allow" } else { "devices.deny" };
        set(dir, file, format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access))?;
    }
    Ok(())
}

/// -1 (and 0, which Docker takes for "unset") is `max`.
pub(super) fn max_or(value: i64) -> String {
    if value > 0 { value.to_string() } else { "max".to_owned() }
}
