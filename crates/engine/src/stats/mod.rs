//! `GET /containers/{id}/stats`: what a container uses, once or every second.
//!
//! Nothing is read while nobody asks. All streams of one container share its [`feed`].

mod feed;
mod sample;
mod system;

pub(crate) use feed::Feed;

use crate::Engine;
use crate::container::Container;
use gantry_api_types::stats::{ContainerStats, CpuStats};
use gantry_model::{Error, Result, Timestamp};
use sample::sample;
use std::sync::Arc;
use tokio::sync::watch;

/// Query parameters of stats.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatsOptions {
    /// A sample every second.
    pub stream: bool,
    /// One sample without waiting for the one that would go before it.
    pub one_shot: bool,
}

/// What stats gives.
#[derive(Debug)]
pub enum Stats {
    /// One sample.
    Once(Box<ContainerStats>),
    /// Samples until the container is removed.
    Stream(StatsStream),
}

/// Samples of a container, each with what is needed of the one before it.
#[derive(Debug)]
pub struct StatsStream {
    feed: watch::Receiver<Option<Arc<ContainerStats>>>,
    /// Time and processor usage of the sample that this client got last.
    previous: Option<(String, CpuStats)>,
}

impl Engine {
    /// What a container uses. One that does not run uses nothing.
    pub async fn container_stats(&self, name: &str, options: StatsOptions) -> Result<Stats> {
        let container = self.find(name)?;
        if options.stream {
            if options.one_shot {
                return Err(Error::invalid("cannot have stream=true and one-shot=true"));
            }
            return Ok(Stats::Stream(self.stats_stream(&container)));
        }
        if options.one_shot || !container.read().state.status.is_live() {
            return Ok(Stats::Once(Box::new(self.sample_now(container).await?)));
        }
        // Percentages need two samples.
        let mut stream = self.stats_stream(&container);
        let gone = || Error::not_found(format!("No such container: {name}"));
        stream.next().await.ok_or_else(gone)?;
        Ok(Stats::Once(Box::new(stream.next().await.ok_or_else(gone)?)))
    }

    fn stats_stream(&self, container: &Arc<Container>) -> StatsStream {
        StatsStream { feed: container.stats.subscribe(self, container), previous: None }
    }

    async fn sample_now(&self, container: Arc<Container>) -> Result<ContainerStats> {
        let engine = self.arc();
        tokio::task::spawn_blocking(move || sample(&engine, &container))
            .await
            .map_err(|e| Error::internal(format!("the engine failed: {e}")))
    }
}

impl StatsStream {
    /// The next sample, at once if there is one that this client has not seen; `None` when the container is gone.
    pub async fn next(&mut self) -> Option<ContainerStats> {
        let current = self.feed.wait_for(Option::is_some).await.ok()?.clone()?;
        self.feed.mark_unchanged();
        let current = if self.previous.is_none() {
            current
        } else {
            self.feed.changed().await.ok()?;
            self.feed.borrow_and_update().clone()?
        };
        let mut shown = ContainerStats::clone(&current);
        (shown.preread, shown.precpu_stats) =
            self.previous.take().unwrap_or_else(|| (Timestamp::ZERO.to_string(), CpuStats::default()));
        self.previous = Some((shown.read.clone(), shown.cpu_stats.clone()));
        Some(shown)
    }
}
