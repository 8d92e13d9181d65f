//! The container's log.

use crate::compressor::ChildCompressor;
use crate::diagnostics::say;
use crate::poller::Poller;
use gantry_container_logs::{JsonFileWriter, LogError, Notice, Stream, WriterOptions};
use gantry_runtime::spec::LogPlan;
use rustix::time::{ClockId, clock_gettime};
use std::rc::Rc;

/// Writes what the plan asks for.
#[derive(Debug)]
pub(crate) struct Log(Option<JsonFileWriter<ChildCompressor>>);

impl Log {
    pub(crate) fn open(plan: &LogPlan, poller: &Rc<Poller>) -> Result<Self, LogError> {
        let LogPlan::JsonFile { path, max_size, max_file, compress, attrs } = plan else { return Ok(Self(None)) };
        let options = WriterOptions {
            path: path.clone(),
            max_size: *max_size,
            max_file: *max_file,
            compress: *compress,
            attrs: attrs.clone(),
        };
        JsonFileWriter::open(options, ChildCompressor::new(Rc::clone(poller))).map(|writer| Self(Some(writer)))
    }

    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(writer) = &mut self.0 {
            writer.write(stream, bytes, now());
            match writer.take_notice() {
                Some(Notice::Dropping(e)) => say(&format!("log lines are being dropped: {e}")),
                Some(Notice::Resumed(bytes)) => say(&format!("logging goes on; {bytes} bytes of log were dropped")),
                None => {}
            }
        }
    }

    pub(crate) fn end(&mut self, stream: Stream) {
        if let Some(writer) = &mut self.0 {
            writer.end(stream, now());
        }
    }

    pub(crate) fn reap_compressor(&mut self) {
        if let Some(writer) = &mut self.0 {
            writer.compressor().reap();
        }
    }

    pub(crate) fn release_buffers(&mut self) {
        if let Some(writer) = &mut self.0 {
            writer.release_buffers();
        }
    }
}

/// The wall clock, nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
