//! The columns of `ps`: their names, titles and contents (procps' conventions).

use super::process::{Machine, Process};
use gantry_model::{Error, Result};

/// What a column shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    User,
    Uid,
    Group,
    Gid,
    Pid,
    Ppid,
    Pgid,
    Sid,
    Cpu,
    CpuInteger,
    Memory,
    Vsz,
    Rss,
    Tty,
    State,
    Start,
    Time,
    Elapsed,
    Command,
    Comm,
    Nice,
    Threads,
}

/// A column and its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    field: Field,
    title: String,
}

/// Names for `-o`, with the title that `ps` gives them.
const NAMES: &[(&str, &str, Field)] = &[
    ("user", "USER", Field::User),
    ("euser", "EUSER", Field::User),
    ("uname", "USER", Field::User),
    ("uid", "UID", Field::Uid),
    ("euid", "EUID", Field::Uid),
    ("group", "GROUP", Field::Group),
    ("egroup", "EGROUP", Field::Group),
    ("gid", "GID", Field::Gid),
    ("pid", "PID", Field::Pid),
    ("ppid", "PPID", Field::Ppid),
    ("pgid", "PGID", Field::Pgid),
    ("pgrp", "PGRP", Field::Pgid),
    ("sid", "SID", Field::Sid),
    ("sess", "SESS", Field::Sid),
    ("c", "C", Field::CpuInteger),
    ("%cpu", "%CPU", Field::Cpu),
    ("pcpu", "%CPU", Field::Cpu),
    ("%mem", "%MEM", Field::Memory),
    ("pmem", "%MEM", Field::Memory),
    ("vsz", "VSZ", Field::Vsz),
    ("rss", "RSS", Field::Rss),
    ("tty", "TT", Field::Tty),
    ("tt", "TT", Field::Tty),
    ("stat", "STAT", Field::State),
    ("state", "S", Field::State),
    ("s", "S", Field::State),
    ("stime", "STIME", Field::Start),
    ("start", "STARTED", Field::Start),
    ("time", "TIME", Field::Time),
    ("cputime", "TIME", Field::Time),
    ("etime", "ELAPSED", Field::Elapsed),
    ("cmd", "CMD", Field::Command),
    ("args", "COMMAND", Field::Command),
    ("command", "COMMAND", Field::Command),
    ("comm", "COMMAND", Field::Comm),
    ("ucmd", "CMD", Field::Comm),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("nlwp", "NLWP", Field::Threads),
    ("thcount", "THCNT", Field::Threads),
];

const FULL: &[(&str, Field)] = &[
    ("UID", Field::User),
    ("PID", Field::Pid),
    ("PPID", Field::Ppid),
    ("C", Field::CpuInteger),
    ("STIME", Field::Start),
    ("TTY", Field::Tty),
    ("TIME", Field::Time),
    ("CMD", Field::Command),
];
const BSD_USER: &[(&str, Field)] = &[
    ("USER", Field::User),
    ("PID", Field::Pid),
    ("%CPU", Field::Cpu),
    ("%MEM", Field::Memory),
    ("VSZ", Field::Vsz),
    ("RSS", Field::Rss),
    ("TTY", Field::Tty),
    ("STAT", Field::State),
    ("START", Field::Start),
    ("TIME", Field::Time),
    ("COMMAND", Field::Command),
];
const SHORT: &[(&str, Field)] =
    &[("PID", Field::Pid), ("TTY", Field::Tty), ("TIME", Field::Time), ("CMD", Field::Comm)];
const BSD_SHORT: &[(&str, Field)] = &[
    ("PID", Field::Pid),
    ("TTY", Field::Tty),
    ("STAT", Field::State),
    ("TIME", Field::Time),
    ("COMMAND", Field::Command),
];

