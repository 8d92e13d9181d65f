//! What a shim costs: memory for each idle container, time for a whole container and for an exec,
//! and how fast logs are written and read. Prints numbers and judges nothing.
//!
//! `cargo bench -p gantry-shim --profile shim` measures the shim as it is shipped.

#![allow(clippy::wildcard_imports)] // As in the tests, which share the module.

#[path = "../tests/common/mod.rs"]
mod common;

use common::*;
use gantry_container_logs::{LogReader, ReadOptions, State};
use gantry_runtime::spec::{JsonFile, LogPlan};
use gantry_shim_protocol::{Answer, Event, RequestBody};
use std::time::{Duration, Instant};

fn main() {
    memory();
    cycle();
    exec();
    logs();
}

/// Lines of `smaps_rollup` in kB.
fn rollup(pid: u32, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("readable");
    let line = text.lines().find(|l| l.starts_with(key)).expect("a line");
    line.split_ascii_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn memory() {
    const COUNT: usize = 10;
    let mut all: Vec<Container> = (0..COUNT)
        .map(|_| {
            let mut container = Fixture::new(&["/bin/cat"]).stdin(false).start();
            container.started();
            container
        })
        .collect();
    report_memory("idle", &all);
    for container in &mut all {
        let (answer, out) = container.exec("x", &process(&["/bin/true"]));
        assert!(matches!(answer, Answer::Exec { .. }));
        drop(out);
        while !matches!(container.daemon().event().0, Event::ExecExited { .. }) {}
        let mut client = container.attach(true);
        std::io::Write::write_all(&mut client, b"hello\n").expect("writes");
        read_until(&mut client, "hello");
    }
    // Longer than a shim keeps its buffers.
    std::thread::sleep(Duration::from_millis(500));
    report_memory("after exec, attach and output", &all);
    for container in &mut all {
        container.signal(9);
        container.exited();
    }
}

fn report_memory(when: &str, all: &[Container]) {
    if std::env::var_os("SHOW_SMAPS").is_some() {
        println!("{}", std::fs::read_to_string(format!("/proc/{}/smaps", all[0].shim.pid)).expect("readable"));
    }
    for key in ["Pss:", "Private_Dirty:", "Private_Clean:", "Rss:"] {
        let sum: u64 = all.iter().map(|c| rollup(c.shim.pid, key)).sum();
        println!("shim {when}: {key} {} kB on average of {}", sum as f64 / all.len() as f64, all.len());
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn cycle() {
    let mut started = Vec::new();
    let mut whole = Vec::new();
    for _ in 0..50 {
        let fixture = Fixture::new(&["/bin/true"]);
        let begin = Instant::now();
        let mut container = fixture.start();
        container.started();
        started.push(begin.elapsed());
        container.exited();
        whole.push(begin.elapsed());
    }
    println!("run true: started after {:?}, shim gone after {:?}", median(started), median(whole));
}

fn exec() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    let spec = process(&["/bin/true"]);
    let mut times = Vec::new();
    for n in 0..100 {
        let begin = Instant::now();
        let (answer, _) = container.exec(&format!("{n}"), &spec);
        assert!(matches!(answer, Answer::Exec { .. }));
        while !matches!(container.daemon().event().0, Event::ExecExited { .. }) {}
        times.push(begin.elapsed());
    }
    println!("exec true: {:?}", median(times));
    assert_eq!(container.daemon().ask(RequestBody::CloseStdin, &[]).0, Answer::Done);
    container.exited();
}

fn logs() {
    for (what, line) in [
        ("16-byte lines", "0123456789abcde\n"),
        ("64-byte lines", "0123456789012345678901234567890123456789012345678901234567890ab\n"),
        ("escaped lines", "\"json\": \"<a href=x>\"\t\\\n"),
        ("lines of 4 kB", &format!("{}\n", "0123456789abcdef".repeat(256))),
    ] {
        let fixture = Fixture::new(&["/bin/cat", "/lines"]);
        let bytes = 64_000_000 / line.len() * line.len();
        std::fs::write(fixture.dir.path().join("lower/lines"), line.repeat(bytes / line.len())).expect("writes");
        let mut container = fixture.start();
        let begin = Instant::now();
        container.started();
        container.exited();
        let written = begin.elapsed();
        let cpu = cpu_time(&container);
        let LogPlan::JsonFile(JsonFile { path, .. }) = container.fixture.plan.log.clone() else { return };
        let begin = Instant::now();
        let options = ReadOptions { stdout: true, stderr: true, framed: true, ..ReadOptions::default() };
        let mut reader = LogReader::open(&path, options).expect("opens");
        let mut out = Vec::new();
        loop {
            out.clear();
            if reader.next_batch(&mut out, 64 * 1024).expect("reads") != State::More {
                break;
            }
        }
        let read = begin.elapsed();
        let rate = |t: Duration| bytes as f64 / 1e6 / t.as_secs_f64();
        let size = std::fs::metadata(&path).map_or(0, |m| m.len()) as f64 / 1e6;
        println!(
            "log of {what}: written at {:.0} MB/s ({:.0} MB/s of the shim's CPU time), read at {:.0} MB/s; a file of {size:.0} MB",
            rate(written),
            rate(cpu),
            rate(read)
        );
    }
}

/// What the shim, which has ended and is not reaped, has used.
fn cpu_time(container: &Container) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", container.shim.pid)).expect("a zombie");
    let after = stat.rsplit_once(')').expect("a name").1;
    let ticks: u64 = after.split_ascii_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
