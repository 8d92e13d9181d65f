//! Limits of memory, processors, processes and block devices.

use gantry_api_types::{HostConfig, ThrottleDevice};
use gantry_model::{Error, Result};
use gantry_runtime::spec::Resources;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The period of `NanoCpus` in microseconds.
const PERIOD: i64 = 100_000;

/// What the configuration asks for; zero means not said, as everywhere in the API.
pub(crate) fn of_container(host: &HostConfig) -> Result<Resources> {
    let (cpu_quota, cpu_period) = match host.nano_cpus {
        0 => (said(host.cpu_quota), positive(host.cpu_period)),
        // NanoCpus is a billionth of a processor.
        nanos => (Some(nanos * PERIOD / 1_000_000_000), Some(PERIOD as u64)),
    };
    let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
    Ok(Resources {
        memory: said(host.memory),
        memory_swap: said(host.memory_swap),
        memory_reservation: said(host.memory_reservation),
        kernel_memory: None,
        memory_swappiness: host.memory_swappiness.and_then(|s| u64::try_from(s).ok()),
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
        cpu_shares: positive(host.cpu_shares),
        cpu_quota,
        cpu_period,
        cpu_rt_runtime: said(host.cpu_realtime_runtime),
        cpu_rt_period: positive(host.cpu_realtime_period),
        cpuset_cpus: text(&host.cpuset_cpus),
        cpuset_mems: text(&host.cpuset_mems),
        pids: host.pids_limit.filter(|p| *p != 0).map(|p| p.max(-1)),
        blkio_weight: (host.blkio_weight != 0).then_some(host.blkio_weight),
        blkio_weight_device: host
            .blkio_weight_device
            .iter()
            .flatten()
            .map(|d| device(&d.path).map(|(major, minor)| (major, minor, d.weight.into())))
            .collect::<Result<_>>()?,
        blkio_read_bps: throttles(host.blkio_device_read_bps.as_deref())?,
        blkio_write_bps: throttles(host.blkio_device_write_bps.as_deref())?,
        blkio_read_iops: throttles(host.blkio_device_read_iops.as_deref())?,
        blkio_write_iops: throttles(host.blkio_device_write_iops.as_deref())?,
    })
}

fn said(value: i64) -> Option<i64> {
    (value != 0).then_some(value)
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|v| *v != 0)
}

fn throttles(list: Option<&[ThrottleDevice]>) -> Result<Vec<(u32, u32, u64)>> {
    let one = |d: &ThrottleDevice| device(&d.path).map(|(major, minor)| (major, minor, d.rate));
    list.unwrap_or_default().iter().map(one).collect()
}

fn device(path: &str) -> Result<(u32, u32)> {
    let meta = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::invalid(format!("{path}: no such file or directory")),
        _ => Error::invalid(format!("{path}: {e}")),
    })?;
    if !meta.file_type().is_block_device() {
        return Err(Error::invalid(format!("{path}: not a block device")));
    }
    Ok((rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_not_said() {
        assert_eq!(of_container(&HostConfig::default()).unwrap(), Resources::default());
    }

    #[test]
    fn values_arrive() {
        let host = HostConfig {
            memory: 64 << 20,
            memory_swap: -1,
            nano_cpus: 1_500_000_000,
            cpu_shares: 512,
            pids_limit: Some(-5),
            cpuset_cpus: "0-1".into(),
            ..HostConfig::default()
        };
        let wanted = Resources {
            memory: Some(64 << 20),
            memory_swap: Some(-1),
            cpu_quota: Some(150_000),
            cpu_period: Some(100_000),
            cpu_shares: Some(512),
            pids: Some(-1),
            cpuset_cpus: Some("0-1".into()),
            ..Resources::default()
        };
        assert_eq!(of_container(&host).unwrap(), wanted);
    }

    #[test]
    fn only_block_devices_are_throttled() {
        for path in ["/nope", "/dev/null"] {
            let list = Some(vec![ThrottleDevice { path: path.into(), rate: 1 }]);
            let host = HostConfig { blkio_device_read_bps: list, ..HostConfig::default() };
            assert!(of_container(&host).is_err(), "{path}");
        }
    }
}
