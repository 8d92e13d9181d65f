//! `HEALTHCHECK`.

use super::{Form, HealthCheck, HealthTest, Text, flags, words};
use std::time::Duration;

/// The shortest time between checks that Docker takes.
const SHORTEST: Duration = Duration::from_millis(1);

pub(super) fn parse(text: &str, escape: char) -> Text<HealthCheck> {
    let (mut flags, rest) = flags::take(text, escape);
    let (kind, command) = words::first(rest);
    match kind.to_ascii_uppercase().as_str() {
        "" => Err("HEALTHCHECK requires at least one argument".to_owned()),
        "NONE" if command.is_empty() => {
            flags.none_left()?;
            Ok(HealthCheck::default())
        }
        "NONE" => Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => {
            let mut time = |name: &str| flags.value(name)?.map_or(Ok(Duration::ZERO), |value| duration(name, &value));
            let (interval, timeout) = (time("interval")?, time("timeout")?);
            let (start_period, start_interval) = (time("start-period")?, time("start-interval")?);
            let retries = match flags.value("retries")? {
                None => 0,
                Some(text) => match text.parse::<i64>() {
                    Ok(n) if n >= 0 => u32::try_from(n).unwrap_or(u32::MAX),
                    Ok(n) => return Err(format!("--retries cannot be negative ({n})")),
                    Err(_) => return Err(format!("--retries is not a number: {text}")),
                },
            };
            flags.none_left()?;
            let test = match words::json_list(command) {
                Some(list) if !list.is_empty() => Form::Exec(list),
                None if !command.is_empty() => Form::Shell(command.to_owned()),
                _ => return Err("Missing command after HEALTHCHECK CMD".to_owned()),
            };
            let test = HealthTest::Command(test);
            Ok(HealthCheck { test, interval, timeout, start_period, start_interval, retries })
        }
        _ => Err(format!("Unknown type {kind:?} in HEALTHCHECK (try CMD)")),
    }
}

/// A time in Go's form: `1h2m3.5s`.
pub(super) fn duration(name: &str, text: &str) -> Text<Duration> {
    let wrong = || format!("time: invalid duration {text:?} for --{name}");
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(0);
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
        rest = &rest[unit..];
    }
    let time = Duration::try_from_secs_f64(total).map_err(|_| wrong())?;
    if !time.is_zero() && time < SHORTEST {
        return Err(format!("Interval {name:?} cannot be less than 1ms"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let read = |text| duration("interval", text);
        assert_eq!(read("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(read("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(read("0"), Ok(Duration::ZERO));
        for wrong in ["", "5", "s", "1x", "-1s", "1us", "99999999999999999999h", "."] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn checks() {
        let check = parse("--interval=5s --retries=3 CMD curl -f x", '\\').unwrap();
        assert_eq!(check.test, HealthTest::Command(Form::Shell("curl -f x".into())));
        assert_eq!((check.interval, check.retries), (Duration::from_secs(5), 3));
        assert_eq!(parse("NONE", '\\').unwrap(), HealthCheck::default());
        for wrong in ["", "NONE x", "CMD", "CMD []", "RUN x", "--interval=x CMD a", "--retries=-1 CMD a", "--x=1 CMD a"]
        {
            assert!(parse(wrong, '\\').is_err(), "{wrong}");
        }
    }
}
