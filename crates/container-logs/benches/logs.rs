//! CPU time of rendering and of parsing log lines, without the disk. Prints numbers and judges nothing.

use gantry_container_logs::{JsonFileWriter, LogReader, NoCompressor, ReadOptions, State, Stream, WriterOptions};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Duration;

const BYTES: usize = 64_000_000;

fn main() {
    let dir = tempfile::tempdir().expect("a directory");
    for (what, line) in [
        ("16 bytes", "0123456789abcde\n"),
        ("68 bytes", "2026-01-01T00:00:00Z worker[17] request served in 3 ms, all is well\n"),
        ("escaped", "\"json\": \"<a href=x>\"\t\\\n"),
        ("not ASCII", "zażółć gęślą jaźń и русский текст 日本語のテキスト\n"),
        ("4 kB", &format!("{}\n", "0123456789abcdef".repeat(256))),
    ] {
        let text = line.repeat(BYTES / line.len());
        let to_null = write(Path::new("/dev/null"), &text);
        let path = dir.path().join("log");
        let to_file = write(&path, &text);
        let mut reader = LogReader::open(&path, ReadOptions { stdout: true, framed: true, ..ReadOptions::default() })
            .expect("the log is there");
        let mut out = Vec::new();
        let begin = cpu();
        while reader.next_batch(&mut out, 64 * 1024).expect("reads") == State::More {
            out.clear();
        }
        let read = rate(text.len(), cpu().saturating_sub(begin));
        std::fs::remove_file(&path).expect("removes");
        println!("{what}: render {to_null:.0} MB/s, with the file system {to_file:.0} MB/s, read {read:.0} MB/s");
    }
}

fn write(path: &Path, text: &str) -> f64 {
    let options = WriterOptions { path: path.to_owned(), max_file: 1, ..WriterOptions::default() };
    let mut writer = JsonFileWriter::open(options, NoCompressor).expect("opens");
    let begin = cpu();
    for chunk in text.as_bytes().chunks(64 * 1024) {
        writer.write(Stream::Stdout, chunk, 1_700_000_000_123_456_789);
    }
    rate(text.len(), cpu().saturating_sub(begin))
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

/// Not the wall clock: benchmarks share their machine.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
