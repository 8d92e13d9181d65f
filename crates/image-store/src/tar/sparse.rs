//! Sparse files: which ranges of a file the archive holds; the rest are holes.

use super::{TarError, header::number, pax::unsigned};

/// More pieces than any honest file has.
pub(super) const MAX_SEGMENTS: usize = 1 << 20;

/// A range of the file that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// The data ranges of a sparse file, in ascending order and without overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseMap {
    /// The size of the file with its holes.
    pub size: u64,
    /// The ranges.
    pub segments: Vec<Segment>,
}

impl SparseMap {
    /// Checks a map against the file's size and the data that the archive holds for it.
    pub(super) fn new(segments: Vec<Segment>, size: u64, stored: u64) -> Result<Self, TarError> {
        let mut end = 0u64;
        let mut data = 0u64;
        for segment in &segments {
            if segment.offset < end {
                return Err(TarError::Sparse);
            }
            end = segment.offset.checked_add(segment.length).ok_or(TarError::Sparse)?;
            data = data.checked_add(segment.length).ok_or(TarError::Sparse)?;
        }
        if end > size || data != stored || i64::try_from(size).is_err() {
            return Err(TarError::Sparse);
        }
        Ok(Self { size, segments })
    }
}

/// What PAX records have said about a sparse file so far (versions 0.0, 0.1 and 1.0).
#[derive(Default)]
pub(super) struct Builder {
    pub(super) name: Option<Vec<u8>>,
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) real_size: Option<u64>,
    pub(super) segments: Vec<Segment>,
    offset: Option<u64>,
}

impl Builder {
    /// Version 1.0 keeps its map in front of the data.
    pub(super) fn map_is_in_data(&self) -> bool {
        self.major == Some(1) && self.minor == Some(0)
    }

    /// Versions 0.0 and 0.1 keep it in the records.
    pub(super) fn map_is_here(&self) -> bool {
        !self.map_is_in_data() && self.real_size.is_some()
    }

    pub(super) fn offset(&mut self, offset: u64) {
        self.offset = Some(offset);
    }

    pub(super) fn length(&mut self, length: u64) -> Result<(), TarError> {
        let offset = self.offset.take().ok_or(TarError::Sparse)?;
        push(&mut self.segments, Segment { offset, length })
    }

    /// `offset,length,offset,length…`
    pub(super) fn map(&mut self, value: &[u8]) -> Result<(), TarError> {
        self.segments.clear();
        let mut numbers = value.split(|&b| b == b',');
        while let Some(offset) = numbers.next() {
            let length = numbers.next().ok_or(TarError::Sparse)?;
            push(&mut self.segments, Segment { offset: unsigned(offset)?, length: unsigned(length)? })?;
        }
        Ok(())
    }
}

pub(super) fn push(segments: &mut Vec<Segment>, segment: Segment) -> Result<(), TarError> {
    if segments.len() >= MAX_SEGMENTS {
        return Err(TarError::Limit("sparse segments"));
    }
    segments.push(segment);
    Ok(())
}

/// The old GNU format's map entries: pairs of 12-byte numbers; an empty one ends the map.
pub(super) fn old_gnu(entries: &[u8], segments: &mut Vec<Segment>) -> Result<(), TarError> {
    for entry in entries.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let part = |field| number(field).and_then(|n| u64::try_from(n).ok()).ok_or(TarError::Sparse);
        push(segments, Segment { offset: part(&entry[..12])?, length: part(&entry[12..])? })?;
    }
    Ok(())
}
