//! Compressing rotated files, in a process of its own: the writer never waits for it.

use crate::files::{rotated, rotated_gz, with_suffix};
use flate2::{Compression, GzBuilder};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Prefix of the gzip comment that names the original's inode.
const INODE_COMMENT: &str = "gantry-inode=";

/// The rotated files of a log that wait for compression.
#[derive(Debug, Clone)]
pub struct CompressJob {
    path: PathBuf,
    max_file: u32,
}

/// Runs [`CompressJob`]s somewhere else, one at a time.
pub trait Compressor {
    /// Starts a job. Failures are the compressor's own: a file that stays plain is still a log.
    fn start(&mut self, job: CompressJob);
    /// Stops a running job for good, before this returns: the files are about to be renamed.
    fn cancel(&mut self);
}

/// For logs without compression.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCompressor;

impl Compressor for NoCompressor {
    fn start(&mut self, _: CompressJob) {}
    fn cancel(&mut self) {}
}

impl CompressJob {
    pub(crate) fn new(path: &Path, max_file: u32) -> Self {
        Self { path: path.to_owned(), max_file }
    }

    /// Whether there is anything to do.
    pub(crate) fn is_needed(&self) -> bool {
        (1..self.max_file).any(|index| rotated(&self.path, index).exists())
    }

    /// Compresses what is plain, newest first. Killed at any point it leaves the log complete.
    pub fn run(&self) -> io::Result<()> {
        for index in 1..self.max_file {
            match File::open(rotated(&self.path, index)) {
                Ok(plain) => self.compress(&plain, index)?,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn compress(&self, mut plain: &File, index: u32) -> io::Result<()> {
        let temporary = with_suffix(&self.path, "gz.tmp");
        let comment = format!("{INODE_COMMENT}{}", plain.metadata()?.ino());
        let written = (|| {
            let file = BufWriter::with_capacity(64 * 1024, File::create(&temporary)?);
            let mut encoder = GzBuilder::new().comment(comment).write(file, Compression::default());
            io::copy(&mut plain, &mut encoder)?;
            encoder.finish()?.flush()
        })();
        if let Err(e) = written {
            let _ = fs::remove_file(&temporary);
            return Err(e);
        }
        fs::rename(&temporary, rotated_gz(&self.path, index))?;
        fs::remove_file(rotated(&self.path, index))
    }
}

/// The inode in a gzip header's comment.
pub(crate) fn original_inode(comment: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(comment?).ok()?.strip_prefix(INODE_COMMENT)?.parse().ok()
}
