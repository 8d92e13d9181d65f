//! What the engine reads of `/proc`.

use std::fs;

/// Start time of a process in clock ticks after boot: field 22 of `/proc/<pid>/stat` (proc(5)).
/// Together with the pid it names a process for good; `None` when it is gone.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    parse_start_time(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The program's name is in parentheses and may contain anything, so fields are counted from the last `)`.
fn parse_start_time(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// More than any container's interfaces take, unless it makes them to waste our memory.
const MOST_INTERFACES: u64 = 64 * 1024;

/// The interfaces of a process' network namespace with their counters, as `/proc/<pid>/net/dev` has them.
pub(crate) fn interfaces(pid: u32) -> Vec<(String, [u64; 16])> {
    use std::io::Read;
    let mut text = String::new();
    if let Ok(file) = fs::File::open(format!("/proc/{pid}/net/dev")) {
        // The process may end meanwhile, and then has none.
        let _ = file.take(MOST_INTERFACES).read_to_string(&mut text);
    }
    parse_interfaces(&text)
}

fn parse_interfaces(text: &str) -> Vec<(String, [u64; 16])> {
    let parse = |line: &str| {
        let (name, rest) = line.rsplit_once(':')?;
        let mut counters = [0; 16];
        let mut words = rest.split_ascii_whitespace();
        for counter in &mut counters {
            *counter = words.next()?.parse().ok()?;
        }
        Some((name.trim().to_owned(), counters))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::{parse_interfaces, parse_start_time, start_time};

    #[test]
    fn interfaces_and_their_counters() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n  eth0:\n";
        let found = parse_interfaces(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), found[0].1[8]), ("lo", 9));
    }

    #[test]
    fn counts_after_the_name() {
        let stat = "7 (a ) 1 2) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 2";
        assert_eq!(parse_start_time(stat), Some(12345));
        assert_eq!(parse_start_time("nonsense"), None);
    }

    #[test]
    fn this_process_has_one() {
        assert!(start_time(std::process::id()).is_some());
    }
}
