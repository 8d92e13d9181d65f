//! What a container uses: the counters of its cgroup.

use super::Cgroup;
use super::files::read_number;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The counters at one moment. What the host does not count is zero or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whether they are those of v1, whose names differ.
    pub v1: bool,
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Tasks.
    pub pids: Pids,
    /// Block I/O.
    pub io: Io,
}

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it.
    pub total: u64,
    /// In the kernel.
    pub kernel: u64,
    /// In programs.
    pub user: u64,
    /// By processor, v1 only.
    pub each: Vec<u64>,
    /// Periods in which the quota was looked at.
    pub periods: u64,
    /// Of these, those in which it was used up.
    pub throttled_periods: u64,
    /// How long it kept the container waiting.
    pub throttled_time: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Now.
    pub usage: u64,
    /// The most so far, v1 only.
    pub max_usage: u64,
    /// The limit; `u64::MAX` or a number larger than any memory is none.
    pub limit: u64,
    /// How often the limit was hit (v1), or nothing could be freed then (v2).
    pub failures: u64,
    /// The lines of `memory.stat`.
    pub detail: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pids {
    /// Now.
    pub current: u64,
    /// The limit; `None` without one.
    pub limit: Option<u64>,
}

/// Block I/O by device and kind of operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes.
    pub bytes: Vec<IoCounter>,
    /// Operations; v1 only.
    pub operations: Vec<IoCounter>,
}

/// One device's counter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IoCounter {
    /// Major and minor number.
    pub device: (u64, u64),
    /// `Read`, `Write`, … on v1, `read` and `write` on v2.
    pub kind: String,
    /// The count.
    pub value: u64,
}

impl Cgroup {
    /// Reads them; a cgroup that is going away reads as zeros.
    pub fn stats(&self) -> Stats {
        if let Some(dir) = self.unified_dir() {
            return Stats { v1: false, cpu: cpu_v2(dir), memory: memory_v2(dir), pids: pids(dir), io: io_v2(dir) };
        }
        let of = |controller| self.v1_dir(controller);
        let mut cpu = of("cpuacct").map(usage_v1).unwrap_or_default();
        if let Some(dir) = of("cpu") {
            throttling_v1(dir, &mut cpu);
        }
        Stats {
            v1: true,
            cpu,
            memory: of("memory").map(memory_v1).unwrap_or_default(),
            pids: of("pids").map(pids).unwrap_or_default(),
            io: of("blkio").map(io_v1).unwrap_or_default(),
        }
    }
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

/// The lines `name number` of a file.
fn lines(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(' ')?;
        Some((name, value.trim().parse().ok()?))
    })
}

fn usage_v1(dir: &Path) -> Cpu {
    // `cpuacct.stat` counts in the clock ticks that the kernel shows to programs, which are hundredths everywhere.
    const TICK: u64 = 10_000_000;
    let mut cpu = Cpu { total: read_number(dir, "cpuacct.usage").unwrap_or(0), ..Cpu::default() };
    cpu.each = read(dir, "cpuacct.usage_percpu").split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect();
    for (name, ticks) in lines(&read(dir, "cpuacct.stat")) {
        match name {
            "user" => cpu.user = ticks * TICK,
            "system" => cpu.kernel = ticks * TICK,
            _ => {}
        }
    }
    cpu
}

fn throttling_v1(dir: &Path, cpu: &mut Cpu) {
    for (name, value) in lines(&read(dir, "cpu.stat")) {
        match name {
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled_periods = value,
            "throttled_time" => cpu.throttled_time = value,
            _ => {}
        }
    }
}

fn cpu_v2(dir: &Path) -> Cpu {
    const MICROSECOND: u64 = 1000;
    let mut cpu = Cpu::default();
    for (name, value) in lines(&read(dir, "cpu.stat")) {
        match name {
            "usage_usec" => cpu.total = value * MICROSECOND,
            "user_usec" => cpu.user = value * MICROSECOND,
            "system_usec" => cpu.kernel = value * MICROSECOND,
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled_periods = value,
            "throttled_usec" => cpu.throttled_time = value * MICROSECOND,
            _ => {}
        }
    }
    cpu
}

