//! Where reading begins: the last lines of a log that may span files.

use crate::files::Entry;
use crate::input::{Input, find_tail};
use std::fs::File;
use std::io;

/// Opens the file that the last `lines` lines begin in, at the first of them; `None` when there is
/// no file. `entries` are the log's files, oldest first.
///
/// Lines of both streams count, as in Docker.
pub(crate) fn open(entries: &[Entry], mut lines: u64) -> io::Result<Option<Input>> {
    let mut first = None;
    for entry in entries.iter().rev() {
        let (input, found) = match open_one(entry, lines) {
            Ok(opened) => opened,
            // Rotated away in this moment, or damaged: what is newer is what there is.
            Err(_) if first.is_some() => break,
            Err(e) => return Err(e),
        };
        first = Some(input);
        lines -= found;
        if lines == 0 {
            break;
        }
    }
    Ok(first)
}

fn open_one(entry: &Entry, lines: u64) -> io::Result<(Input, u64)> {
    let mut input = Input::open(entry)?;
    if !entry.gz {
        let (offset, found) = find_tail(&File::open(&entry.path)?, lines)?;
        input.start_at(offset)?;
        return Ok((input, found));
    }
    // A compressed file is read twice: to count, and to come to the right line.
    let mut total = 0_u64;
    while input.next_line()?.is_some() {
        total += 1;
    }
    let mut input = Input::open(entry)?;
    for _ in 0..total.saturating_sub(lines) {
        input.next_line()?;
    }
    Ok((input, total.min(lines)))
}
