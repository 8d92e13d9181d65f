//! What a result says of the container.

use super::settings::Settings;
use super::{HEALTHY, STARTING, UNHEALTHY};
use gantry_api_types::{Health, HealthcheckResult};
use gantry_model::Timestamp;

/// Results that are kept.
const LOG: usize = 5;

/// A finished probe.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// -1 when the command could not be run or did not end in time.
    pub(super) code: i64,
    pub(super) output: String,
}

/// Takes a result into account; `started_at` is the container's.
pub(super) fn record(health: &mut Health, settings: &Settings, started_at: Timestamp, outcome: Outcome) {
    if outcome.code == 0 {
        health.failing_streak = 0;
        HEALTHY.clone_into(&mut health.status);
    } else if health.status != STARTING || !within_start_period(settings, started_at, outcome.start) {
        health.failing_streak += 1;
        if health.failing_streak >= settings.retries {
            UNHEALTHY.clone_into(&mut health.status);
        }
    }
    let log = health.log.get_or_insert_default();
    if log.len() >= LOG {
        log.drain(..=log.len() - LOG);
    }
    log.push(HealthcheckResult {
        start: outcome.start.to_string(),
        end: outcome.end.to_string(),
        exit_code: outcome.code,
        output: outcome.output,
    });
}

/// Whether a failure at `time` does not count yet.
pub(super) fn within_start_period(settings: &Settings, started_at: Timestamp, time: Timestamp) -> bool {
    let since = time.unix_nanos().unwrap_or(0) - started_at.unix_nanos().unwrap_or(0);
    u128::try_from(since).unwrap_or(0) < settings.start_period.as_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::{ContainerConfig, HealthConfig};

    const SECOND: i64 = 1_000_000_000;

    fn settings() -> Settings {
        let healthcheck = HealthConfig {
            test: Some(vec!["CMD".into(), "x".into()]),
            start_period: 10 * SECOND,
            retries: 2,
            ..HealthConfig::default()
        };
        Settings::of(&ContainerConfig { healthcheck: Some(healthcheck), ..ContainerConfig::default() }).unwrap()
    }

    fn health_after(results: &[(i64, i64)]) -> Health {
        let mut health = Health { status: STARTING.into(), ..Health::default() };
        for (seconds, code) in results {
            let start = Timestamp::from_unix_nanos((*seconds * SECOND).into());
            let outcome = Outcome { start, end: start, code: *code, output: code.to_string() };
            record(&mut health, &settings(), Timestamp::from_unix_nanos(0), outcome);
        }
        health
    }

    #[test]
    fn transitions() {
        for (results, status, streak) in [
            (&[][..], STARTING, 0),
            (&[(1, 1), (2, 1), (3, 1)], STARTING, 0),
            (&[(1, 0)], HEALTHY, 0),
            (&[(11, 1)], STARTING, 1),
            (&[(11, 1), (12, -1)], UNHEALTHY, 2),
            (&[(11, 1), (12, 1), (13, 0)], HEALTHY, 0),
            // Once it was healthy the start is over.
            (&[(1, 0), (2, 1), (3, 1)], UNHEALTHY, 2),
            (&[(1, 0), (2, 1)], HEALTHY, 1),
        ] {
            let health = health_after(results);
            assert_eq!((health.status.as_str(), health.failing_streak), (status, streak), "{results:?}");
        }
    }

    #[test]
    fn the_last_five_are_kept() {
        let log = health_after(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7)]).log.unwrap();
        let codes: Vec<_> = log.iter().map(|result| result.exit_code).collect();
        assert_eq!(codes, [3, 4, 5, 6, 7]);
    }
}
