//! The layers of a pull: which ones are missing, and what their fetches tell the client.

use super::Pull;
use crate::images::lines::{self, Meter};
use crate::operation::Reporter;
use crate::transfer::{Lease, Phase, Snapshot, Source};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gantry_image_store::{Arrival, WantedLayer};
use gantry_model::{Digest, Error, Result};
use std::collections::HashSet;

impl Pull {
    /// Completes an arrival.
    pub(super) async fn layers(&self, arrival: &mut Arrival, reporter: &Reporter) -> Result<()> {
        let layers = arrival.layers().to_vec();
        let mut seen: HashSet<Digest> = HashSet::new();
        let missing: Vec<&WantedLayer> = layers.iter().filter(|layer| !layer.present).collect();
        for layer in layers.iter().filter(|layer| seen.insert(layer.blob.clone())) {
            let status = if layer.present { "Already exists" } else { "Pulling fs layer" };
            reporter.tell(lines::state(layer.blob.short(), status));
        }
        let mut wanted: HashSet<&Digest> = HashSet::new();
        let first_of_each = missing.iter().filter(|layer| wanted.insert(&layer.blob));
        let mut fetches: FuturesUnordered<_> = first_of_each.map(|layer| self.layer(layer, reporter)).collect();
        while let Some(arrived) = fetches.next().await {
            let (blob, lease) = arrived?;
            for (index, _) in layers.iter().enumerate().filter(|(_, layer)| !layer.present && layer.blob == blob) {
                arrival.hold(index, &lease)?;
            }
            self.engine.places.add(&blob, &self.reference);
            reporter.tell(lines::state(blob.short(), "Pull complete"));
        }
        Ok(())
    }

    /// Waits for one layer.
    async fn layer(&self, layer: &WantedLayer, reporter: &Reporter) -> Result<(Digest, Lease)> {
        let source = Source::new(self.repository.clone(), &layer.urls);
        let mut shown = Shown::new(layer.blob.short(), reporter);
        // A fetch that was joined failed with somebody else's access; this client's own may do better.
        let mut own = false;
        loop {
            let mut interest = self.engine.transfers.fetch(&self.engine.images, layer, &source);
            let failure = loop {
                let snapshot = interest.snapshot.borrow_and_update().clone();
                shown.show(&snapshot);
                match snapshot.phase {
                    Phase::Done(lease) => return Ok((layer.blob.clone(), lease)),
                    Phase::Failed(failure) => break failure.into(),
                    _ => {}
                }
                if interest.snapshot.changed().await.is_err() {
                    break Error::cancelled("the download was cancelled");
                }
            };
            if own || !interest.joined {
                return Err(failure);
            }
            own = true;
        }
    }
}

/// What a client has been told of a layer. Watching may miss steps; the client sees each in its order.
struct Shown<'r> {
    id: String,
    reporter: &'r Reporter,
    step: Step,
    meter: Meter,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Announced,
    Waiting,
    Downloading,
    Extracting,
}

impl<'r> Shown<'r> {
    fn new(id: &str, reporter: &'r Reporter) -> Self {
        Self { id: id.to_owned(), reporter, step: Step::Announced, meter: Meter::new(id, reporter) }
    }

    fn show(&mut self, snapshot: &Snapshot) {
        match &snapshot.phase {
            Phase::Starting | Phase::Failed(_) => {}
            Phase::Waiting => {
                if self.step < Step::Waiting {
                    self.step = Step::Waiting;
                    self.state("Waiting");
                }
            }
            Phase::Downloading if self.step <= Step::Downloading => {
                self.step = Step::Downloading;
                self.meter.tell("Downloading", snapshot.received, snapshot.total);
            }
            // It begins again: what had arrived earlier was damaged.
            Phase::Downloading => self.meter.tell("Downloading", snapshot.received, snapshot.total),
            Phase::Retrying(seconds) => {
                let plural = if *seconds == 1 { "" } else { "s" };
                self.state(format!("Retrying in {seconds} second{plural}"));
            }
            Phase::Unpacking => {
                self.arrived();
                self.meter.tell("Extracting", snapshot.unpacked, snapshot.total);
            }
            Phase::Done(_) => {
                self.arrived();
                self.meter.restart();
                self.meter.tell("Extracting", snapshot.total, snapshot.total);
            }
        }
    }

    fn arrived(&mut self) {
        if self.step < Step::Extracting {
            self.step = Step::Extracting;
            self.meter.restart();
            self.state("Verifying Checksum");
            self.state("Download complete");
        }
    }

    fn state(&self, status: impl Into<String>) {
        self.reporter.tell(lines::state(&self.id, status));
    }
}
