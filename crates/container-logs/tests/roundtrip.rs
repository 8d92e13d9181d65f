//! What a writer wrote is what readers show, over rotation, compression and damage.

use gantry_container_logs::{
    CompressJob, Compressor, JsonFileWriter, LogReader, NoCompressor, Notice, ReadOptions, State, Stream, Watcher,
    WriterOptions,
};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Compresses at once; the shim does it in a child.
struct Inline;

impl Compressor for Inline {
    fn start(&mut self, job: CompressJob) {
        job.run().expect("compresses");
    }
    fn cancel(&mut self) {}
}

fn options(path: &Path) -> WriterOptions {
    WriterOptions { path: path.to_owned(), max_file: 1, ..WriterOptions::default() }
}

fn both() -> ReadOptions {
    ReadOptions { stdout: true, stderr: true, ..ReadOptions::default() }
}

fn read(path: &Path, options: ReadOptions) -> Vec<u8> {
    let mut reader = LogReader::open(path, options).expect("opens");
    drain(&mut reader, 1000).0
}

fn drain(reader: &mut LogReader, budget: usize) -> (Vec<u8>, State) {
    let mut all = Vec::new();
    loop {
        let mut out = Vec::new();
        let state = reader.next_batch(&mut out, budget).expect("reads");
        all.extend_from_slice(&out);
        if state != State::More {
            return (all, state);
        }
        assert!(out.len() >= budget);
    }
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("x-json.log");
    (dir, path)
}

/// xorshift: the same text in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n) as usize
    }
}

#[test]
fn any_split_of_any_bytes_comes_back() {
    let (_dir, path) = scratch();
    let mut random = Random(1);
    let mut text = Vec::new();
    for _ in 0..300 {
        let len = if random.below(20) == 0 { random.below(40_000) } else { random.below(90) };
        text.extend((0..len).map(|_| b' ' + random.below(95) as u8));
        text.extend_from_slice(if random.below(9) == 0 { "\r\n".as_bytes() } else { "é\n".as_bytes() });
    }
    text.extend_from_slice(b"no newline");
    let mut writer = JsonFileWriter::open(options(&path), NoCompressor).expect("opens");
    let mut rest = &text[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + random.below(30_000)));
        writer.write(Stream::Stdout, now, 1);
        writer.release_buffers();
        rest = later;
    }
    assert_ne!(read(&path, both()), text, "the last line is not complete");
    writer.end(Stream::Stdout, 1);
    assert!(read(&path, both()) == text);
}

#[test]
fn streams_frames_times_and_details() {
    let (_dir, path) = scratch();
    let mut opts = options(&path);
    opts.attrs = vec![("env".into(), "a b".into())];
    let mut writer = JsonFileWriter::open(opts, NoCompressor).expect("opens");
    writer.write(Stream::Stdout, b"one\n", 1_000_000_000);
    writer.write(Stream::Stderr, b"two\n", 2_000_000_000);
    writer.write(Stream::Stdout, b"three\n", 3_000_000_000);

    let framed = ReadOptions { framed: true, ..both() };
    let expected = b"\x01\0\0\0\0\0\0\x04one\n\x02\0\0\0\0\0\0\x04two\n\x01\0\0\0\0\0\0\x06three\n";
    assert_eq!(read(&path, framed), expected);
    assert_eq!(read(&path, ReadOptions { stdout: false, ..both() }), b"two\n");
    assert_eq!(read(&path, ReadOptions { since: Some(2_000_000_000), ..both() }), b"two\nthree\n");
    assert_eq!(read(&path, ReadOptions { until: Some(2_000_000_000), ..both() }), b"one\ntwo\n");
    // Docker counts lines of both streams.
    assert_eq!(read(&path, ReadOptions { tail: Some(2), stderr: false, ..both() }), b"three\n");
    let shown = read(&path, ReadOptions { timestamps: true, details: true, tail: Some(1), ..both() });
    assert_eq!(String::from_utf8_lossy(&shown), "1970-01-01T00:00:03.000000000Z env=a+b three\n");
}

fn lines(from: u32, to: u32) -> Vec<u8> {
    (from..to).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

#[test]
fn rotation_bounds_sizes_and_keeps_the_newest() {
    for compress in [false, true] {
        let (dir, path) = scratch();
        let opts = WriterOptions { max_size: Some(4096), max_file: 3, compress, ..options(&path) };
        let mut writer = JsonFileWriter::open(opts, Inline).expect("opens");
        writer.write(Stream::Stdout, &lines(0, 500), 1);
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).expect("lists").map(|f| f.expect("lists").file_name().into_string()).collect();
        names.sort();
        let gz = if compress { ".gz" } else { "" };
        let expected = ["x-json.log".to_owned(), format!("x-json.log.1{gz}"), format!("x-json.log.2{gz}")];
        assert_eq!(names, expected.map(Ok));
        if !compress {
            for name in names.into_iter().flatten() {
                assert!(fs::metadata(dir.path().join(name)).expect("is there").len() <= 4096);
            }
        }
        let all = read(&path, both());
        let text = String::from_utf8(all).expect("text");
        let first: u32 = text[5..text.find('\n').expect("lines")].parse().expect("a number");
        assert!(first > 350 && text.as_bytes() == lines(first, 500), "from {first}");
        for tail in [0, 1, 7, 40, 60, 100] {
            assert_eq!(
                read(&path, ReadOptions { tail: Some(tail), ..both() }),
                lines(500 - tail as u32, 500),
                "{tail}"
            );
        }
        assert_eq!(read(&path, ReadOptions { tail: Some(9999), ..both() }), text.as_bytes());
    }
}