/// Reads the arguments of `ps`: selections are ignored (the container's processes are what is shown),
/// formats choose the columns.
pub(super) fn parse(args: &str) -> Result<Vec<Column>> {
    let mut chosen: Vec<Column> = Vec::new();
    let mut preset = None;
    let mut words = args.split_ascii_whitespace();
    while let Some(word) = words.next() {
        let (letters, dashed) = word.strip_prefix('-').map_or((word, false), |rest| (rest, true));
        for (at, letter) in letters.char_indices() {
            match letter {
                'o' | 'O' => {
                    let rest = &letters[at + 1..];
                    let list = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
                    chosen.extend(parse_list(list)?);
                    break;
                }
                'f' if dashed => preset = Some(FULL),
                'u' => preset = Some(BSD_USER),
                'e' | 'A' | 'a' | 'x' | 'w' | 'f' | 'd' => {
                    preset = preset.or(Some(if dashed { SHORT } else { BSD_SHORT }));
                }
                _ => return Err(unsupported(word)),
            }
        }
    }
    if chosen.is_empty() {
        let columns = preset.unwrap_or(SHORT).iter();
        chosen = columns.map(|(title, field)| Column { field: *field, title: (*title).to_owned() }).collect();
    }
    if !chosen.iter().any(|c| c.field == Field::Pid) {
        return Err(Error::internal("Couldn't find PID field in ps output"));
    }
    Ok(chosen)
}

fn parse_list(list: &str) -> Result<Vec<Column>> {
    let names = list.split(',').filter(|n| !n.is_empty());
    let columns: Vec<Column> = names.map(parse_name).collect::<Result<_>>()?;
    if columns.is_empty() { Err(unsupported("-o")) } else { Ok(columns) }
}

/// `name`, or `name=title`.
fn parse_name(text: &str) -> Result<Column> {
    let (name, title) = text.split_once('=').map_or((text, None), |(name, title)| (name, Some(title)));
    let known = NAMES.iter().find(|(known, ..)| *known == name).ok_or_else(|| {
        Error::internal(format!(
            "Error running ps: exit status 1: error: unknown user-defined format specifier \"{name}\""
        ))
    })?;
    Ok(Column { field: known.2, title: title.unwrap_or(known.1).to_owned() })
}

fn unsupported(word: &str) -> Error {
    Error::internal(format!("Error running ps: exit status 1: error: unsupported option \"{word}\""))
}

impl Column {
    /// The title.
    pub(super) fn title(&self) -> String {
        self.title.clone()
    }

    /// The text of this column for a process.
    pub(super) fn show(&self, p: &Process, machine: &Machine) -> String {
        match self.field {
            Field::User => machine.user_name(p.uid),
            Field::Uid => p.uid.to_string(),
            Field::Group => machine.group_name(p.gid),
            Field::Gid => p.gid.to_string(),
            Field::Pid => p.pid.to_string(),
            Field::Ppid => p.ppid.to_string(),
            Field::Pgid => p.pgid.to_string(),
            Field::Sid => p.sid.to_string(),
            Field::Cpu => format!("{:.1}", machine.cpu_percent(p)),
            Field::CpuInteger => format!("{:.0}", machine.cpu_percent(p).min(99.0)),
            Field::Memory => format!("{:.1}", machine.memory_percent(p)),
            Field::Vsz => (p.vsize / 1024).to_string(),
            Field::Rss => (p.rss / 1024).to_string(),
            Field::Tty => p.tty(),
            Field::State => p.state.to_string(),
            Field::Start => machine.start_text(p),
            Field::Time => clock(machine.seconds(p.cpu_ticks)),
            Field::Elapsed => machine.elapsed_text(p),
            Field::Command => p.command.clone(),
            Field::Comm => p.comm.clone(),
            Field::Nice => p.nice.to_string(),
            Field::Threads => p.threads.to_string(),
        }
    }
}

/// `[d-]hh:mm:ss`.
fn clock(seconds: u64) -> String {
    let (days, rest) = (seconds / 86400, seconds % 86400);
    let text = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 { format!("{days}-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::{Column, clock, parse};

    fn titles(args: &str) -> Vec<String> {
        parse(args).unwrap().iter().map(Column::title).collect()
    }

    #[test]
    fn presets_and_lists() {
        assert_eq!(titles("-ef"), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        assert_eq!(titles("aux").len(), 11);
        assert_eq!(titles("-o pid,comm"), ["PID", "COMMAND"]);
        assert_eq!(titles("-eo pid,user=WHO"), ["PID", "WHO"]);
        assert_eq!(titles("-A"), ["PID", "TTY", "TIME", "CMD"]);
    }

    #[test]
    fn errors_are_those_of_ps() {
        assert!(parse("-o comm").unwrap_err().to_string().contains("Couldn't find PID"));
        assert!(parse("-o pid,nope").unwrap_err().to_string().contains("unknown user-defined format specifier"));
        assert!(parse("--forest").unwrap_err().to_string().contains("unsupported option"));
    }

    #[test]
    fn times() {
        assert_eq!(clock(3661), "01:01:01");
        assert_eq!(clock(90000), "1-01:00:00");
    }
}
