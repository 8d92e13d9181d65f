//! The reading side: a cursor over a log and its rotated files.

use crate::files::{self, Entry};
use crate::input::Input;
use crate::record::{self, Record};
use crate::{LogError, Stream, render, tail, timestamp};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a client wants to see of a log, and how.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Only the last so many lines (counted before anything else is left out, as Docker does).
    pub tail: Option<u64>,
    /// Nothing before this time, nanoseconds since the epoch.
    pub since: Option<i64>,
    /// End at the first line after this time, nanoseconds since the epoch.
    pub until: Option<i64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// Each line's attributes come before its text.
    pub details: bool,
    /// Docker's 8-byte frame headers (containers without a terminal).
    pub framed: bool,
    /// Stay at the end and wait for more.
    pub follow: bool,
}

/// What a call of [`LogReader::next_batch`] ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The budget is used up: there may be more right now.
    More,
    /// Only when following: everything is read; wait for a change (see [`crate::watch`]).
    CaughtUp,
    /// Nothing more will come.
    End,
}

/// Reads a log. Memory does not depend on the log's size or on its contents.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    options: ReadOptions,
    input: Option<Input>,
    /// Without `follow`: the inode and size of the newest file when reading began. A container
    /// that writes faster than the client reads must not make a plain `logs` endless.
    stop: Option<(u64, u64)>,
    ended: bool,
}

impl LogReader {
    /// Opens the log whose current file is `path`. A log that does not exist yet is empty.
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self, LogError> {
        let mut reader = Self { path: path.to_owned(), options, input: None, stop: None, ended: false };
        reader.begin().map_err(LogError::io("read", path))?;
        Ok(reader)
    }

    /// Appends the next lines to `out` until it is `budget` bytes long (or a line more).
    pub fn next_batch(&mut self, out: &mut Vec<u8>, budget: usize) -> Result<State, LogError> {
        self.read(out, budget).map_err(LogError::io("read", &self.path))
    }

    /// The container has ended: what is there now is all there will be.
    pub fn stop_following(&mut self) {
        self.options.follow = false;
    }

    fn begin(&mut self) -> io::Result<()> {
        // Files may be renamed between the listing and the opening; then another listing is right.
        let mut attempts = 0;
        loop {
            let entries = files::list(&self.path)?;
            match self.begin_with(&entries) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempts < 16 => attempts += 1,
                other => return other,
            }
        }
    }

    fn begin_with(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.input = match (self.options.tail, entries.first()) {
            (Some(lines), _) => tail::open(entries, lines)?,
            (None, Some(oldest)) => Some(Input::open(oldest)?),
            (None, None) => None,
        };
        // After the tail was found: the log grows meanwhile, and an end before the tail would show nothing.
        if !self.options.follow
            && let Some(newest) = entries.last()
        {
            self.stop = Some((newest.inode, fs::metadata(&newest.path)?.len()));
        }
        self.limit_input();
        Ok(())
    }

    fn limit_input(&mut self) {
        if let (Some(input), Some((inode, size))) = (&mut self.input, self.stop)
            && input.inode() == inode
        {
            input.stop_at(size);
        }
    }

    fn read(&mut self, out: &mut Vec<u8>, budget: usize) -> io::Result<State> {
        let mut rotated = false;
        while !self.ended {
            match self.step(out)? {
                Step::Line if out.len() >= budget => return Ok(State::More),
                Step::Line => {}
                Step::Beyond => self.ended = true,
                // Only after the file was found renamed is its end final: lines may have been
                // added between the reading and the renaming.
                Step::EndOfFile if !rotated => {
                    if self.is_current()? {
                        return Ok(self.at_end());
                    }
                    rotated = true;
                }
                Step::EndOfFile | Step::Damaged | Step::NoFile => {
                    if !self.open_next()? {
                        return Ok(self.at_end());
                    }
                    rotated = false;
                }
            }
        }
        Ok(State::End)
    }

    fn step(&mut self, out: &mut Vec<u8>) -> io::Result<Step> {
        let Some(input) = &mut self.input else { return Ok(Step::NoFile) };
        match input.next_line() {
            Ok(Some(line)) => {
                let within = record::parse(line).is_none_or(|record| emit(&self.options, &record, out));
                Ok(if within { Step::Line } else { Step::Beyond })
            }
            Ok(None) => Ok(Step::EndOfFile),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Ok(Step::Damaged)
            }
            Err(e) => Err(e),
        }
    }

    /// Whether the file being read is the one that is written to, as far as this reading goes.
    fn is_current(&mut self) -> io::Result<bool> {
        let Some(input) = &mut self.input else { return Ok(true) };
        if self.stop.is_some_and(|(inode, _)| inode == input.inode()) {
            return Ok(true);
        }
        input.at_end()?;
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(meta.ino() == input.inode()),
            // Amid a rotation: the new file is about to appear.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn at_end(&mut self) -> State {
        if self.options.follow {
            return State::CaughtUp;
        }
        self.ended = true;
        State::End
    }

    /// Goes to the file after the one being read; if that one is gone, to the oldest there is.
    /// False when there is none yet.
    fn open_next(&mut self) -> io::Result<bool> {
        let entries = files::list(&self.path)?;
        let ours = self.input.as_ref().and_then(|input| {
            // A freed inode may have been used again: the newest match is ours, plain ones first.
            let same = entries.iter().rposition(|e| e.inode == input.inode());
            same.or_else(|| entries.iter().rposition(|e| input.is_original_of(e)))
        });
        let next = ours.map_or(0, |at| at + 1);
        match entries.get(next) {
            Some(entry) => self.open_entry(entry),
            None => Ok(false),
        }
    }

    /// False when the file was renamed since it was listed.
    fn open_entry(&mut self, entry: &Entry) -> io::Result<bool> {
        match Input::open(entry) {
            Ok(input) => self.input = Some(input),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(e),
        }
        self.limit_input();
        Ok(true)
    }
}

/// What happened to the file being read.
enum Step {
    /// A line was read.
    Line,
    /// A line was read that is later than what was asked for.
    Beyond,
    /// The end of what is there.
    EndOfFile,
    /// A compressed file is damaged; that does not hide what comes after it.
    Damaged,
    /// No file is open: the log does not exist yet.
    NoFile,
}

/// False when the record is beyond what was asked for.
fn emit(options: &ReadOptions, record: &Record<'_>, out: &mut Vec<u8>) -> bool {
    if options.since.is_some() || options.until.is_some() {
        // A line whose time cannot be read is shown rather than lost.
        let time = timestamp::parse(record.time);
        if options.until.zip(time).is_some_and(|(until, time)| time > until) {
            return false;
        }
        if options.since.zip(time).is_some_and(|(since, time)| time < since) {
            return true;
        }
    }
    let wanted = match record.stream {
        Stream::Stdout => options.stdout,
        Stream::Stderr => options.stderr,
    };
    if wanted {
        render::append(out, record, options);
    }
    true
}
