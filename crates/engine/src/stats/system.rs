//! What the whole machine uses, to compare a container with.

use std::fs;

/// Processor time of the machine since its boot, in nanoseconds: the first seven columns of `/proc/stat`, for the
/// guests' are in them already.
pub(super) fn processor_time() -> u64 {
    parse_processor_time(&read_head("/proc/stat"))
}

/// The first line is all that is wanted of a long file.
fn read_head(path: &str) -> String {
    use std::io::Read;
    let mut head = Vec::new();
    if let Ok(file) = fs::File::open(path) {
        // What could be read is what there is.
        let _ = file.take(512).read_to_end(&mut head);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn parse_processor_time(stat: &str) -> u64 {
    const TICK: u64 = 10_000_000;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let ticks = line.unwrap_or_default().split_ascii_whitespace().take(7).filter_map(|n| n.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK
}

/// Processors that are online, whichever of them this daemon may use.
pub(super) fn online_processors() -> u32 {
    let text = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<u32>().ok()?.saturating_sub(first.parse().ok()?) + 1)
    });
    ranges.sum::<u32>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_all_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(parse_processor_time(stat), 28 * 10_000_000);
        assert_eq!(parse_processor_time(""), 0);
        assert!(processor_time() > 0 && online_processors() > 0);
    }
}
