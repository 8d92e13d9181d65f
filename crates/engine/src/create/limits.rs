//! Checks of the resource limits; what this host cannot limit is discarded with a warning. The
//! words are Docker's, of `verifyPlatformContainerResources`.

use gantry_api_types::HostConfig;
use gantry_model::{Error, Result};
use gantry_runtime::cgroup::Support;
use std::fs;

/// No program runs in less.
const LEAST_MEMORY: i64 = 6 << 20;

/// What the limits are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// All that a new container has.
    Create,
    /// Those of an existing one that are to change.
    Update,
}

/// Checks `host` and takes out what is not supported, noting it in `warnings`.
pub(crate) fn check(
    host: &mut HostConfig,
    support: &Support,
    purpose: Purpose,
    warnings: &mut Vec<String>,
) -> Result<()> {
    memory(host, support, purpose, warnings)?;
    swappiness_and_oom(host, support, warnings)?;
    if host.pids_limit.is_some_and(|limit| limit != 0) && !support.pids {
        discard(warnings, "PIDs limit capabilities or the cgroup is not mounted", "PIDs limit");
        host.pids_limit = None;
    }
    cpu(host, support, warnings)?;
    cpuset(host, support, warnings)?;
    for_windows(host, warnings)?;
    blkio(host, support, warnings)
}

/// Limits that Windows alone has. Docker refuses some and drops others.
fn for_windows(host: &mut HostConfig, warnings: &mut Vec<String>) -> Result<()> {
    for (limit, name) in [(host.io_maximum_bandwidth, "bandwidth"), (host.io_maximum_iops, "IOPs")] {
        if limit != 0 {
            return refuse(format!("invalid QoS settings: linux does not support configuration of maximum {name}"));
        }
    }
    if host.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
        host.cpu_percent = 0;
    }
    Ok(())
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(message))
}

fn discard(warnings: &mut Vec<String>, what: &str, discarded: &str) {
    warnings.push(format!("Your kernel does not support {what}. {discarded} discarded."));
}

