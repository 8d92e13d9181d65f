//! Docker's `json-file` logs: written by a container's shim, read by the daemon.
//!
//! A log is the file `<id>-json.log` and, with rotation, `.1` (the newest) to `.n`, each perhaps
//! with `.gz`. Writer and readers are different processes and share no lock: the writer renames,
//! readers recognise a file by its inode (see [`files`]).

mod attrs;
pub mod compress;
mod encode;
mod error;
mod escape;
pub mod feed;
pub mod files;
mod input;
pub mod reader;
mod record;
mod render;
mod tail;
mod timestamp;
pub mod watch;
pub mod writer;

pub use compress::{CompressJob, Compressor, NoCompressor};
pub use error::LogError;
pub use reader::{LogReader, ReadOptions, State};
pub use watch::{WatchId, Watcher};
pub use writer::{JsonFileWriter, Notice, WriterOptions};

/// Which of a container's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output; everything of a container with a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// First byte of a frame in Docker's multiplexed stream.
    pub const fn frame_type(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    /// Docker's frame header for `len` bytes of payload.
    pub const fn frame_header(self, len: u32) -> [u8; 8] {
        let n = len.to_be_bytes();
        [self.frame_type(), 0, 0, 0, n[0], n[1], n[2], n[3]]
    }

    const fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }
}
