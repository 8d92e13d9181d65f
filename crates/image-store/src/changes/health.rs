//! HEALTHCHECK.

use super::{ChangeError, instruction::command};
use crate::HealthConfig;

const MILLISECOND: i64 = 1_000_000;

/// The check of `HEALTHCHECK flags… rest`.
pub(super) fn parse(flags: &[(String, String)], rest: &str) -> Result<HealthConfig, ChangeError> {
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    match kind.to_ascii_uppercase().as_str() {
        "" => Err(ChangeError::AtLeastOne("HEALTHCHECK")),
        "NONE" if !arguments.is_empty() => Err(ChangeError::HealthNone),
        "NONE" => Ok(HealthConfig { test: vec!["NONE".into()], ..HealthConfig::default() }),
        "CMD" => {
            let (mut words, json) = command(arguments)?;
            if words.is_empty() {
                return Err(ChangeError::HealthCommand);
            }
            words.insert(0, if json { "CMD" } else { "CMD-SHELL" }.into());
            let mut check = HealthConfig { test: words, ..HealthConfig::default() };
            flags.iter().try_for_each(|(name, value)| flag(&mut check, name, value))?;
            Ok(check)
        }
        other => Err(ChangeError::HealthType(other.to_owned())),
    }
}

fn flag(check: &mut HealthConfig, name: &str, value: &str) -> Result<(), ChangeError> {
    match name {
        "interval" => check.interval = interval("interval", value)?,
        "timeout" => check.timeout = interval("timeout", value)?,
        "start-period" => check.start_period = interval("start-period", value)?,
        "start-interval" => check.start_interval = interval("start-interval", value)?,
        "retries" => {
            check.retries = value.parse().map_err(|_| ChangeError::Number(value.to_owned()))?;
            if check.retries < 1 {
                return Err(ChangeError::Retries(check.retries));
            }
        }
        other => return Err(ChangeError::UnknownFlag(other.to_owned())),
    }
    Ok(())
}

fn interval(name: &'static str, value: &str) -> Result<i64, ChangeError> {
    if value.is_empty() {
        return Ok(0);
    }
    let nanos = duration(value)?;
    if nanos < MILLISECOND { Err(ChangeError::ShortInterval(name)) } else { Ok(nanos) }
}

/// Go's durations: numbers with units, as `1h2m3.5s`.
pub(super) fn duration(text: &str) -> Result<i64, ChangeError> {
    let invalid = || ChangeError::Duration(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let nanos = match unit {
            "" => return Err(ChangeError::DurationUnit(text.to_owned())),
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(invalid()),
        };
        total += number * nanos;
        rest = after;
    }
    // Beyond 292 years Go refuses too.
    if total >= i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}
