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

#[cfg(test)]
mod tests {
    use super::{parse_start_time, start_time};

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
