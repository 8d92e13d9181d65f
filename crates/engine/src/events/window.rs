//! `since` and `until`.

use gantry_model::{Error, Result, Timestamp};

/// Reads a time as clients send it: seconds since the epoch with or without a fraction (`1.5`,
/// `1700000000.000000001`), or RFC 3339. Empty is absent. Nanoseconds since the epoch.
pub(super) fn parse(name: &str, text: Option<&str>) -> Result<Option<i64>> {
    let Some(text) = text.filter(|t| !t.is_empty()) else { return Ok(None) };
    let nanos = numeric(text).or_else(|| {
        let time = Timestamp::parse(text)?;
        i64::try_from(time.unix_nanos().unwrap_or(0)).ok()
    });
    nanos.map(Some).ok_or_else(|| Error::invalid(format!("invalid value for {name:?}: {text:?}")))
}

fn numeric(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn every_form() {
        for (text, nanos) in [
            ("0", 0),
            ("1.5", 1_500_000_000),
            ("1700000000.000000001", 1_700_000_000_000_000_001),
            ("2017-07-14T02:40:00.12Z", 1_500_000_000_120_000_000),
        ] {
            assert_eq!(parse("since", Some(text)).unwrap(), Some(nanos), "{text}");
        }
        assert_eq!(parse("since", Some("")).unwrap(), None);
        assert_eq!(parse("since", None).unwrap(), None);
        for bad in ["x", "1.x", "1.1234567890", "99999999999999999999", "9999999999999"] {
            assert!(parse("since", Some(bad)).is_err(), "{bad}");
        }
    }
}
