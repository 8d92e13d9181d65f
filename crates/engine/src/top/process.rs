//! A process and its machine, as procfs tells (proc(5)).

use std::collections::HashMap;
use std::fs;
use time::macros::format_description;
use time::{Duration, OffsetDateTime};

/// One process.
#[derive(Debug, Clone, Default)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) ppid: u32,
    pub(super) pgid: i64,
    pub(super) sid: i64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) state: char,
    pub(super) tty_number: u64,
    /// User and system time, in clock ticks.
    pub(super) cpu_ticks: u64,
    /// Clock ticks after boot.
    pub(super) start_ticks: u64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Bytes.
    pub(super) vsize: u64,
    /// Bytes.
    pub(super) rss: u64,
    pub(super) comm: String,
    pub(super) command: String,
}

impl Process {
    /// `None` when it is gone.
    pub(super) fn read(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        parse(pid, &stat, &status, &command)
    }

    /// `pts/0`, or `?` without a terminal; tty numbers are as in proc(5).
    pub(super) fn tty(&self) -> String {
        let (major, minor) = (self.tty_number >> 8 & 0xfff, self.tty_number & 0xff | self.tty_number >> 12 & 0xfff00);
        match major {
            0 => "?".to_owned(),
            136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
            4 => format!("tty{minor}"),
            _ => format!("{major},{minor}"),
        }
    }
}

fn parse(pid: u32, stat: &str, status: &str, command: &[u8]) -> Option<Process> {
    let (head, tail) = stat.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    // `rest[n]` is field n + 3 of the documentation.
    let rest: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |field: usize| rest.get(field - 3)?.parse::<i64>().ok();
    let unsigned = |field: usize| number(field).and_then(|n| u64::try_from(n).ok());
    let effective = |key: &str| {
        status.lines().find_map(|l| l.strip_prefix(key)?.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    let command = command.split(|b| *b == 0).filter(|word| !word.is_empty());
    let words: Vec<_> = command.map(String::from_utf8_lossy).collect();
    Some(Process {
        pid,
        state: rest.first()?.chars().next()?,
        ppid: u32::try_from(number(4)?).ok()?,
        pgid: number(5)?,
        sid: number(6)?,
        tty_number: unsigned(7).unwrap_or(0),
        cpu_ticks: unsigned(14)? + unsigned(15)?,
        nice: number(19)?,
        threads: unsigned(20)?,
        start_ticks: unsigned(22)?,
        vsize: unsigned(23)?,
        rss: unsigned(24)? * rustix::param::page_size() as u64,
        uid: effective("Uid:"),
        gid: effective("Gid:"),
        command: if words.is_empty() { format!("[{comm}]") } else { words.join(" ") },
        comm,
    })
}

/// What the columns need to know of the host.
#[derive(Debug)]
pub(super) struct Machine {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
    ticks_per_second: u64,
    /// Seconds since boot.
    uptime: u64,
    memory: u64,
    now: OffsetDateTime,
}

impl Machine {
    pub(super) fn read() -> Self {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            uptime: uptime.split('.').next().and_then(|s| s.parse().ok()).unwrap_or(0),
            memory: crate::host::memory_total().unsigned_abs(),
            now: OffsetDateTime::now_utc(),
        }
    }

    pub(super) fn user_name(&self, uid: u32) -> String {
        self.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())
    }

    pub(super) fn group_name(&self, gid: u32) -> String {
        self.groups.get(&gid).cloned().unwrap_or_else(|| gid.to_string())
    }

    pub(super) fn seconds(&self, ticks: u64) -> u64 {
        ticks / self.ticks_per_second
    }

    fn age(&self, p: &Process) -> u64 {
        self.uptime.saturating_sub(self.seconds(p.start_ticks))
    }

    pub(super) fn cpu_percent(&self, p: &Process) -> f64 {
        let used = p.cpu_ticks as f64 / self.ticks_per_second as f64;
        used * 100.0 / self.age(p).max(1) as f64
    }

    pub(super) fn memory_percent(&self, p: &Process) -> f64 {
        p.rss as f64 * 100.0 / self.memory.max(1) as f64
    }

    /// `hh:mm` for a process of the last day, otherwise its date.
    pub(super) fn start_text(&self, p: &Process) -> String {
        let age = self.age(p);
        let start = self.now - Duration::seconds(i64::try_from(age).unwrap_or(0));
        let text = if age < 86400 {
            start.format(format_description!("[hour]:[minute]"))
        } else {
            start.format(format_description!("[month repr:short][day]"))
        };
        text.unwrap_or_default()
    }

    /// `[[d-]hh:]mm:ss`.
    pub(super) fn elapsed_text(&self, p: &Process) -> String {
        let age = self.age(p);
        let (days, hours, minutes, seconds) = (age / 86400, age / 3600 % 24, age / 60 % 60, age % 60);
        match (days, hours) {
            (0, 0) => format!("{minutes:02}:{seconds:02}"),
            (0, _) => format!("{hours:02}:{minutes:02}:{seconds:02}"),
            _ => format!("{days}-{hours:02}:{minutes:02}:{seconds:02}"),
        }
    }
}

/// Names by number from a file like passwd(5) or group(5) of the host.
fn names(path: &str) -> HashMap<u32, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        Some((fields.nth(1)?.parse().ok()?, name.to_owned()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{Process, parse};

    #[test]
    fn odd_names_and_terminals() {
        let stat = "7 (a) b) S 1 7 6 34817 -1 4194560 1 2 3 4 50 60 7 8 20 5 3 0 12345 4096 2 18446744073709551615";
        let status = "Name:\ta\nUid:\t1\t1000\t1\t1\nGid:\t1\t50\t1\t1\n";
        let p = parse(7, stat, status, b"a\0-x\0").unwrap();
        assert_eq!((p.comm.as_str(), p.command.as_str(), p.uid, p.gid), ("a) b", "a -x", 1000, 50));
        assert_eq!((p.cpu_ticks, p.threads, p.nice, p.start_ticks), (110, 3, 5, 12345));
        assert_eq!(p.tty(), "pts/1");
        assert_eq!(Process::default().tty(), "?");
        assert!(parse(7, "garbage", "", b"").is_none());
    }

    #[test]
    fn reads_itself() {
        assert!(Process::read(std::process::id()).is_some());
    }
}