fn memory(host: &mut HostConfig, support: &Support, purpose: Purpose, warnings: &mut Vec<String>) -> Result<()> {
    if host.memory != 0 && host.memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if host.memory > 0 && !support.memory {
        discard(warnings, "memory limit capabilities or the cgroup is not mounted", "Limitation");
        (host.memory, host.memory_swap) = (0, -1);
    }
    if host.memory > 0 && host.memory_swap != -1 && !support.swap {
        warnings.push(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."
                .to_owned(),
        );
        host.memory_swap = -1;
    }
    if host.memory > 0 && host.memory_swap > 0 && host.memory_swap < host.memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if host.memory == 0 && host.memory_swap > 0 && purpose == Purpose::Create {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if host.memory_reservation > 0 && !support.memory_reservation {
        discard(warnings, "memory soft limit capabilities or the cgroup is not mounted", "Limitation");
        host.memory_reservation = 0;
    }
    if host.memory_reservation > 0 && host.memory_reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if host.memory > 0 && host.memory_reservation > 0 && host.memory < host.memory_reservation {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    if host.kernel_memory > 0 {
        if host.kernel_memory < LEAST_MEMORY {
            return refuse("Minimum kernel memory limit allowed is 6MB");
        }
        // The kernel has had no such limit since 5.16.
        discard(warnings, "kernel memory limit capabilities or the cgroup is not mounted", "Limitation");
        host.kernel_memory = 0;
    }
    Ok(())
}

fn swappiness_and_oom(host: &mut HostConfig, support: &Support, warnings: &mut Vec<String>) -> Result<()> {
    if let Some(swappiness) = host.memory_swappiness {
        if !(-1..=100).contains(&swappiness) {
            return refuse(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
        }
        if swappiness == -1 {
            host.memory_swappiness = None;
        } else if !support.swappiness {
            discard(warnings, "memory swappiness capabilities or the cgroup is not mounted", "Memory swappiness");
            host.memory_swappiness = None;
        }
    }
    if host.oom_kill_disable == Some(true) {
        if !support.oom_kill_disable {
            discard(warnings, "OomKillDisable", "OomKillDisable");
            host.oom_kill_disable = None;
        } else if host.memory == 0 {
            warnings.push(
                "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources."
                    .to_owned(),
            );
        }
    }
    Ok(())
}

fn cpu(host: &mut HostConfig, support: &Support, warnings: &mut Vec<String>) -> Result<()> {
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if host.nano_cpus > 0 && !support.cpu_cfs {
        return refuse(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted",
        );
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as i64;
    if host.nano_cpus < 0 || host.nano_cpus > cpus * 1_000_000_000 {
        return refuse(format!("Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"));
    }
    if host.cpu_shares > 0 && !support.cpu_shares {
        discard(warnings, "CPU shares or the cgroup is not mounted", "Shares");
        host.cpu_shares = 0;
    }
    if (host.cpu_period != 0 || host.cpu_quota != 0) && !support.cpu_cfs {
        discard(warnings, "CPU CFS scheduler", "CPU period/quota");
        (host.cpu_period, host.cpu_quota) = (0, 0);
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if (host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0) && !support.cpu_realtime {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    if host.cpu_realtime_period != 0 && host.cpu_realtime_runtime > host.cpu_realtime_period {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

fn cpuset(host: &mut HostConfig, support: &Support, warnings: &mut Vec<String>) -> Result<()> {
    if (!host.cpuset_cpus.is_empty() || !host.cpuset_mems.is_empty()) && !support.cpuset {
        discard(warnings, "cpuset or the cgroup is not mounted", "Cpuset");
        host.cpuset_cpus.clear();
        host.cpuset_mems.clear();
    }
    for (wanted, what, plural, file) in [
        (&host.cpuset_cpus, "cpus", "CPUs", "/sys/devices/system/cpu/online"),
        (&host.cpuset_mems, "mems", "memory nodes", "/sys/devices/system/node/online"),
    ] {
        if wanted.is_empty() {
            continue;
        }
        let Some(list) = parse_list(wanted) else {
            return refuse(format!("Invalid value {wanted} for cpuset {what}: invalid format: {wanted}"));
        };
        let available = fs::read_to_string(file).unwrap_or_else(|_| "0".to_owned());
        let available = available.trim();
        let ranges = parse_list(available).unwrap_or_default();
        let inside = |(first, last): &(u32, u32)| ranges.iter().any(|(low, high)| low <= first && last <= high);
        if !list.iter().all(inside) {
            return refuse(format!(
                "Requested {plural} are not available - requested {wanted}, available: {available}"
            ));
        }
    }
    Ok(())
}

/// `0-2,4` as ranges.
fn parse_list(text: &str) -> Option<Vec<(u32, u32)>> {
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u32>().ok()).flatten();
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            // The kernel's masks end far below.
            (first <= last && last < 8192).then_some((first, last))
        })
        .collect()
}

fn blkio(host: &mut HostConfig, support: &Support, warnings: &mut Vec<String>) -> Result<()> {
    let given =
        |list: &Option<Vec<_>>| list.as_ref().is_some_and(|l: &Vec<gantry_api_types::ThrottleDevice>| !l.is_empty());
    if host.blkio_weight > 0 && !support.blkio_weight {
        discard(warnings, "Block I/O weight or the cgroup is not mounted", "Weight");
        host.blkio_weight = 0;
    }
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    if host.blkio_weight_device.as_ref().is_some_and(|l| !l.is_empty()) && !support.blkio_weight_device {
        discard(warnings, "Block I/O weight_device or the cgroup is not mounted", "Weight-device");
        host.blkio_weight_device = None;
    }
    for (list, unit, direction) in [
        (&mut host.blkio_device_read_bps, "BPS", "read"),
        (&mut host.blkio_device_write_bps, "BPS", "write"),
        (&mut host.blkio_device_read_iops, "IOPS", "read"),
        (&mut host.blkio_device_write_iops, "IOPS", "write"),
    ] {
        if given(list) && !support.blkio_throttle {
            let what = format!("{unit} Block I/O {direction} limit or the cgroup is not mounted");
            discard(warnings, &what, &format!("Block I/O {unit} {direction} limit"));
            *list = None;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Support = Support {
        version: 1,
        memory: true,
        swap: true,
        memory_reservation: true,
        swappiness: true,
        oom_kill_disable: true,
        kernel_memory: true,
        cpu_shares: true,
        cpu_cfs: true,
        cpu_realtime: true,
        cpuset: true,
        pids: true,
        blkio_weight: true,
        blkio_weight_device: true,
        blkio_throttle: true,
        freezer: true,
        devices: true,
    };

    fn message(host: HostConfig) -> String {
        check(&mut { host }, &EVERYTHING, Purpose::Create, &mut Vec::new())
            .err()
            .map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn docker_s_messages() {
        let host = HostConfig::default;
        for (host, text) in [
            (host(), ""),
            (HostConfig { memory: 1000, ..host() }, "Minimum memory limit allowed is 6MB"),
            (
                HostConfig { memory: 10_000_000, memory_swap: 5_000_000, ..host() },
                "Minimum memoryswap limit should be larger than memory limit, see usage",
            ),
            (
                HostConfig { memory_swap: 5_000_000, ..host() },
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ),
            (HostConfig { memory_reservation: 500, ..host() }, "Minimum memory reservation allowed is 6MB"),
            (
                HostConfig { memory_swappiness: Some(101), ..host() },
                "Invalid value: 101, valid memory swappiness range is 0-100",
            ),
            (
                HostConfig { nano_cpus: 1, cpu_quota: 1, ..host() },
                "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
            ),
            (HostConfig { cpu_quota: 100, ..host() }, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
            (HostConfig { cpuset_cpus: "x".into(), ..host() }, "Invalid value x for cpuset cpus: invalid format: x"),
            (HostConfig { blkio_weight: 5, ..host() }, "Range of blkio weight is from 10 to 1000"),
        ] {
            assert_eq!(message(host), text);
        }
        let message = message(HostConfig { cpuset_cpus: "0-8000".into(), ..HostConfig::default() });
        assert!(message.starts_with("Requested CPUs are not available - requested 0-8000, available: 0"), "{message}");
    }

    #[test]
    fn what_windows_has() {
        let mut host = HostConfig { cpu_percent: 50, cpu_count: 2, ..HostConfig::default() };
        let mut warnings = Vec::new();
        check(&mut host, &Support::default(), Purpose::Create, &mut warnings).unwrap();
        assert_eq!((host.cpu_percent, host.cpu_count, warnings.len()), (0, 2, 1));
        for host in [
            HostConfig { io_maximum_iops: 1, ..HostConfig::default() },
            HostConfig { io_maximum_bandwidth: 1, ..HostConfig::default() },
        ] {
            assert!(check(&mut host.clone(), &Support::default(), Purpose::Update, &mut warnings).is_err());
        }
    }

    #[test]
    fn what_is_not_supported_is_discarded() {
        let mut host = HostConfig {
            memory: 10_000_000,
            cpu_shares: 5,
            pids_limit: Some(5),
            blkio_weight: 5,
            ..HostConfig::default()
        };
        let mut warnings = Vec::new();
        check(&mut host, &Support::default(), Purpose::Create, &mut warnings).unwrap();
        assert_eq!((host.memory, host.cpu_shares, host.pids_limit, host.blkio_weight), (0, 0, None, 0));
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        assert_eq!(
            warnings[3],
            "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded."
        );
    }
}
