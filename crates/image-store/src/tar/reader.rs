//! Entries out of a stream.

use super::{
    TarError,
    header::{BLOCK, Block, Header},
    pax::Extended,
    sparse::{self, Segment, SparseMap},
};
use std::io::BufRead;

/// Bytes of one extended header, long name or sparse map.
const MAX_EXTENDED: u64 = 1 << 20;
/// Extended headers in a row before the entry that they describe.
const MAX_EXTENDED_RUN: usize = 16;

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A second name for a file that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// A point in time as archives write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since the epoch.
    pub seconds: i64,
    /// Nanoseconds after them.
    pub nanos: u32,
}

/// One entry's metadata. Names are as the archive has them: hostile.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change.
    pub mtime: Time,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Bytes of data in the archive.
    pub size: u64,
    /// The map of a sparse file.
    pub sparse: Option<SparseMap>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive being read from a stream.
pub struct Archive<R> {
    stream: R,
    /// Data of the current entry that was not read yet.
    remaining: u64,
    /// Zeros after it, up to the block's end.
    padding: u64,
}

impl<R: BufRead> Archive<R> {
    /// An archive in `stream`.
    pub fn new(stream: R) -> Self {
        Self { stream, remaining: 0, padding: 0 }
    }

    /// The next entry; `None` after the last. Data of the entry before that nobody read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        self.skip_data()?;
        let mut extended = Extended::default();
        for _ in 0..MAX_EXTENDED_RUN {
            let Some(block) = self.read_header()? else { return Ok(None) };
            let header = Header(&block);
            header.verify()?;
            match header.kind() {
                b'x' => {
                    let records = self.read_extended(header.size()?)?;
                    extended.add(&records)?;
                }
                b'L' => extended.path = Some(until_nul(self.read_extended(header.size()?)?)),
                b'K' => extended.link = Some(until_nul(self.read_extended(header.size()?)?)),
                // Global headers and volume labels say nothing about files that matters here.
                b'g' | b'V' => self.begin_data(header.size()?).and_then(|()| self.skip_data())?,
                kind => return self.entry(kind, &header, extended).map(Some),
            }
        }
        Err(TarError::Limit("extended headers"))
    }

    /// The next piece of the current entry's data; empty at its end.
    pub fn data(&mut self) -> Result<&[u8], TarError> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let available = self.stream.fill_buf()?;
        if available.is_empty() {
            return Err(TarError::Truncated);
        }
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(available.len());
        Ok(&available[..length])
    }

    /// Marks `length` bytes of what [`Archive::data`] returned as read.
    pub fn consume(&mut self, length: usize) {
        self.stream.consume(length);
        self.remaining = self.remaining.saturating_sub(length as u64);
    }

    /// Moves some of the current entry's data to `buffer`; nothing at its end. Unlike [`Archive::data`] it need not pass
    /// through the stream's own buffer.
    pub fn read_data(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let length = self.stream.read(&mut buffer[..most])?;
        if length == 0 {
            return Err(TarError::Truncated);
        }
        self.remaining -= length as u64;
        Ok(length)
    }

    /// The stream, behind whatever was read.
    pub fn into_inner(self) -> R {
        self.stream
    }

    fn entry(&mut self, kind: u8, header: &Header<'_>, extended: Extended) -> Result<Entry, TarError> {
        let path = extended.sparse.name.clone().or(extended.path.clone()).unwrap_or_else(|| header.path());
        let kind_of = match kind {
            // V7 archives mark directories by the name alone.
            b'0' | 0 if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::CharDevice,
            b'4' => Kind::BlockDevice,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(TarError::Type(other)),
        };
        // Other kinds have no data, whatever their size field says.
        let size = if kind_of == Kind::File { extended.size.map_or_else(|| header.size(), Ok)? } else { 0 };
        self.begin_data(size)?;
        let sparse = if kind_of == Kind::File { self.sparse(kind, header, &extended)? } else { None };
        let device = matches!(kind_of, Kind::CharDevice | Kind::BlockDevice);
        Ok(Entry {
            link: extended.link.unwrap_or_else(|| header.link().to_vec()),
            kind: kind_of,
            mode: header.mode()?,
            uid: extended.uid.map_or_else(|| header.uid(), Ok)?,
            gid: extended.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: extended.mtime.map_or_else(|| header.mtime().map(|seconds| Time { seconds, nanos: 0 }), Ok)?,
            device: if device { header.device()? } else { (0, 0) },
            size: self.remaining,
            xattrs: extended.xattrs,
            path,
            sparse,
        })
    }

    /// The map of a sparse file, wherever its format keeps it.
    fn sparse(&mut self, kind: u8, header: &Header<'_>, extended: &Extended) -> Result<Option<SparseMap>, TarError> {
        let (segments, size) = if kind == b'S' {
            let (entries, more, size) = header.gnu_sparse();
            // The continuation blocks come between the header and the data and are not counted in its size.
            (self.old_gnu_map(entries, more)?, size?)
        } else if extended.sparse.map_is_in_data() {
            let size = extended.sparse.real_size.ok_or(TarError::Sparse)?;
            (self.leading_map()?, size)
        } else if extended.sparse.map_is_here() {
            (extended.sparse.segments.clone(), extended.sparse.real_size.unwrap_or_default())
        } else {
            return Ok(None);
        };
        SparseMap::new(segments, size, self.remaining).map(Some)
    }

    fn old_gnu_map(&mut self, entries: &[u8], mut more: bool) -> Result<Vec<Segment>, TarError> {
        let mut segments = Vec::new();
        sparse::old_gnu(entries, &mut segments)?;
        while more {
            let block = self.read_block()?.ok_or(TarError::Truncated)?;
            sparse::old_gnu(&block[..504], &mut segments)?;
            more = block[504] != 0;
        }
        Ok(segments)
    }

    /// Decimal numbers, one a line: the count, then offset and length of each; padded to a whole block.
    fn leading_map(&mut self) -> Result<Vec<Segment>, TarError> {
        let mut numbers = MapLines { archive: self, block: [0; BLOCK], at: BLOCK };
        let count = numbers.next()?;
        if count > sparse::MAX_SEGMENTS as u64 {
            return Err(TarError::Limit("sparse segments"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            let (offset, length) = (numbers.next()?, numbers.next()?);
            sparse::push(&mut segments, Segment { offset, length })?;
        }
        Ok(segments)
    }

    fn begin_data(&mut self, size: u64) -> Result<(), TarError> {
        if i64::try_from(size).is_err() {
            return Err(TarError::Header("the size is out of range"));
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        loop {
            let length = self.data()?.len();
            if length == 0 {
                break;
            }
            self.consume(length);
        }
        // `docker build -f -` closes its pipe before the last file was padded, and Go's readers take that for the end.
        let mut padding = std::mem::take(&mut self.padding);
        while padding > 0 {
            let available = self.stream.fill_buf()?.len();
            if available == 0 {
                break;
            }
            let length = usize::try_from(padding).unwrap_or(usize::MAX).min(available);
            self.stream.consume(length);
            padding -= length as u64;
        }
        Ok(())
    }

    fn read_extended(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_EXTENDED {
            return Err(TarError::Limit("the size of extended headers"));
        }
        self.begin_data(size)?;
        let mut bytes = vec![0; size as usize];
        self.stream.read_exact(&mut bytes)?;
        self.remaining = 0;
        self.skip_data()?;
        Ok(bytes)
    }

    /// A header; `None` at the end-of-archive mark, one or two zero blocks, or at the stream's end between entries.
    fn read_header(&mut self) -> Result<Option<Block>, TarError> {
        Ok(self.read_block()?.filter(|block| block.iter().any(|&b| b != 0)))
    }

    /// A block; `None` at the stream's end.
    fn read_block(&mut self) -> Result<Option<Block>, TarError> {
        if self.stream.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.stream.read_exact(&mut block)?;
        Ok(Some(block))
    }
}

/// The numbers of a version 1.0 map, read block by block from the front of the data.
struct MapLines<'a, R> {
    archive: &'a mut Archive<R>,
    block: Block,
    at: usize,
}

impl<R: BufRead> MapLines<'_, R> {
    fn next(&mut self) -> Result<u64, TarError> {
        let mut number = 0u64;
        let mut digits = 0;
        loop {
            match self.byte()? {
                b'\n' if digits > 0 => return Ok(number),
                digit @ b'0'..=b'9' => {
                    let more = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(digit - b'0')));
                    number = more.ok_or(TarError::Sparse)?;
                    digits += 1;
                }
                _ => return Err(TarError::Sparse),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, TarError> {
        if self.at == BLOCK {
            self.archive.remaining = self.archive.remaining.checked_sub(BLOCK as u64).ok_or(TarError::Sparse)?;
            self.block = self.archive.read_block()?.ok_or(TarError::Truncated)?;
            self.at = 0;
        }
        self.at += 1;
        Ok(self.block[self.at - 1])
    }
}

fn until_nul(mut text: Vec<u8>) -> Vec<u8> {
    if let Some(nul) = text.iter().position(|&b| b == 0) {
        text.truncate(nul);
    }
    text
}
