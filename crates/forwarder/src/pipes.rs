//! Pipes to splice through.
//!
//! A connection has one only while there is something in it, which is while one side takes less than the other gives. So
//! connections that wait, which are most of them, cost none.

use rustix::io::Result;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::os::fd::OwnedFd;

/// Empty pipes that are kept.
const KEPT: usize = 8;
/// What a pipe is to hold. The kernel counts pages and splices pieces of pages, so that it is full earlier.
pub(crate) const SIZE: usize = 256 << 10;

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reading: OwnedFd,
    pub(crate) writing: OwnedFd,
    pub(crate) bytes: usize,
}

/// Empty pipes.
#[derive(Debug, Default)]
pub(crate) struct Pipes(Vec<Pipe>);

impl Pipes {
    /// An empty one.
    pub(crate) fn take(&mut self) -> Result<Pipe> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The kernel may not grant it; then it takes more calls.
        let _ = fcntl_setpipe_size(&writing, SIZE);
        Ok(Pipe { reading, writing, bytes: 0 })
    }

    pub(crate) fn back(&mut self, pipe: Pipe) {
        if pipe.bytes == 0 && self.0.len() < KEPT {
            self.0.push(pipe);
        }
    }
}
