//! A layer's archive becomes a directory that overlayfs can use.
//!
//! Nothing in the archive may reach outside the layer's root: names are cleaned lexically, parents are opened with
//! `openat2` beneath the root and without following any link, and the last component is only ever created, never
//! followed. Whiteouts become overlayfs' own marks.

mod apply;
mod dirs;
mod error;
mod merge;
mod metadata;
mod names;
mod tally;

pub use apply::{Extracted, extract};
pub use error::ExtractError;
pub use merge::{MergeOptions, merge};
pub(crate) use names::{clean, split};

/// Bounds on what one layer may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in the archive.
    pub entries: u64,
    /// Bytes of data in the archive.
    pub bytes: u64,
    /// Bytes of directory names that are remembered until the end.
    pub directory_names: usize,
    /// Free space, in bytes, that is left to the rest of the machine.
    pub keep_free: u64,
    /// Bytes that a compressed archive may grow to before its ratio matters.
    pub ratio_from: u64,
    /// How many times its size a compressed archive may grow.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 20_000_000,
            bytes: 1 << 42,
            directory_names: 64 << 20,
            keep_free: 64 << 20,
            ratio_from: 4 << 30,
            ratio: 1500,
        }
    }
}