#[test]
fn one_file_is_replaced_when_it_is_full() {
    let (dir, path) = scratch();
    let opts = WriterOptions { max_size: Some(1000), max_file: 1, ..options(&path) };
    let mut writer = JsonFileWriter::open(opts, NoCompressor).expect("opens");
    writer.write(Stream::Stdout, &lines(0, 100), 1);
    assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
    assert!(fs::metadata(&path).expect("is there").len() <= 1000);
    assert!(lines(0, 100).ends_with(&read(&path, both())));
}

#[test]
fn a_follower_loses_nothing_over_rotations() {
    for compress in [false, true] {
        let (_dir, path) = scratch();
        let mut reader = LogReader::open(&path, ReadOptions { follow: true, ..both() }).expect("an empty log");
        assert_eq!(drain(&mut reader, 100), (Vec::new(), State::CaughtUp));
        let opts = WriterOptions { max_size: Some(2000), max_file: 5, compress, ..options(&path) };
        let mut writer = JsonFileWriter::open(opts, Inline).expect("opens");
        let (mut got, mut random, mut n) = (Vec::new(), Random(7), 0);
        while n < 2000 {
            // At most three rotations at once: five files hold that.
            let more = 1 + random.below(70) as u32;
            writer.write(Stream::Stdout, &lines(n, n + more), 1);
            n += more;
            if random.below(3) > 0 {
                let mut part = Vec::new();
                reader.next_batch(&mut part, 1 + random.below(300)).expect("reads");
                got.extend(part);
            }
            let (part, state) = drain(&mut reader, 512);
            got.extend(part);
            assert_eq!(state, State::CaughtUp);
        }
        reader.stop_following();
        assert_eq!(drain(&mut reader, 512), (Vec::new(), State::End));
        assert!(got == lines(0, n), "compress {compress}");
    }
}

#[test]
fn a_follower_in_another_thread_is_woken_for_every_line() {
    let (_dir, path) = scratch();
    let opts = WriterOptions { max_size: Some(50_000), max_file: 100, ..options(&path) };
    let mut writer = JsonFileWriter::open(opts, NoCompressor).expect("opens");
    let watcher = Watcher::new().expect("inotify");
    let id = watcher.subscribe(&path).expect("watches");
    let total = lines(0, 20_000);
    let expected = total.clone();
    let thread = std::thread::spawn(move || {
        for chunk in total.chunks(777) {
            writer.write(Stream::Stdout, chunk, 1);
        }
    });
    let mut reader = LogReader::open(&path, ReadOptions { follow: true, ..both() }).expect("opens");
    let mut got = Vec::new();
    while got.len() < expected.len() {
        got.extend(drain(&mut reader, 10_000).0);
        if got.len() < expected.len() {
            wait(&watcher);
            watcher.drain(|changed| assert_eq!(changed, id)).expect("drains");
        }
    }
    thread.join().expect("writes");
    watcher.unsubscribe(id);
    assert!(got == expected);
}

