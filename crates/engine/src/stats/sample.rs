//! One sample: the cgroup's counters and the interfaces' in Docker's words. Blocks.

use super::system;
use crate::container::Container;
use crate::{Engine, host, plan, procfs};
use gantry_api_types::stats::{
    BlkioEntry, BlkioStats, ContainerStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, ThrottlingData,
};
use gantry_model::Timestamp;
use gantry_runtime::cgroup::stats::{Cpu, Io, IoCounter, Memory, Pids};
use std::collections::BTreeMap;

/// The lines of v1's `memory.stat` that Docker shows, each with and without `total_`.
const MEMORY_V1: [&str; 15] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
];

/// The lines of v2's `memory.stat` that Docker shows; those the kernel lacks are 0.
const MEMORY_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// What the container uses now; of one that does not run, nothing but its names.
pub(super) fn sample(engine: &Engine, container: &Container) -> ContainerStats {
    let (mut shown, live, cgroup, mode, pid) = {
        let record = container.read();
        let shown = ContainerStats {
            name: format!("/{}", record.name),
            id: record.id.to_string(),
            read: Timestamp::ZERO.to_string(),
            preread: Timestamp::ZERO.to_string(),
            ..ContainerStats::default()
        };
        let mode = plan::network::mode(&record);
        (shown, record.state.status.is_live(), engine.record_cgroup_path(&record), mode, record.state.pid)
    };
    if !live {
        return shown;
    }
    let stats = engine.cgroups.cgroup(&cgroup).stats();
    // Read next to each other, for they are compared.
    let system = system::processor_time();
    shown.read = Timestamp::now().to_string();
    shown.cpu_stats = cpu(&stats.cpu, system);
    shown.memory_stats = memory(&stats.memory, stats.v1);
    shown.pids_stats = pids(stats.pids, stats.v1);
    shown.blkio_stats = blkio(stats.io, stats.v1);
    // The host's interfaces are not the container's.
    if mode != plan::network::NetworkMode::Host {
        shown.networks = networks(pid);
    }
    shown
}

fn cpu(cpu: &Cpu, system: u64) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: cpu.total,
            percpu_usage: (!cpu.each.is_empty()).then(|| cpu.each.clone()),
            usage_in_kernelmode: cpu.kernel,
            usage_in_usermode: cpu.user,
        },
        system_cpu_usage: system,
        online_cpus: system::online_processors(),
        throttling_data: ThrottlingData {
            periods: cpu.periods,
            throttled_periods: cpu.throttled_periods,
            throttled_time: cpu.throttled_time,
        },
    }
}

fn memory(memory: &Memory, v1: bool) -> MemoryStats {
    let machine = u64::try_from(host::memory_total()).unwrap_or(0);
    MemoryStats {
        usage: memory.usage,
        max_usage: memory.max_usage,
        stats: if v1 { detail_v1(&memory.detail) } else { detail_v2(&memory.detail) },
        failcnt: memory.failures,
        // Without a limit it is what the machine has.
        limit: memory.limit.min(machine),
    }
}

fn detail_v1(detail: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut shown = BTreeMap::new();
    let totals = MEMORY_V1.iter().map(|name| format!("total_{name}"));
    let limits = ["hierarchical_memory_limit", "hierarchical_memsw_limit"];
    for name in MEMORY_V1.iter().chain(&limits).map(|name| (*name).to_owned()).chain(totals) {
        let value = detail.get(&name).copied().unwrap_or(0);
        shown.insert(name, value);
    }
    shown
}

fn detail_v2(detail: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let value = |name: &str| {
        let of = |name: &str| detail.get(name).copied();
        // Since 5.9 these are counted for both kinds of pages.
        of(name).or_else(|| Some(of(&format!("{name}_anon"))? + of(&format!("{name}_file"))?)).unwrap_or(0)
    };
    MEMORY_V2.iter().map(|name| ((*name).to_owned(), value(name))).collect()
}

fn pids(pids: Pids, v1: bool) -> PidsStats {
    // What Docker shows where there is no limit.
    let unlimited = if v1 { 0 } else { u64::MAX };
    PidsStats { current: pids.current, limit: pids.limit.unwrap_or(unlimited) }
}

fn blkio(io: Io, v1: bool) -> BlkioStats {
    let entries = |counters: Vec<IoCounter>| {
        let entry = |c: IoCounter| BlkioEntry { major: c.device.0, minor: c.device.1, op: c.kind, value: c.value };
        counters.into_iter().map(entry).collect::<Vec<_>>()
    };
    if !v1 {
        let bytes = entries(io.bytes);
        let shown = (!bytes.is_empty()).then_some(bytes);
        return BlkioStats { io_service_bytes_recursive: shown, ..BlkioStats::default() };
    }
    // The others were counted by a scheduler that Linux 5.0 removed.
    let none = || Some(Vec::new());
    BlkioStats {
        io_service_bytes_recursive: Some(entries(io.bytes)),
        io_serviced_recursive: Some(entries(io.operations)),
        io_queue_recursive: none(),
        io_service_time_recursive: none(),
        io_wait_time_recursive: none(),
        io_merged_recursive: none(),
        io_time_recursive: none(),
        sectors_recursive: none(),
    }
}

/// The interfaces that the engine gave to the namespace of this process; `None` if it has none.
fn networks(pid: u32) -> Option<BTreeMap<String, NetworkStats>> {
    let shown: BTreeMap<_, _> = procfs::interfaces(pid)
        .into_iter()
        .filter(|(name, _)| name.starts_with("eth"))
        .map(|(name, counters)| (name, network(&counters)))
        .collect();
    (!shown.is_empty()).then_some(shown)
}

/// The columns of `/proc/net/dev`: eight of what was received, then eight of what was sent.
fn network(counters: &[u64; 16]) -> NetworkStats {
    NetworkStats {
        rx_bytes: counters[0],
        rx_packets: counters[1],
        rx_errors: counters[2],
        rx_dropped: counters[3],
        tx_bytes: counters[8],
        tx_packets: counters[9],
        tx_errors: counters[10],
        tx_dropped: counters[11],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_a_limit_is_the_machine_s() {
        let none = Memory { limit: u64::MAX, ..Memory::default() };
        let machine = u64::try_from(host::memory_total()).unwrap();
        assert_eq!(memory(&none, true).limit, machine);
        assert_eq!(memory(&Memory { limit: 1 << 20, ..Memory::default() }, true).limit, 1 << 20);
    }

    #[test]
    fn refaults_are_summed_on_newer_kernels() {
        let detail = [("workingset_refault_anon", 2), ("workingset_refault_file", 3), ("anon", 7)];
        let shown = detail_v2(&detail.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!((shown["workingset_refault"], shown["anon"], shown["file"]), (5, 7, 0));
        assert_eq!(shown.len(), MEMORY_V2.len());
    }
}
