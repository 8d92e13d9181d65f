//! The writing side: bytes from a container to its rotated log.

use crate::compress::{CompressJob, Compressor};
use crate::encode::{Encoder, PIECE, Split, split};
use crate::{LogError, Stream, files};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// Rendered lines are written out when there are this many bytes of them.
const FLUSH_AT: usize = 192 * 1024;

/// What a log looks like.
#[derive(Debug, Clone, Default)]
pub struct WriterOptions {
    /// The current file.
    pub path: PathBuf,
    /// Rotate before a file exceeds this; a single longer line still gets a file.
    pub max_size: Option<u64>,
    /// Files in all, at least 1.
    pub max_file: u32,
    /// gzip rotated files.
    pub compress: bool,
    /// Written into every line.
    pub attrs: Vec<(String, String)>,
}

/// Something that the owner of the log should hear about.
#[derive(Debug)]
pub enum Notice {
    /// Lines are being dropped, for this reason (a full disk).
    Dropping(io::Error),
    /// Lines are written again, after so many bytes of log were dropped.
    Resumed(u64),
}

/// Appends a container's output to its log. Never fails once it is open: a container must not die
/// or stall because its log's disk is full. What could not be written is dropped and counted.
#[derive(Debug)]
pub struct JsonFileWriter<C> {
    options: WriterOptions,
    compressor: C,
    encoder: Encoder,
    file: File,
    size: u64,
    /// Starts of lines whose end has not arrived, by stream; shorter than [`PIECE`].
    incomplete: [Vec<u8>; 2],
    out: Vec<u8>,
    dropped: u64,
    notice: Option<Notice>,
}

impl<C: Compressor> JsonFileWriter<C> {
    /// Opens or creates the log. After a writer that was killed amid a line, the next line starts anew.
    pub fn open(options: WriterOptions, compressor: C) -> Result<Self, LogError> {
        let path = &options.path;
        let file = create(path, false).map_err(LogError::io("open", path))?;
        let size = end_last_line(&file).map_err(LogError::io("append to", path))?;
        let encoder = Encoder::new(&options.attrs);
        let mut writer = Self {
            options,
            compressor,
            encoder,
            file,
            size,
            incomplete: [Vec::new(), Vec::new()],
            out: Vec::new(),
            dropped: 0,
            notice: None,
        };
        writer.start_compression();
        Ok(writer)
    }

    /// Logs what was read from `stream` at `now` (nanoseconds since the epoch).
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8], now: i64) {
        self.out.reserve(FLUSH_AT + PIECE);
        if !self.incomplete[stream.index()].is_empty() {
            bytes = self.complete(stream, bytes, now);
        }
        while let Split::Line(len) | Split::Piece(len) = split(bytes) {
            self.record(stream, &bytes[..len], now);
            bytes = &bytes[len..];
        }
        self.incomplete[stream.index()].extend_from_slice(bytes);
        self.flush();
    }

    /// The stream ended: logs what is there of its last line.
    pub fn end(&mut self, stream: Stream, now: i64) {
        let rest = std::mem::take(&mut self.incomplete[stream.index()]);
        if !rest.is_empty() {
            self.record(stream, &rest, now);
            self.flush();
        }
    }

    /// Gives memory back that only matters while there is output.
    pub fn release_buffers(&mut self) {
        self.out = Vec::new();
        for rest in &mut self.incomplete {
            rest.shrink_to_fit();
        }
    }

    /// What the owner should hear about since the last call.
    pub fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }

    /// Where compression happens.
    pub fn compressor(&mut self) -> &mut C {
        &mut self.compressor
    }

    /// Adds to the incomplete line until it ends or is a whole piece; returns what is left.
    fn complete<'b>(&mut self, stream: Stream, bytes: &'b [u8], now: i64) -> &'b [u8] {
        let mut text = std::mem::take(&mut self.incomplete[stream.index()]);
        let window = &bytes[..bytes.len().min(PIECE - text.len())];
        let taken = memchr::memchr(b'\n', window).map_or(window.len(), |at| at + 1);
        text.extend_from_slice(&bytes[..taken]);
        if text.len() == PIECE || text.ends_with(b"\n") {
            self.record(stream, &text, now);
            text.clear();
        }
        self.incomplete[stream.index()] = text;
        &bytes[taken..]
    }

    fn record(&mut self, stream: Stream, text: &[u8], now: i64) {
        let start = self.out.len();
        self.encoder.record(&mut self.out, stream, text, now);
        if let Some(max) = self.options.max_size
            && self.size + self.out.len() as u64 > max
            && self.size + start as u64 > 0
        {
            let line = self.out.split_off(start);
            self.flush();
            self.rotate();
            self.out.extend_from_slice(&line);
        }
        if self.out.len() >= FLUSH_AT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let len = self.out.len() as u64;
        match (&self.file).write_all(&self.out) {
            Ok(()) => {
                self.size += len;
                if self.dropped > 0 {
                    self.notice = Some(Notice::Resumed(std::mem::take(&mut self.dropped)));
                }
            }
            Err(e) => {
                // Half a line must not stay: what comes next would be glued to it.
                let _ = self.file.set_len(self.size);
                if self.dropped == 0 {
                    self.notice = Some(Notice::Dropping(e));
                }
                self.dropped += len;
            }
        }
        self.out.clear();
    }

    /// Puts a new file in the current one's place. When that fails the old one goes on; the next
    /// line tries again.
    fn rotate(&mut self) {
        let path = &self.options.path;
        self.compressor.cancel();
        let fresh = files::with_suffix(path, "tmp");
        let Ok(file) = create(&fresh, true) else { return };
        if self.options.max_file > 1 && files::shift(path, self.options.max_file).is_err()
            || std::fs::rename(&fresh, path).is_err()
        {
            let _ = std::fs::remove_file(&fresh);
            return;
        }
        self.file = file;
        self.size = 0;
        self.start_compression();
    }

    fn start_compression(&mut self) {
        if self.options.compress {
            let job = CompressJob::new(&self.options.path, self.options.max_file);
            if job.is_needed() {
                self.compressor.start(job);
            }
        }
    }
}

fn create(path: &std::path::Path, truncate: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o640);
    let file = options.open(path)?;
    if truncate {
        file.set_len(0)?;
    }
    Ok(file)
}

/// Ends a torn last line and returns the size.
fn end_last_line(mut file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let mut last = [b'\n'];
    if size > 0 {
        file.read_exact_at(&mut last, size - 1)?;
    }
    if last == *b"\n" {
        return Ok(size);
    }
    file.write_all(b"\n")?;
    Ok(size + 1)
}
