//! The `until` filter of lists and prunes: a time, or how long ago.

use crate::filters::Filters;
use gantry_model::{Error, Result, Timestamp};

/// The point in time of a prune's `until`, which can be given once.
pub(crate) fn parse(filters: &Filters) -> Result<Option<Timestamp>> {
    let all = parse_all(filters)?;
    if all.len() > 1 {
        return Err(Error::invalid("more than one until filter specified"));
    }
    Ok(all.first().copied())
}

/// The points in time of `until`: seconds since the epoch, RFC 3339 (the time, the seconds or the zone may be missing,
/// then it is UTC), or a duration before now as Go writes it (`1h30m`).
pub(crate) fn parse_all(filters: &Filters) -> Result<Vec<Timestamp>> {
    let now = Timestamp::now().unix_nanos().unwrap_or(0);
    let parse = |text: &str| {
        let refused = || Error::invalid(format!("failed to parse value as time or duration: {text:?}"));
        point(text, now).ok_or_else(refused)
    };
    // The build cache's filter had another name once.
    filters.get("until").chain(filters.get("unused-for")).map(parse).collect()
}

fn point(text: &str, now: i128) -> Option<Timestamp> {
    if let Some(ago) = duration(text) {
        return Some(Timestamp::from_unix_nanos(now - ago));
    }
    if let Some(nanos) = seconds(text) {
        return Some(Timestamp::from_unix_nanos(nanos));
    }
    let (time, zone) = split_zone(text);
    ["", ":00", ":00:00", "T00:00:00"].iter().find_map(|rest| Timestamp::parse(&format!("{time}{rest}{zone}")))
}

/// A time and its zone, `Z` when it has none.
fn split_zone(text: &str) -> (&str, &str) {
    if let Some(time) = text.strip_suffix('Z') {
        return (time, "Z");
    }
    // `±hh:mm`, which a date alone (`2017-07-14`) does not end in.
    let at = text.len().saturating_sub(6);
    match text.get(at..).map(str::as_bytes) {
        Some([b'+' | b'-', _, _, b':', _, _]) => text.split_at(at),
        _ => (text, "Z"),
    }
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
    let (sign, unsigned) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let mut rest = unsigned;
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
    (!unsigned.is_empty() && total < 9e18).then_some((sign * total) as i128)
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
            ("2017-07-14T02", Some(1_499_997_600_000_000_000)),
            ("2017-07-14", Some(1_499_990_400_000_000_000)),
            ("2017-07-14T02:40Z", Some(1_500_000_000_000_000_000)),
            ("2017-07-14T04:40+02:00", Some(1_500_000_000_000_000_000)),
            ("2017-07-14Z", Some(1_499_990_400_000_000_000)),
            ("-10s", Some(now + 10_000_000_000)),
            ("-", None),
            ("", None),
            ("soon", None),
            ("5 days", None),
        ] {
            assert_eq!(point(text, now).and_then(Timestamp::unix_nanos), nanos, "{text}");
        }
    }
}
