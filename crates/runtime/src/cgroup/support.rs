//! What this host can limit, for warnings and `/info`.

use super::CgroupRoot;
use std::fs;
use std::path::Path;

/// Each is false when a limit of that kind would be refused or have no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Support {
    /// 1 or 2.
    pub version: u8,
    /// `Memory`.
    pub memory: bool,
    /// `MemorySwap`.
    pub swap: bool,
    /// `MemoryReservation`.
    pub memory_reservation: bool,
    /// `MemorySwappiness`.
    pub swappiness: bool,
    /// `OomKillDisable`.
    pub oom_kill_disable: bool,
    /// `KernelMemory`.
    pub kernel_memory: bool,
    /// `CpuShares`.
    pub cpu_shares: bool,
    /// `CpuQuota`, `CpuPeriod`.
    pub cpu_cfs: bool,
    /// `CpuRealtimeRuntime`, `CpuRealtimePeriod`.
    pub cpu_realtime: bool,
    /// `CpusetCpus`, `CpusetMems`.
    pub cpuset: bool,
    /// `PidsLimit`.
    pub pids: bool,
    /// `BlkioWeight`.
    pub blkio_weight: bool,
    /// `BlkioWeightDevice`.
    pub blkio_weight_device: bool,
    /// The bandwidth and operation limits of block devices.
    pub blkio_throttle: bool,
    /// Pause.
    pub freezer: bool,
    /// Device rules.
    pub devices: bool,
}

impl CgroupRoot {
    /// Looks at what the controllers offer.
    pub fn support(&self) -> Support {
        if self.is_unified() { self.support_v2() } else { self.support_v1() }
    }

    fn support_v1(&self) -> Support {
        let mount = |name: &str| {
            let found = self.v1.iter().find(|h| h.controllers.iter().any(|c| c == name));
            found.map(|h| h.mount.as_path())
        };
        let has = |controller: &str, file: &str| mount(controller).is_some_and(|m| m.join(file).exists());
        Support {
            version: 1,
            memory: has("memory", "memory.limit_in_bytes"),
            swap: has("memory", "memory.memsw.limit_in_bytes"),
            memory_reservation: has("memory", "memory.soft_limit_in_bytes"),
            swappiness: has("memory", "memory.swappiness"),
            oom_kill_disable: has("memory", "memory.oom_control"),
            kernel_memory: false, // The kernel's own limit is gone since 5.16 and was broken before.
            cpu_shares: has("cpu", "cpu.shares"),
            cpu_cfs: has("cpu", "cpu.cfs_quota_us"),
            cpu_realtime: has("cpu", "cpu.rt_runtime_us"),
            cpuset: has("cpuset", "cpuset.cpus"),
            pids: mount("pids").is_some(),
            blkio_weight: has("blkio", "blkio.weight") || has("blkio", "blkio.bfq.weight"),
            blkio_weight_device: has("blkio", "blkio.weight_device") || has("blkio", "blkio.bfq.weight_device"),
            blkio_throttle: has("blkio", "blkio.throttle.read_bps_device"),
            freezer: self.v2.is_some() || mount("freezer").is_some(),
            devices: mount("devices").is_some(),
        }
    }

    fn support_v2(&self) -> Support {
        let controllers = |root: &Path| fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let available = self.v2.as_deref().map(controllers).unwrap_or_default();
        let has = |name: &str| available.split_ascii_whitespace().any(|c| c == name);
        Support {
            version: 2,
            memory: has("memory"),
            swap: has("memory") && fs::exists("/proc/swaps").unwrap_or(false),
            memory_reservation: has("memory"),
            cpu_shares: has("cpu"),
            cpu_cfs: has("cpu"),
            cpuset: has("cpuset"),
            pids: has("pids"),
            blkio_weight: has("io"),
            blkio_weight_device: has("io"),
            blkio_throttle: has("io"),
            freezer: true,
            devices: true,
            ..Support::default()
        }
    }
}
