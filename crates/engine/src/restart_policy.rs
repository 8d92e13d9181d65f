//! Restart policies: whether, and after which delay.

use crate::Engine;
use crate::container::{Container, Record};
use gantry_model::ContainerStatus;
use gantry_shim_protocol::Exit;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// First delay; doubles with every restart. Docker's numbers.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length is a success that resets the delay.
const STABLE_RUN: Duration = Duration::from_secs(10);

/// The delay before the next restart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_DELAY)
    }
}

impl Backoff {
    /// The delay to use now, after a run of length `ran`.
    fn next(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE_RUN {
            self.0 = FIRST_DELAY;
        }
        let delay = self.0;
        self.0 = (self.0 * 2).min(LONGEST_DELAY);
        delay
    }
}

/// What to do after an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Start it again after this delay.
    Restart(Duration),
    /// Leave it.
    Stay,
}

/// Applies the container's policy to an exit.
pub(crate) fn decide(container: &Container, record: &Record, exit: &Exit) -> Decision {
    if !wants_restart(record, exit.code) {
        return Decision::Stay;
    }
    let ran = Duration::from_nanos(u64::try_from(exit.finished_at - exit.started_at).unwrap_or(0));
    Decision::Restart(container.backoff.lock().unwrap_or_else(PoisonError::into_inner).next(ran))
}

/// Whether the policy asks for a restart after exit status `code`.
pub(crate) fn wants_restart(record: &Record, code: u8) -> bool {
    if record.state.manually_stopped {
        return false;
    }
    let policy = &record.host_config.restart_policy;
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            let limit = u32::try_from(policy.maximum_retry_count).unwrap_or(0);
            code != 0 && (limit == 0 || record.state.restart_count < limit)
        }
        _ => false,
    }
}

/// Whether there is a policy, so that what the client wants of the container must survive a reboot.
pub(crate) fn has_policy(record: &Record) -> bool {
    !matches!(record.host_config.restart_policy.name.as_str(), "" | "no")
}

impl Engine {
    /// Starts the container after `delay` unless a verb cancels that.
    pub(crate) fn schedule_restart(self: &Arc<Self>, container: &Arc<Container>, delay: Duration) {
        let cancelled = container.schedule_restart();
        let (engine, container) = (self.clone(), container.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(delay) => engine.restart_by_policy(&container).await,
                _ = cancelled => {}
            }
        });
    }

    async fn restart_by_policy(self: &Arc<Self>, container: &Arc<Container>) {
        self.wait_for_linked(container).await;
        let _verb = container.verbs.lock().await;
        // A verb that ran in the meantime has decided otherwise.
        if container.read().state.status != ContainerStatus::Restarting {
            return;
        }
        if let Err(e) = self.start_run(container).await {
            tracing::warn!("container {}: restarting it: {e}", container.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST_DELAY, LONGEST_DELAY};
    use std::time::Duration;

    #[test]
    fn delays_double_up_to_a_minute_and_reset() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Duration::ZERO), FIRST_DELAY);
        assert_eq!(backoff.next(Duration::ZERO), FIRST_DELAY * 2);
        for _ in 0..20 {
            backoff.next(Duration::ZERO);
        }
        assert_eq!(backoff.next(Duration::ZERO), LONGEST_DELAY);
        assert_eq!(backoff.next(Duration::from_secs(11)), FIRST_DELAY);
    }
}
