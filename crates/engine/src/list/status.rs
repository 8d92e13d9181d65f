//! The words of the list's `Status` column.

use crate::container::State;
use crate::health;
use gantry_model::{ContainerStatus, Timestamp};

/// Whether the list shows it without `all`: a container between two runs counts.
pub(super) fn is_running(state: &State) -> bool {
    state.status.is_live() || state.status == ContainerStatus::Restarting
}

/// As `docker ps` shows it.
pub(super) fn describe(state: &State, now: Timestamp) -> String {
    let since = |time: Timestamp| {
        let nanos = now.unix_nanos().unwrap_or(0) - time.unix_nanos().unwrap_or(0);
        human(u64::try_from(nanos / 1_000_000_000).unwrap_or(0))
    };
    match state.status {
        ContainerStatus::Running => match &state.health {
            Some(health) => format!("Up {} ({})", since(state.started_at), health::words(health)),
            None => format!("Up {}", since(state.started_at)),
        },
        ContainerStatus::Paused => format!("Up {} (Paused)", since(state.started_at)),
        ContainerStatus::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at)),
        ContainerStatus::Removing => "Removal In Progress".to_owned(),
        ContainerStatus::Dead => "Dead".to_owned(),
        ContainerStatus::Created => "Created".to_owned(),
        ContainerStatus::Exited if state.started_at.is_zero() => "Created".to_owned(),
        ContainerStatus::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
    }
}

/// go-units' `HumanDuration`.
fn human(seconds: u64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (86400 * 3, "3 days"),
            (86400 * 15, "2 weeks"),
            (86400 * 90, "3 months"),
            (86400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn states() {
        let at = |seconds: i128| Timestamp::from_unix_nanos(seconds * 1_000_000_000);
        let mut state = State { started_at: at(100), finished_at: at(105), exit_code: 3, ..State::created() };
        let mut describe = |status| {
            state.status = status;
            super::describe(&state, at(110))
        };
        assert_eq!(describe(ContainerStatus::Running), "Up 10 seconds");
        assert_eq!(describe(ContainerStatus::Paused), "Up 10 seconds (Paused)");
        assert_eq!(describe(ContainerStatus::Exited), "Exited (3) 5 seconds ago");
        assert_eq!(describe(ContainerStatus::Restarting), "Restarting (3) 5 seconds ago");
        assert_eq!(super::describe(&State::created(), at(1)), "Created");
    }
}
