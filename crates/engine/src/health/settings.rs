//! What is checked and how often: the configuration with Docker's defaults.

use gantry_api_types::{ContainerConfig, HealthConfig};
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: i64 = 3;

/// A container's health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) command: Vec<String>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Failures in this time after the start do not count.
    pub(super) start_period: Duration,
    /// Instead of `interval` as long as they do not.
    pub(super) start_interval: Duration,
    pub(super) retries: i64,
}

impl Settings {
    /// `None` when nothing is to be checked.
    pub(super) fn of(config: &ContainerConfig) -> Option<Self> {
        let health = config.healthcheck.as_ref()?;
        Some(Self {
            command: command(config, health)?,
            interval: duration(health.interval).unwrap_or(INTERVAL),
            timeout: duration(health.timeout).unwrap_or(TIMEOUT),
            start_period: duration(health.start_period).unwrap_or_default(),
            start_interval: duration(health.start_interval).unwrap_or(START_INTERVAL),
            retries: if health.retries > 0 { health.retries } else { RETRIES },
        })
    }
}

fn command(config: &ContainerConfig, health: &HealthConfig) -> Option<Vec<String>> {
    let (kind, words) = health.test.as_deref()?.split_first()?;
    match kind.as_str() {
        "CMD" => Some(words.to_vec()),
        "CMD-SHELL" => {
            let own = config.shell.clone().filter(|shell| !shell.is_empty());
            let shell = own.unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).into());
            Some(shell.into_iter().chain(words.iter().cloned()).collect())
        }
        "NONE" => None,
        other => {
            tracing::warn!("unknown type of health check {other:?} (expected 'CMD')");
            None
        }
    }
}

fn duration(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// As Go writes a duration: `1m30s`, `1.5s`, `500ms`.
pub(super) fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let small = |unit: u128, name: &str| format!("{}{name}", fraction(nanos, unit));
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => small(1, "ns"),
        1_000..1_000_000 => small(1_000, "µs"),
        1_000_000..1_000_000_000 => small(1_000_000, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let rest = format!("{}s", fraction(nanos % 60_000_000_000, 1_000_000_000));
            match (hours, minutes) {
                (0, 0) => rest,
                (0, _) => format!("{minutes}m{rest}"),
                _ => format!("{hours}h{minutes}m{rest}"),
            }
        }
    }
}

fn fraction(value: u128, unit: u128) -> String {
    let digits = unit.ilog10() as usize;
    let rest = format!("{:0digits$}", value % unit);
    let rest = if digits == 0 { "" } else { rest.trim_end_matches('0') };
    if rest.is_empty() { format!("{}", value / unit) } else { format!("{}.{rest}", value / unit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(test: &[&str]) -> Option<Settings> {
        let test = Some(test.iter().map(|word| (*word).to_owned()).collect());
        let healthcheck = Some(HealthConfig { test, ..HealthConfig::default() });
        Settings::of(&ContainerConfig { healthcheck, ..ContainerConfig::default() })
    }

    #[test]
    fn forms() {
        assert_eq!(settings(&["CMD", "a", "b"]).unwrap().command, ["a", "b"]);
        assert_eq!(settings(&["CMD-SHELL", "a b"]).unwrap().command, ["/bin/sh", "-c", "a b"]);
        for none in [&[][..], &["NONE"], &["FOO", "a"]] {
            assert_eq!(settings(none), None);
        }
        let defaults = settings(&["CMD"]).unwrap();
        assert_eq!((defaults.interval, defaults.timeout, defaults.retries), (INTERVAL, TIMEOUT, 3));
        assert_eq!((defaults.start_period, defaults.start_interval), (Duration::ZERO, START_INTERVAL));
    }

    #[test]
    fn durations_as_go_writes_them() {
        for (millis, text) in [
            (0, "0s"),
            (500, "500ms"),
            (1500, "1.5s"),
            (30_000, "30s"),
            (90_000, "1m30s"),
            (3_600_000, "1h0m0s"),
            (60_010, "1m0.01s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(go_duration(Duration::from_nanos(1_500)), "1.5µs");
        assert_eq!(go_duration(Duration::from_nanos(7)), "7ns");
    }
}
