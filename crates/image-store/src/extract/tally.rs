//! What has come out of an archive so far, and whether that is still within bounds.

use super::{ExtractError, Extracted, Limits};
use crate::tar::Entry;
use rustix::{fd::AsFd, fs::fstatvfs};

/// How often the free space is looked at.
const CHECK_BYTES: u64 = 64 << 20;
const CHECK_ENTRIES: u64 = 16_384;

pub(super) struct Tally {
    pub(super) limits: Limits,
    /// Bytes written since the free space was last looked at.
    unchecked: u64,
    done: Extracted,
}

impl Tally {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, unchecked: 0, done: Extracted { size: 0, entries: 0 } }
    }

    /// Counts an entry that comes next, `into` a file system.
    pub(super) fn add(&mut self, entry: &Entry, into: impl AsFd) -> Result<(), ExtractError> {
        self.done.entries += 1;
        self.done.size = self.done.size.saturating_add(entry.size);
        if self.done.entries > self.limits.entries {
            return Err(ExtractError::Limit("entries"));
        }
        if self.done.size > self.limits.bytes {
            return Err(ExtractError::Limit("size"));
        }
        self.unchecked = self.unchecked.saturating_add(entry.size);
        if self.unchecked >= CHECK_BYTES || self.done.entries.is_multiple_of(CHECK_ENTRIES) {
            self.check_space(into)?;
        }
        Ok(())
    }

    /// Fails before the disk is so full that other programs, and our own clean-up, suffer.
    pub(super) fn check_space(&mut self, into: impl AsFd) -> Result<(), ExtractError> {
        let space = fstatvfs(into).map_err(|e| ExtractError::system("look at", b".", e))?;
        let needed = self.limits.keep_free.saturating_add(std::mem::take(&mut self.unchecked));
        if space.f_bavail.saturating_mul(space.f_frsize) < needed {
            return Err(ExtractError::NoSpace);
        }
        Ok(())
    }

    /// All of it.
    pub(super) fn done(&self) -> Extracted {
        self.done
    }
}
