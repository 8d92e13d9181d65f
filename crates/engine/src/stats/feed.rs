//! The one collector that all clients of a container share, for as long as there are any.

use super::sample::sample;
use crate::Engine;
use crate::container::Container;
use gantry_api_types::stats::ContainerStats;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

const INTERVAL: Duration = Duration::from_secs(1);

type Samples = watch::Sender<Option<Arc<ContainerStats>>>;

/// A container's collector; `None` while nobody listens.
#[derive(Debug, Default)]
pub(crate) struct Feed(Mutex<Option<Samples>>);

impl Feed {
    /// Listens, and starts the collector if it does not run.
    pub(super) fn subscribe(
        &self,
        engine: &Engine,
        container: &Arc<Container>,
    ) -> watch::Receiver<Option<Arc<ContainerStats>>> {
        let mut slot = self.lock();
        if let Some(samples) = &*slot {
            return samples.subscribe();
        }
        let (samples, receiver) = watch::channel(None);
        *slot = Some(samples.clone());
        tokio::spawn(collect(engine.arc(), container.clone(), samples));
        receiver
    }

    /// Stops unless somebody came meanwhile.
    fn stop_if_unheard(&self, samples: &Samples) -> bool {
        let mut slot = self.lock();
        let unheard = samples.receiver_count() == 0;
        if unheard {
            *slot = None;
        }
        unheard
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Samples>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sample at once and then every second, until nobody listens or the container is gone.
async fn collect(engine: Arc<Engine>, container: Arc<Container>, samples: Samples) {
    let mut progress = container.progress.subscribe();
    let removed = async move { progress.wait_for(|p| p.removed).await.is_ok() };
    tokio::pin!(removed);
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let (engine, container) = (engine.clone(), container.clone());
                let Ok(next) = tokio::task::spawn_blocking(move || sample(&engine, &container)).await else { break };
                samples.send_replace(Some(Arc::new(next)));
            }
            () = samples.closed() => {
                if container.stats.stop_if_unheard(&samples) {
                    return;
                }
            }
            _ = &mut removed => break,
        }
    }
    // Dropping the last sender ends the streams.
    container.stats.lock().take();
}
