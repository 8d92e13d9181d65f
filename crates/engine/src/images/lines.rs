//! Lines of progress in Docker's words and shape, which the `docker` command draws its bars from.

use crate::operation::Reporter;
use gantry_api_types::{ProgressDetail, ProgressMessage};
use std::time::{Duration, Instant};

/// Cells of a bar.
const CELLS: u64 = 50;

/// The time between two lines about how far a part is.
const INTERVAL: Duration = Duration::from_millis(100);

/// Tells how far a part is, not too often.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    id: String,
    reporter: Option<Reporter>,
    told: Option<Instant>,
}

impl Meter {
    pub(crate) fn new(id: &str, reporter: &Reporter) -> Self {
        Self { id: id.to_owned(), reporter: Some(reporter.clone()), told: None }
    }

    /// For parts that nobody is told of.
    pub(crate) fn silent() -> Self {
        Self { id: String::new(), reporter: None, told: None }
    }

    /// Lets the next line through: it begins another measure.
    pub(crate) fn restart(&mut self) {
        self.told = None;
    }

    pub(crate) fn tell(&mut self, status: &str, current: u64, total: u64) {
        let Some(reporter) = &self.reporter else { return };
        let now = Instant::now();
        if current == 0 || self.told.is_some_and(|before| now - before < INTERVAL) {
            return;
        }
        self.told = Some(now);
        reporter.tell(measure(&self.id, status, current, total));
    }
}

/// A line about the whole operation.
pub(crate) fn message(status: impl Into<String>) -> ProgressMessage {
    ProgressMessage { status: status.into(), ..ProgressMessage::default() }
}

/// A line about the whole operation with an id before it.
pub(crate) fn headline(id: &str, status: impl Into<String>) -> ProgressMessage {
    ProgressMessage { id: id.to_owned(), ..message(status) }
}

/// A part's new state.
pub(crate) fn state(id: &str, status: impl Into<String>) -> ProgressMessage {
    ProgressMessage { progress_detail: Some(ProgressDetail::default()), ..headline(id, status) }
}

/// How far a part is.
pub(crate) fn measure(id: &str, status: &str, current: u64, total: u64) -> ProgressMessage {
    ProgressMessage {
        progress_detail: Some(ProgressDetail { current: signed(current), total: signed(total) }),
        progress: bar(current, total),
        ..headline(id, status)
    }
}

/// The bar and the numbers, as clients without arithmetic of their own show them.
fn bar(current: u64, total: u64) -> String {
    match (current, total) {
        (0, 0) => String::new(),
        (current, 0) => format!("{:>8}", human_size(current)),
        (current, total) => {
            // In hundredths first, as Docker rounds.
            let done = ((current as f64 / total as f64 * 100.0) as u64 / 2).min(CELLS) as usize;
            let cells = CELLS as usize;
            let numbers = if current > total {
                format!("{:>8}", human_size(current))
            } else {
                format!("{:>8}/{}", human_size(current), human_size(total))
            };
            format!("[{}>{}] {numbers}", "=".repeat(done), " ".repeat(cells - done))
        }
    }
}

/// Bytes with four significant digits and a decimal unit.
pub(crate) fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let decimals = match size {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        size if size >= 1.0 => 3,
        _ => 0,
    };
    let digits = format!("{size:.decimals$}");
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taken from streams of the reference engine.
    #[test]
    fn bars() {
        for (current, total, expected) in [
            (3678, 151_130, "[=>                                                 ]  3.678kB/151.1kB"),
            (151_130, 151_130, "[==================================================>]  151.1kB/151.1kB"),
            (69213, 4_509_666, "[>                                                  ]  69.21kB/4.51MB"),
            (3_080_192, 4_509_666, "[==================================>                ]   3.08MB/4.51MB"),
            (4_509_666, 4_509_666, "[==================================================>]   4.51MB/4.51MB"),
            (1_996_800, 1_982_412, "[==================================================>]  1.997MB"),
            (333, 333, "[==================================================>]     333B/333B"),
            (9_004_032, 0, " 9.004MB"),
            (0, 0, ""),
        ] {
            assert_eq!(bar(current, total), expected);
        }
    }

    #[test]
    fn sizes() {
        for (bytes, expected) in
            [(0, "0B"), (999, "999B"), (1000, "1kB"), (300_000, "300kB"), (9_000_000, "9MB"), (999_999, "1000kB")]
        {
            assert_eq!(human_size(bytes), expected);
        }
    }

    #[test]
    fn shapes() {
        let json = |line| serde_json::to_string(&line).unwrap();
        assert_eq!(json(headline("v1", "Pulling from a/b")), r#"{"status":"Pulling from a/b","id":"v1"}"#);
        assert_eq!(json(state("a", "Waiting")), r#"{"status":"Waiting","progressDetail":{},"id":"a"}"#);
        assert_eq!(
            json(measure("a", "Pushing", 1, 0)),
            r#"{"status":"Pushing","progressDetail":{"current":1},"progress":"      1B","id":"a"}"#
        );
    }
}
