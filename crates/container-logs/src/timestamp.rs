//! Times of log lines: RFC 3339 in UTC with up to nine decimals, as Go's `RFC3339Nano`.

const SECOND: i64 = 1_000_000_000;
const TEMPLATE: [u8; 29] = *b"0000-00-00T00:00:00.000000000";

/// Writes times, reformatting only what changed since the last one.
#[derive(Debug)]
pub(crate) struct Stamp {
    text: [u8; 29],
    second: i64,
}

impl Stamp {
    pub(crate) const fn new() -> Self {
        Self { text: TEMPLATE, second: i64::MIN }
    }

    /// Appends `nanos` since the epoch; zeros at the end of the fraction are left away.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, nanos: i64) {
        self.set(nanos);
        let mut end = self.text.len();
        while self.text[end - 1] == b'0' && end > 20 {
            end -= 1;
        }
        out.extend_from_slice(if end == 20 { &self.text[..19] } else { &self.text[..end] });
        out.push(b'Z');
    }

    fn set(&mut self, nanos: i64) {
        let second = nanos.div_euclid(SECOND);
        if second != self.second {
            self.second = second;
            self.set_second(second);
        }
        digits(&mut self.text[20..], nanos.rem_euclid(SECOND) as u64);
    }

    fn set_second(&mut self, second: i64) {
        let (year, month, day) = civil_from_days(second.div_euclid(86_400));
        let of_day = second.rem_euclid(86_400) as u64;
        digits(&mut self.text[..4], year.clamp(0, 9999) as u64);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], of_day / 3600);
        digits(&mut self.text[14..16], of_day / 60 % 60);
        digits(&mut self.text[17..19], of_day % 60);
    }
}

/// Appends an RFC 3339 time in UTC with exactly nine decimals, Docker's form for `--timestamps`.
/// Anything else is appended as it is.
pub(crate) fn append_fixed(out: &mut Vec<u8>, time: &[u8]) {
    match time.split_last() {
        Some((b'Z', body)) if body.len() >= 19 => {
            out.extend_from_slice(&body[..19]);
            out.push(b'.');
            let fraction = body.get(20..).unwrap_or_default();
            out.extend_from_slice(&fraction[..fraction.len().min(9)]);
            out.extend_from_slice(&b"000000000"[fraction.len().min(9)..]);
            out.push(b'Z');
        }
        _ => out.extend_from_slice(time),
    }
}

/// Nanoseconds since the epoch of an RFC 3339 time; `None` when it is none.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let field = |from: usize, to: usize| number(&date_time[from..to]);
    let separators = [date_time[4], date_time[7], date_time[10], date_time[13], date_time[16]];
    if separators != *b"--T::" {
        return None;
    }
    let (month, day) = (field(5, 7)?, field(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days_from_civil(field(0, 4)?, month, day) * 86_400
        + field(11, 13)? * 3600
        + field(14, 16)? * 60
        + field(17, 19)?;
    let (fraction, zone) = match rest.split_first() {
        Some((b'.', rest)) => {
            let len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            if len == 0 || len > 9 {
                return None;
            }
            (number(&rest[..len])? * 10_i64.pow(9 - len as u32), &rest[len..])
        }
        _ => (0, rest),
    };
    let offset = match zone {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = number(&[*h1, *h2])? * 3600 + number(&[*m1, *m2])? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    (seconds - offset).checked_mul(SECOND)?.checked_add(fraction)
}

fn number(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Howard Hinnant's `civil_from_days`: (year, month, day) of a day since the epoch.
const fn civil_from_days(days: i64) -> (i64, u64, u64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month as u64, day as u64)
}

/// The inverse.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanos: i64) -> String {
        let mut out = Vec::new();
        Stamp::new().append(&mut out, nanos);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn looks_like_go() {
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(1_500_000_000_120_000_000), "2017-07-14T02:40:00.12Z");
        assert_eq!(text(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut stamp = Stamp::new();
        let mut nanos = -3_000_000_000_000_000_000_i64;
        while nanos < 8_000_000_000_000_000_000 {
            let mut out = Vec::new();
            stamp.append(&mut out, nanos);
            assert_eq!(parse(&out), Some(nanos), "{}", String::from_utf8_lossy(&out));
            assert_eq!(
                gantry_model::Timestamp::parse(&text(nanos)).and_then(gantry_model::Timestamp::unix_nanos),
                Some(i128::from(nanos))
            );
            nanos += 12_345_678_901_234_567;
        }
    }

    #[test]
    fn offsets_and_rubbish() {
        assert_eq!(parse(b"1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(parse(b"1969-12-31T22:30:00.5-01:30"), Some(500_000_000));
        for bad in
            ["", "1970", "1970-13-01T00:00:00Z", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:00.Z"]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse(b"9999-12-31T23:59:59Z"), None, "does not fit");
    }

    #[test]
    fn nine_decimals_for_people() {
        for (given, fixed) in [
            ("2017-07-14T02:40:00Z", "2017-07-14T02:40:00.000000000Z"),
            ("2017-07-14T02:40:00.12Z", "2017-07-14T02:40:00.120000000Z"),
            ("2017-07-14T02:40:00.123456789Z", "2017-07-14T02:40:00.123456789Z"),
            ("odd", "odd"),
        ] {
            let mut out = Vec::new();
            append_fixed(&mut out, given.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), fixed);
        }
    }
}