fn detail(dir: &Path) -> BTreeMap<String, u64> {
    lines(&read(dir, "memory.stat")).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn memory_v1(dir: &Path) -> Memory {
    let number = |file| read_number(dir, file).unwrap_or(0);
    Memory {
        usage: number("memory.usage_in_bytes"),
        max_usage: number("memory.max_usage_in_bytes"),
        limit: number("memory.limit_in_bytes"),
        failures: number("memory.failcnt"),
        detail: detail(dir),
    }
}

fn memory_v2(dir: &Path) -> Memory {
    let failures = lines(&read(dir, "memory.events")).find(|(name, _)| *name == "oom").map_or(0, |(_, count)| count);
    Memory {
        usage: read_number(dir, "memory.current").unwrap_or(0),
        max_usage: 0,
        limit: read_number(dir, "memory.max").unwrap_or(u64::MAX),
        failures,
        detail: detail(dir),
    }
}

fn pids(dir: &Path) -> Pids {
    Pids { current: read_number(dir, "pids.current").unwrap_or(0), limit: read_number(dir, "pids.max") }
}

fn io_v1(dir: &Path) -> Io {
    let file = |what: &str| {
        // What the scheduler counts, where it is one that does, and otherwise what the throttling layer has seen.
        let text = fs::read_to_string(dir.join(format!("blkio.{what}_recursive")));
        counters_v1(&text.unwrap_or_else(|_| read(dir, &format!("blkio.throttle.{what}_recursive"))))
    };
    Io { bytes: file("io_service_bytes"), operations: file("io_serviced") }
}

/// Lines `major:minor Kind number`; the sum of all devices has no device and is left out.
fn counters_v1(text: &str) -> Vec<IoCounter> {
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let device = device(words.next()?)?;
        Some(IoCounter { device, kind: words.next()?.to_owned(), value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(parse).collect()
}

fn io_v2(dir: &Path) -> Io {
    Io { bytes: counters_v2(&read(dir, "io.stat")), operations: Vec::new() }
}

/// Lines `major:minor rbytes=1 wbytes=2 …`.
fn counters_v2(text: &str) -> Vec<IoCounter> {
    let mut counters = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(device) else { continue };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let kind = match key {
                "rbytes" => "read",
                "wbytes" => "write",
                _ => continue,
            };
            counters.extend(value.parse().ok().map(|value| IoCounter { device, kind: kind.to_owned(), value }));
        }
    }
    counters
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn processor_time_is_nanoseconds_on_both() {
        let v1 = tree(&[
            ("cpuacct.usage", "5000\n"),
            ("cpuacct.usage_percpu", "2000 3000 \n"),
            ("cpuacct.stat", "user 2\nsystem 1\n"),
            ("cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 2\n"),
        ]);
        let mut cpu = usage_v1(v1.path());
        throttling_v1(v1.path(), &mut cpu);
        assert_eq!((cpu.total, cpu.user, cpu.kernel), (5000, 20_000_000, 10_000_000));
        assert_eq!((cpu.each.as_slice(), cpu.periods, cpu.throttled_periods), (&[2000, 3000][..], 4, 3));
        let v2 = tree(&[("cpu.stat", "usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 1\nthrottled_usec 7\n")]);
        let cpu = cpu_v2(v2.path());
        assert_eq!((cpu.total, cpu.user, cpu.kernel, cpu.throttled_time), (5000, 3000, 2000, 7000));
    }

    #[test]
    fn no_limit_is_none() {
        let dir = tree(&[("pids.current", "3\n"), ("pids.max", "max\n"), ("memory.max", "max\n")]);
        assert_eq!(pids(dir.path()), Pids { current: 3, limit: None });
        assert_eq!(memory_v2(dir.path()).limit, u64::MAX);
        assert_eq!(memory_v1(dir.path()), Memory::default());
    }

    #[test]
    fn counters_of_devices() {
        let v1 = counters_v1("8:0 Read 10\n8:0 Total 12\nTotal 12\ngarbage\n");
        assert_eq!(v1.len(), 2);
        assert_eq!(v1[0], IoCounter { device: (8, 0), kind: "Read".into(), value: 10 });
        let v2 = counters_v2("8:0 rbytes=1 wbytes=2 rios=3 wios=4\n9:0\n");
        let shown: Vec<_> = v2.iter().map(|c| (c.kind.as_str(), c.value)).collect();
        assert_eq!(shown, [("read", 1), ("write", 2)]);
    }
}
