//! The container's log: a file, a feed to a log driver, or both.

use crate::compressor::ChildCompressor;
use crate::diagnostics::say;
use crate::feed::Feed;
use crate::poller::Poller;
use gantry_container_logs::{JsonFileWriter, LogError, Notice, Stream, WriterOptions};
use gantry_runtime::spec::{JsonFile, LogPlan};
use rustix::time::{ClockId, clock_gettime};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

/// Writes what the plan asks for.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<JsonFileWriter<ChildCompressor>>,
    feed: Option<Feed>,
}

impl Log {
    /// `held` begins with the feed's two ends if the plan has a feed; they are taken out.
    pub(crate) fn open(plan: &LogPlan, held: &mut Vec<OwnedFd>, poller: &Rc<Poller>) -> Result<Self, LogError> {
        let (file, feed) = match plan {
            LogPlan::None => (None, None),
            LogPlan::JsonFile(file) => (Some(file), None),
            LogPlan::Feed { cache, buffer } => (cache.as_ref(), Feed::take(held, *buffer)),
        };
        Ok(Self { file: file.map(|file| open_file(file, poller)).transpose()?, feed })
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let now = now();
        if let Some(feed) = &mut self.feed {
            feed.write(stream, bytes, now);
        }
        if let Some(writer) = &mut self.file {
            writer.write(stream, bytes, now);
            match writer.take_notice() {
                Some(Notice::Dropping(e)) => say(&format!("log lines are being dropped: {e}")),
                Some(Notice::Resumed(bytes)) => say(&format!("logging goes on; {bytes} bytes of log were dropped")),
                None => {}
            }
        }
    }

    pub(crate) fn end(&mut self, stream: Stream) {
        if let Some(feed) = &mut self.feed {
            feed.end(stream, now());
        }
        if let Some(writer) = &mut self.file {
            writer.end(stream, now());
        }
    }

    /// Whether the container has to wait for its log driver.
    pub(crate) fn is_congested(&self) -> bool {
        self.feed.as_ref().is_some_and(Feed::is_congested)
    }

    /// Waits for room if something could not be handed on.
    pub(crate) fn update(&mut self, poller: &Poller) {
        if let Some(feed) = &mut self.feed {
            feed.update(poller);
        }
    }

    /// Hands on what waited for room.
    pub(crate) fn flush_feed(&mut self) {
        if let Some(feed) = &mut self.feed {
            feed.flush();
        }
    }

    /// No more comes; what waits is handed on, as far as that goes.
    pub(crate) fn finish(&mut self) {
        if let Some(feed) = &mut self.feed {
            feed.finish();
        }
    }

    /// The end that a log driver reads from.
    pub(crate) fn feed_end(&self) -> Option<BorrowedFd<'_>> {
        self.feed.as_ref().map(Feed::receiving_end)
    }

    pub(crate) fn reap_compressor(&mut self) {
        if let Some(writer) = &mut self.file {
            writer.compressor().reap();
        }
    }

    pub(crate) fn release_buffers(&mut self) {
        if let Some(writer) = &mut self.file {
            writer.release_buffers();
        }
    }
}

fn open_file(file: &JsonFile, poller: &Rc<Poller>) -> Result<JsonFileWriter<ChildCompressor>, LogError> {
    let options = WriterOptions {
        path: file.path.clone(),
        max_size: file.max_size,
        max_file: file.max_file,
        compress: file.compress,
        attrs: file.attrs.clone(),
    };
    JsonFileWriter::open(options, ChildCompressor::new(Rc::clone(poller)))
}

/// The wall clock, nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
