//! `GET /containers/{id}/logs`.

use crate::Engine;
use crate::container::Progress;
use crate::log_watch::Subscription;
use crate::plan;
use bytes::Bytes;
use gantry_container_logs::{LogReader, ReadOptions, State};
use gantry_model::{Error, Result};
use tokio::sync::watch;

/// Bytes of a batch; the memory a reader costs.
const BATCH: usize = 256 * 1024;

/// Query parameters of logs.
#[derive(Debug, Clone, Default)]
pub struct LogsOptions {
    /// Stay and wait for more until the container ends.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Nothing before this time, nanoseconds since the epoch.
    pub since: Option<i64>,
    /// Nothing after this time, nanoseconds since the epoch.
    pub until: Option<i64>,
    /// Times in front of lines.
    pub timestamps: bool,
    /// Attributes in front of lines.
    pub details: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
}

/// A log on its way to a client: multiplexed, or raw with a terminal.
#[derive(Debug)]
pub struct LogStream {
    tty: bool,
    reader: LogReader,
    follow: Option<Follow>,
    ended: bool,
}

#[derive(Debug)]
struct Follow {
    changes: Subscription,
    progress: watch::Receiver<Progress>,
    exits_before: u64,
}

impl Engine {
    /// Opens a container's log.
    pub async fn container_logs(&self, name: &str, options: LogsOptions) -> Result<LogStream> {
        if !options.stdout && !options.stderr {
            return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
        }
        let container = self.find(name)?;
        let (tty, readable) = {
            let record = container.read();
            (record.config.tty, plan::logs::is_readable(&record))
        };
        if !readable {
            return Err(Error::not_implemented("configured logging driver does not support reading"));
        }
        let path = self.dirs(&container.id).log(&container.id);
        let progress = container.progress.subscribe();
        let now = progress.borrow().clone();
        // Subscribed before the first read: a line written in between is noticed.
        let follow = if options.follow && now.live {
            let changes = self.log_watch.subscribe(&path)?;
            Some(Follow { changes, progress, exits_before: now.exits })
        } else {
            None
        };
        let read = ReadOptions {
            tail: options.tail,
            since: options.since,
            until: options.until,
            stdout: options.stdout,
            stderr: options.stderr,
            timestamps: options.timestamps,
            details: options.details,
            framed: !tty,
            follow: follow.is_some(),
        };
        let reader = LogReader::open(&path, read)?;
        Ok(LogStream { tty, reader, follow, ended: false })
    }
}

impl LogStream {
    /// Whether the bytes are raw.
    pub const fn is_tty(&self) -> bool {
        self.tty
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        while !self.ended {
            let mut out = Vec::new();
            let state = match self.reader.next_batch(&mut out, BATCH) {
                Ok(state) => state,
                Err(e) => {
                    self.ended = true;
                    return Some(Err(e.into()));
                }
            };
            self.ended = state == State::End;
            if !out.is_empty() {
                return Some(Ok(out.into()));
            }
            if state == State::CaughtUp {
                self.wait().await;
            }
        }
        None
    }

    /// Waits for growth, or for the container's end, after which the log is complete.
    async fn wait(&mut self) {
        let Some(follow) = &mut self.follow else { return };
        let before = follow.exits_before;
        tokio::select! {
            () = follow.changes.changed() => return,
            _ = follow.progress.wait_for(|p| p.exits > before || p.removed) => {}
        }
        self.follow = None;
        self.reader.stop_following();
    }
}