fn wait(watcher: &Watcher) {
    use std::os::fd::AsFd;
    let mut fds = [rustix::event::PollFd::from_borrowed_fd(watcher.as_fd(), rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut fds, None).expect("polls");
}

#[test]
fn damage_costs_the_damaged_lines_only() {
    let (_dir, path) = scratch();
    let mut writer = JsonFileWriter::open(options(&path), NoCompressor).expect("opens");
    writer.write(Stream::Stdout, &lines(0, 3), 1);
    let mut file = fs::OpenOptions::new().append(true).open(&path).expect("opens");
    file.write_all(b"garbage\n\0\0\0\n{\"log\":\"half").expect("writes");
    assert_eq!(read(&path, both()), lines(0, 3), "a torn last line is not shown");
    // The container starts again after its shim was killed amid a line.
    let mut writer = JsonFileWriter::open(options(&path), NoCompressor).expect("opens");
    writer.write(Stream::Stdout, &lines(3, 5), 1);
    assert_eq!(read(&path, both()), lines(0, 5));
    file.write_all(&vec![b'x'; 3 << 20]).expect("writes");
    file.write_all(b"\n").expect("writes");
    writer.write(Stream::Stdout, &lines(5, 7), 1);
    assert_eq!(read(&path, both()), lines(0, 7));
}

#[test]
fn a_damaged_compressed_file_does_not_hide_the_rest() {
    let (_dir, path) = scratch();
    let opts = WriterOptions { max_size: Some(4096), max_file: 3, compress: true, ..options(&path) };
    let mut writer = JsonFileWriter::open(opts, Inline).expect("opens");
    writer.write(Stream::Stdout, &lines(0, 130), 1);
    let rotated = path.with_file_name("x-json.log.2.gz");
    let whole = fs::read(&rotated).expect("reads");
    let newest = read(&path, ReadOptions { tail: Some(20), ..both() });
    for damaged in [&whole[..whole.len() / 2], &whole[..5], b"", b"not gzip at all"] {
        fs::write(&rotated, damaged).expect("writes");
        assert!(read(&path, both()).ends_with(&newest));
        assert!(read(&path, ReadOptions { tail: Some(9999), ..both() }).ends_with(&newest));
    }
}

#[test]
fn a_plain_read_ends_where_the_log_ended_when_it_began() {
    let (_dir, path) = scratch();
    let mut writer = JsonFileWriter::open(options(&path), NoCompressor).expect("opens");
    writer.write(Stream::Stdout, &lines(0, 10), 1);
    let mut reader = LogReader::open(&path, both()).expect("opens");
    writer.write(Stream::Stdout, &lines(10, 20), 1);
    assert_eq!(drain(&mut reader, 10), (lines(0, 10), State::End));
}

#[test]
fn interrupted_compression_and_rotation_are_finished_later() {
    let (dir, path) = scratch();
    let opts = WriterOptions { max_size: Some(4096), max_file: 4, compress: true, ..options(&path) };
    let mut writer = JsonFileWriter::open(opts.clone(), NoCompressor).expect("opens");
    writer.write(Stream::Stdout, &lines(0, 130), 1);
    let all = read(&path, both());
    // Killed after the compressed file was in place and before the plain one was removed.
    fs::write(path.with_file_name("x-json.log.1.gz"), b"whatever").expect("writes");
    fs::write(path.with_file_name("x-json.log.gz.tmp"), b"part").expect("writes");
    assert_eq!(read(&path, both()), all);
    drop(JsonFileWriter::open(opts.clone(), Inline).expect("opens"));
    assert!(!path.with_file_name("x-json.log.1").exists());
    assert_eq!(read(&path, both()), all);
    // Killed amid a rotation: the current file is already renamed.
    fs::rename(&path, dir.path().join("x-json.log.1")).expect("renames");
    fs::remove_file(path.with_file_name("x-json.log.1.gz")).expect("removes");
    let mut writer = JsonFileWriter::open(opts, Inline).expect("opens");
    writer.write(Stream::Stdout, b"after\n", 1);
    assert!(read(&path, both()).ends_with(b"line 129\nafter\n"));
}

/// Runs `f` with a small file system of its own, in a mount namespace that ends with the thread.
fn with_small_disk(f: impl FnOnce(&Path) + Send + 'static) {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    let dir = tempfile::tempdir().expect("a directory");
    let thread = std::thread::spawn(move || {
        gantry_linux::process::unshare(libc::CLONE_NEWNS).expect("a mount namespace");
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private mounts");
        mount("tmpfs", dir.path(), "tmpfs", MountFlags::empty(), c"size=256k").expect("a tmpfs");
        f(dir.path());
    });
    thread.join().expect("no panic");
}

#[test]
fn a_full_disk_drops_whole_lines_and_says_so() {
    with_small_disk(|dir| {
        let path = dir.join("log");
        fs::write(dir.join("ballast"), vec![0; 64 << 10]).expect("fits");
        let mut writer = JsonFileWriter::open(options(&path), NoCompressor).expect("opens");
        let mut notices = Vec::new();
        for n in 0..100 {
            if n == 70 {
                fs::remove_file(dir.join("ballast")).expect("removes");
            }
            writer.write(Stream::Stdout, &lines(n * 50, n * 50 + 50), 1);
            notices.extend(writer.take_notice().map(|notice| (n, notice)));
        }
        assert!(matches!(notices[0], (3..70, Notice::Dropping(_))), "{notices:?}");
        assert!(matches!(notices[1], (70, Notice::Resumed(1..))), "{notices:?}");
        // No line is torn, what fits is there, and it goes on where there is room again.
        let got = read(&path, both());
        let dropped = notices[0].0;
        let expected = [lines(0, dropped * 50), lines(3500, 3500 + 50)].concat();
        assert!(got.starts_with(&expected));
    });
}

#[test]
fn a_full_disk_does_not_end_rotation() {
    with_small_disk(|dir| {
        let path = dir.join("log");
        let opts = WriterOptions { max_size: Some(100_000), max_file: 5, ..options(&path) };
        let mut writer = JsonFileWriter::open(opts, NoCompressor).expect("opens");
        for n in 0..200 {
            writer.write(Stream::Stdout, &lines(n * 50, n * 50 + 50), 1);
        }
        for index in 1..5 {
            let _ = fs::remove_file(dir.join(format!("log.{index}")));
        }
        writer.write(Stream::Stdout, b"after\n", 1);
        writer.write(Stream::Stdout, &lines(0, 2000), 1);
        assert!(read(&path, both()).ends_with(&lines(1999, 2000)));
        assert!(dir.join("log.1").exists());
    });
}
