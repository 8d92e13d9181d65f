//! Blobs that have not arrived in full: `images/partial/<digest>` and, beside each, which ranges of it are there.
//!
//! A blob leaves when all of it was verified. Its journal stays until an image has it: if the process dies in between,
//! the next start finds an unused blob with a journal and takes it back.

mod journal;
pub(crate) mod keep;
mod ranges;

use crate::{files::Files, recover};
use gantry_model::{Digest, Error, Result, error::Context};
use journal::Journal;
pub(crate) use ranges::Ranges;
use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::PathBuf,
};

/// Bytes of one run that arrive before they are noted: what a killed process may have to fetch again.
const STEP: u64 = 256 << 10;

/// A partial blob that is open for more bytes.
#[derive(Debug)]
pub(crate) struct Partial {
    data: File,
    path: PathBuf,
    journal: PathBuf,
}

/// What is known to be there, and how much of it the journal knows.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) complete: Ranges,
    noted: Journal,
    unnoted: Ranges,
}

impl Partial {
    /// Opens what an earlier attempt left of a blob, or begins it.
    pub(crate) fn open(files: &Files, blob: &Digest, size: u64) -> Result<(Self, Arrived)> {
        let (path, journal) = (files.partial(blob.hex()), files.journal(blob.hex()));
        let boot = recover::boot()?;
        let data = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let data = data.map_err(Error::from).context("cannot make a file for the layer")?;
        let length = data.metadata()?.len();
        let complete = journal::read(&journal, &boot, size).unwrap_or_default();
        // A journal whose data is shorter than it says belongs to another file.
        let told = complete.iter().last().map_or(0, |last| last.end);
        let complete = if told > length { Ranges::default() } else { complete };
        if complete.bytes() == 0 {
            data.set_len(0)?;
        }
        let noted = Journal::create(&journal, &boot, size, &complete)?;
        let partial = Self { data, path, journal };
        Ok((partial, Arrived { complete, noted, unnoted: Ranges::default() }))
    }

    /// Writes bytes at their place. They count once they were passed to [`Arrived::add`].
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.data.write_all_at(bytes, at)
    }

    pub(crate) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.data.read_at(bytes, at)
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Throws it away.
    pub(crate) fn remove(&self) {
        for path in [&self.path, &self.journal] {
            if let Err(e) = fs::remove_file(path)
                && e.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("cannot remove {}: {e}", path.display());
            }
        }
    }
}

impl Arrived {
    /// Counts bytes that were written.
    pub(crate) fn add(&mut self, range: Range<u64>) -> io::Result<()> {
        self.complete.insert(range.clone());
        let run = self.unnoted.insert(range);
        if run.end - run.start >= STEP {
            self.noted.add(&run)?;
            self.unnoted.take(&run);
        }
        Ok(())
    }

    /// Notes what was not noted yet.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        for run in std::mem::take(&mut self.unnoted).iter() {
            self.noted.add(&run)?;
        }
        Ok(())
    }
}
