//! The `until` filter of prune calls: a time, or how long ago.

use crate::filters::Filters;
use gantry_model::{Error, Result, Timestamp};

/// The point in time of `until`, if it is given: seconds since the epoch, RFC 3339 (the time or the
/// zone may be missing, then it is UTC), or a duration before now as Go writes it (`1h30m`).
pub(crate) fn parse(filters: &Filters) -> Result<Option<Timestamp>> {
    let mut values = filters.get("until");
    let Some(text) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Error::invalid("more than one until filter specified"));
    }
    let now = Timestamp::now().unix_nanos().unwrap_or(0);
    point(text, now).map(Some).ok_or_else(|| Error::invalid(format!("invalid until filter: {text:?}")))
}

fn point(text: &str, now: i128) -> Option<Timestamp> {
    if let Some(ago) = duration(text) {
        return Some(Timestamp::from_unix_nanos(now - ago));
    }
    if let Some(nanos) = seconds(text) {
        return Some(Timestamp::from_unix_nanos(nanos));
    }
    // Docker's clients also send these without zone, seconds or time.
    ["", "Z", ":00Z", ":00:00Z", "T00:00:00Z"].iter().find_map(|rest| Timestamp::parse(&format!("{text}{rest}")))
}

fn seconds(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(i128::from(whole.parse::<i64>().ok()?) * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>().ok()?)
}

/// Go's `time.ParseDuration`, in nanoseconds.
fn duration(text: &str) -> Option<i128> {
    let mut rest = text;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty() && total < 9e18).then_some(total as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let now = 1_700_000_000_000_000_000;
        for (text, nanos) in [
            ("10s", Some(now - 10_000_000_000)),
            ("1h30m", Some(now - 5_400_000_000_000)),
            ("1.5h", Some(now - 5_400_000_000_000)),
            ("1500000000", Some(1_500_000_000_000_000_000)),
            ("1500000000.5", Some(1_500_000_000_500_000_000)),
            ("2017-07-14T02:40:00Z", Some(1_500_000_000_000_000_000)),
            ("2017-07-14T02:40:00", Some(1_500_000_000_000_000_000)),
            ("2017-07-14T02:40", Some(1_500_000_000_000_000_000)),
            ("2017-07-14", Some(1_499_990_400_000_000_000)),
            ("", None),
            ("soon", None),
            ("5 days", None),
        ] {
            assert_eq!(point(text, now).and_then(Timestamp::unix_nanos), nanos, "{text}");
        }
    }
}
