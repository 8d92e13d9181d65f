//! One layer's fetch: bytes from the registry on this task, unpacking behind them on a thread.

use super::{Attempts, Later, Limits, Phase, Snapshot, Source, ranges};
use gantry_image_store::{ExtractFailure, ImageStore, IncomingLayer, LayerLease, WantedLayer};
use gantry_model::{Error, Result};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch};

pub(super) struct Job {
    pub(super) store: ImageStore,
    pub(super) wanted: WantedLayer,
    pub(super) source: Source,
    pub(super) limits: Limits,
    pub(super) gate: Arc<Mutex<()>>,
    pub(super) tell: watch::Sender<Snapshot>,
}

/// What must stay as long as a thread works on the layer, even if the task that started it is gone.
pub(super) struct Held {
    _gate: OwnedMutexGuard<()>,
    _unpacking: OwnedSemaphorePermit,
}

/// Tells the unpacking thread that no more bytes come, when the fetch ends in whatever way.
struct EndOfBytes(Arc<IncomingLayer>);

impl Drop for EndOfBytes {
    fn drop(&mut self) {
        self.0.fail(&Error::cancelled("the pull was cancelled"));
    }
}

impl Job {
    pub(super) async fn run(self) {
        let phase = match self.fetch().await {
            Ok(lease) => Phase::Done(Arc::new(Later::new(lease))),
            Err(e) => Phase::Failed((&e).into()),
        };
        self.tell.send_modify(|snapshot| snapshot.phase = phase);
    }

    async fn fetch(&self) -> Result<LayerLease> {
        let gate = self.gate.clone().lock_owned().await;
        let unpacking = self.turn(&self.limits.unpacking).await?;
        let held = Arc::new(Held { _gate: gate, _unpacking: unpacking });
        match self.round(&held).await {
            // Bytes of an earlier fetch were wrong. They are gone now; what comes anew is judged on its own.
            Err(ExtractFailure::Damaged { resumed: true, error }) => {
                tracing::warn!("layer {}: fetched from the beginning: {error}", self.wanted.blob);
                self.round(&held).await.map_err(|failure| self.error(failure))
            }
            other => other.map_err(|failure| self.error(failure)),
        }
    }

    /// Opens what is there of the layer, fetches the rest and unpacks it.
    async fn round(&self, held: &Arc<Held>) -> Result<LayerLease, ExtractFailure> {
        let (store, wanted, turn) = (self.store.clone(), self.wanted.clone(), held.clone());
        // What was opened for a task that is gone by then still has to be closed before it can be opened again.
        let opened = crate::blocking(move || store.incoming_layer(&wanted).map(|incoming| (incoming, turn))).await;
        let (incoming, _) = opened.map_err(ExtractFailure::Failed)?;
        let end = EndOfBytes(incoming.clone());
        let mut unpacked = self.unpack(incoming.clone(), held.clone());
        tokio::select! {
            // An archive that is refused, or a full disk, ends the download too.
            outcome = &mut unpacked => return joined(outcome),
            downloaded = self.download(&incoming, held) => {
                if let Err(e) = downloaded {
                    incoming.fail(&e);
                    // Its failure is this one. But the thread has to be done before the blob can be opened again.
                    drop(unpacked.await);
                    return Err(ExtractFailure::Failed(e));
                }
            }
        }
        let outcome = joined(unpacked.await);
        drop(end);
        outcome
    }

    fn unpack(
        &self,
        incoming: Arc<IncomingLayer>,
        held: Arc<Held>,
    ) -> tokio::task::JoinHandle<Result<LayerLease, ExtractFailure>> {
        let tell = self.tell.clone();
        tokio::task::spawn_blocking(move || {
            let outcome = incoming.extract(&mut |done| tell.send_modify(|snapshot| snapshot.unpacked = done));
            // In this order: whoever waits for the gate opens the blob again.
            drop(incoming);
            drop(held);
            outcome
        })
    }

    /// Fetches what is missing, as often as it takes and is allowed.
    async fn download(&self, incoming: &Arc<IncomingLayer>, held: &Arc<Held>) -> Result<()> {
        let _turn = self.turn(&self.limits.downloads).await?;
        let mut attempts = Attempts::new(self.limits.attempts);
        loop {
            let before = incoming.received();
            self.tell.send_modify(|snapshot| {
                snapshot.received = before;
                snapshot.phase = Phase::Downloading;
            });
            let (asked, failure) = match ranges::fetch_missing(self, incoming, held).await {
                Ok(()) => {
                    self.tell.send_modify(|snapshot| snapshot.phase = Phase::Unpacking);
                    return Ok(());
                }
                Err(ranges::Failure::Store(e)) => return Err(e),
                Err(ranges::Failure::Registry(e)) if !e.is_transient() => return Err(e.into()),
                Err(ranges::Failure::Registry(e)) => (e.retry_after(), Error::from(e)),
                Err(ranges::Failure::Lost(e)) => (None, e),
            };
            let arrived = incoming.received().saturating_sub(before);
            let Some(pause) = attempts.pause(arrived, asked) else { return Err(failure) };
            tracing::info!("layer {}: trying again in {pause:?}: {failure}", self.wanted.blob);
            self.wait(pause).await;
        }
    }

    /// Wrong bytes fail in the decoder before the digest can tell; the client learns what is wrong all the same.
    fn error(&self, failure: ExtractFailure) -> Error {
        let why = format!("filesystem layer verification failed for digest {}", self.wanted.blob);
        match failure {
            ExtractFailure::Damaged { error, .. } if !error.message().starts_with(&why) => error.context(why),
            ExtractFailure::Damaged { error, .. } | ExtractFailure::Failed(error) => error,
        }
    }

    /// Waits for a turn, and says so if it takes.
    async fn turn(&self, semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        if let Ok(turn) = semaphore.clone().try_acquire_owned() {
            return Ok(turn);
        }
        self.tell.send_modify(|snapshot| snapshot.phase = Phase::Waiting);
        semaphore.clone().acquire_owned().await.map_err(|_| Error::cancelled("the daemon is shutting down"))
    }

    /// Counts the seconds down for those who watch.
    async fn wait(&self, pause: Duration) {
        let mut left = pause;
        while !left.is_zero() {
            self.tell.send_modify(|snapshot| snapshot.phase = Phase::Retrying(left.as_secs().max(1)));
            let step = left.min(Duration::from_secs(1));
            tokio::time::sleep(step).await;
            left -= step;
        }
    }
}

fn joined<T>(outcome: Result<Result<T, ExtractFailure>, tokio::task::JoinError>) -> Result<T, ExtractFailure> {
    outcome.unwrap_or_else(|e| Err(ExtractFailure::Failed(Error::internal(format!("unpacking broke off: {e}")))))
}
