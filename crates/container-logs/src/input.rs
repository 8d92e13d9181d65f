//! One file of a log, cut into lines, with bounded memory.

use crate::compress::original_inode;
use crate::files::Entry;
use flate2::bufread::MultiGzDecoder;
use memchr::{memchr, memrchr};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;

/// A longer line was not written by a log writer; it is skipped.
const MAX_LINE: usize = 1024 * 1024;
const BLOCK: usize = 128 * 1024;

#[derive(Debug)]
enum Source {
    Plain(File),
    Gz(Box<MultiGzDecoder<BufReader<File>>>),
}

/// An open file of a log.
#[derive(Debug)]
pub(crate) struct Input {
    source: Source,
    inode: u64,
    /// Bytes taken from the source so far.
    offset: u64,
    /// Read no further than this.
    limit: Option<u64>,
    buf: Vec<u8>,
    /// The part of `buf` that is not consumed.
    start: usize,
    /// In the middle of a line that is too long.
    skipping: bool,
}

impl Input {
    /// Opens a file of the log; `NotFound` when it is no longer that file.
    pub(crate) fn open(entry: &Entry) -> io::Result<Self> {
        let file = File::open(&entry.path)?;
        let inode = file.metadata()?.ino();
        if inode != entry.inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        let source = if entry.gz {
            Source::Gz(Box::new(MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, file))))
        } else {
            Source::Plain(file)
        };
        Ok(Self { source, inode, offset: 0, limit: None, buf: Vec::new(), start: 0, skipping: false })
    }

    /// Whether `entry` is this file, compressed since it was opened.
    pub(crate) fn is_original_of(&self, entry: &Entry) -> bool {
        entry.gz && matches!(self.source, Source::Plain(_)) && gz_original(entry) == Some(self.inode)
    }

    pub(crate) fn inode(&self) -> u64 {
        self.inode
    }

    /// Starts at `offset`; only for a plain file of which nothing was read.
    pub(crate) fn start_at(&mut self, offset: u64) -> io::Result<()> {
        if let Source::Plain(file) = &mut self.source {
            file.seek(SeekFrom::Start(offset))?;
            self.offset = offset;
        }
        Ok(())
    }

    /// Reads nothing beyond `offset` of a plain file.
    pub(crate) fn stop_at(&mut self, offset: u64) {
        self.limit = Some(offset);
    }

    /// The next complete line, without its `\n`; `None` at the end of what is there.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = 0;
        loop {
            let unread = &self.buf[self.start..];
            if let Some(at) = memchr(b'\n', &unread[searched..]) {
                let (from, to) = (self.start, self.start + searched + at);
                self.start = to + 1;
                if std::mem::take(&mut self.skipping) {
                    searched = 0;
                    continue;
                }
                return Ok(Some(&self.buf[from..to]));
            }
            searched = unread.len();
            if searched > MAX_LINE {
                self.skipping = true;
                self.start = self.buf.len();
                searched = 0;
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads another block behind what is not consumed; false at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buf.drain(..self.start);
        self.start = 0;
        let kept = self.buf.len();
        let wanted = self.limit.map_or(BLOCK, |limit| BLOCK.min(limit.saturating_sub(self.offset) as usize));
        self.buf.resize(kept + wanted, 0);
        let read = loop {
            let read = match &mut self.source {
                Source::Plain(file) => file.read(&mut self.buf[kept..]),
                Source::Gz(decoder) => decoder.read(&mut self.buf[kept..]),
            };
            match read {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buf.truncate(kept + *read.as_ref().unwrap_or(&0));
        self.offset += read? as u64;
        Ok(self.buf.len() > kept)
    }

    /// At the end: starts over if somebody cut the file, and gives the buffer back if it is empty.
    pub(crate) fn at_end(&mut self) -> io::Result<()> {
        if let Source::Plain(file) = &mut self.source
            && file.metadata()?.len() < self.offset
        {
            file.seek(SeekFrom::Start(0))?;
            self.offset = 0;
            self.buf.clear();
            self.start = 0;
        }
        if self.start == self.buf.len() {
            self.buf = Vec::new();
            self.start = 0;
        }
        Ok(())
    }
}

/// The inode that a compressed file had before.
fn gz_original(entry: &Entry) -> Option<u64> {
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(512, File::open(&entry.path).ok()?));
    // The header is parsed by the first read.
    let _ = decoder.read(&mut [0; 1]);
    original_inode(decoder.header()?.comment())
}

/// Where the last `lines` complete lines of a plain file begin, and how many of them there are.
pub(crate) fn find_tail(file: &File, lines: u64) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::FileExt;
    let mut block = vec![0; BLOCK];
    let mut end = file.metadata()?.len();
    // Ends of lines seen; the first one ends the last line, the `lines + 1`th precedes the tail.
    let mut seen = 0;
    while end > 0 {
        let from = end.saturating_sub(BLOCK as u64);
        let mut part = &mut block[..(end - from) as usize];
        file.read_exact_at(part, from)?;
        while let Some(at) = memrchr(b'\n', part) {
            seen += 1;
            if seen > lines {
                return Ok((from + at as u64 + 1, lines));
            }
            part = &mut part[..at];
        }
        end = from;
    }
    Ok((0, seen))
}
