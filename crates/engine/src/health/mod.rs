//! Health checks: a command that is run in the container every so often, and what its results say of the container.
//!
//! The state is a part of the container's record. While the container runs, each result goes to a file in the exec-root
//! as well, which costs no wait for a disk; a new daemon goes on from there.

mod monitor;
mod probe;
mod settings;
mod state;

pub(crate) use monitor::Monitor;

use crate::Engine;
use crate::container::{Container, Record};
use gantry_api_types::Health;
use gantry_model::error::Context;
use gantry_model::{ContainerStatus, Id, Result};
use gantry_shim_protocol::{RequestBody, Target};
use serde::{Deserialize, Serialize};
use settings::Settings;
use std::fs;
use std::sync::Arc;

/// The words of `State.Health.Status`.
const STARTING: &str = "starting";
const HEALTHY: &str = "healthy";
const UNHEALTHY: &str = "unhealthy";

/// What a new daemon must know of a container's checks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct HealthFile {
    health: Option<Health>,
    /// The probe that runs; its daemon was to end it.
    probe: Option<Id>,
}

/// A new run begins: nothing is known of it, and the log of the last one stays.
pub(crate) fn begin(record: &mut Record) {
    let before = record.state.health.take();
    if Settings::of(&record.config).is_some() {
        let log = before.and_then(|health| health.log).unwrap_or_default();
        record.state.health = Some(Health { status: STARTING.to_owned(), failing_streak: 0, log: Some(log) });
    }
}

/// Nobody looks any more. Docker calls that unhealthy, and clients have come to expect it.
pub(crate) fn cease(record: &mut Record) {
    if let Some(health) = &mut record.state.health {
        UNHEALTHY.clone_into(&mut health.status);
    }
}

/// What `docker ps` shows behind the time.
pub(crate) fn words(health: &Health) -> String {
    if health.status == STARTING { "health: starting".to_owned() } else { health.status.clone() }
}

/// The value of the list's filter.
pub(crate) fn status(record: &Record) -> &str {
    record.state.health.as_ref().map_or("none", |health| health.status.as_str())
}

impl Engine {
    /// Begins to look after a container that runs; ends what looked after it before.
    pub(crate) fn watch_health(self: &Arc<Self>, container: &Arc<Container>) {
        let settings = Settings::of(&container.read().config);
        if let Some(settings) = settings {
            container.monitor.start(monitor::run(self.clone(), container.clone(), settings));
        }
    }

    /// Takes over what the last daemon knew of a container that ran on; gives the probe that it left behind.
    pub(crate) fn recall_health(&self, container: &Container) -> Option<Id> {
        let known = fs::read(self.dirs(&container.id).health_file()).ok();
        let known = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let HealthFile { health, probe } = known.unwrap_or_default();
        let mut record = container.write();
        match health {
            Some(health) => record.state.health = Some(health),
            // It was started and not checked yet; the record may be from before that.
            None => begin(&mut record),
        }
        probe
    }

    /// Goes on looking after such a container.
    pub(crate) async fn resume_health(self: &Arc<Self>, container: &Arc<Container>, probe: Option<Id>) {
        if let Some((probe, link)) = probe.zip(container.shim()) {
            let target = Target::Exec(probe.to_string());
            // It has ended in the meantime, or ends now.
            drop(link.perform(RequestBody::Signal { target, signal: gantry_model::signal::SIGKILL }, &[]).await);
        }
        if container.read().state.status != ContainerStatus::Paused {
            self.watch_health(container);
        }
    }

    /// Writes what a new daemon would need.
    fn keep_health(&self, container: &Container, probe: Option<Id>) -> Result<()> {
        let health = container.read().state.health.clone();
        let path = self.dirs(&container.id).health_file();
        let text = serde_json::to_vec(&HealthFile { health, probe })
            .map_err(|e| gantry_model::Error::internal(e.to_string()))?;
        let temporary = path.with_extension("new");
        fs::write(&temporary, text).context(temporary.display())?;
        fs::rename(&temporary, &path).context(path.display())
    }
}
