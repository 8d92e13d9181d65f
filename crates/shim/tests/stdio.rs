//! Input and output of the init process, and clients attached to it.

mod common;

use common::*;
use gantry_container_logs::ReadOptions;
use gantry_linux::inotify::{FILE_CHANGES, Inotify};
use gantry_shim_protocol::{Answer, RequestBody};
use rustix::fs::inotify::WatchFlags;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsFd;

#[test]
fn stdin_with_half_close() {
    let mut container = Fixture::sh("cat; echo done >&2").stdin(true).start();
    let mut client = container.attach(true);
    container.started();
    client.write_all(b"hello\nworld\n").expect("writes");
    client.shutdown(Shutdown::Write).expect("half-closes");
    let (out, err) = unframe(&read_all(&mut client));
    assert_eq!((&out[..], &err[..]), (&b"hello\nworld\n"[..], &b"done\n"[..]));
    assert_eq!(container.exited().code, 0);
}

#[test]
fn much_input_flows_through_a_slow_container() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    let client = container.attach(true);
    container.started();
    let text = numbered("", 0..400_000);
    let expected = text.clone();
    let mut writer = client.try_clone().expect("clones");
    let thread = std::thread::spawn(move || {
        writer.write_all(&text).expect("writes");
        writer.shutdown(Shutdown::Write).expect("half-closes");
    });
    let (out, _) = unframe(&read_all(client));
    thread.join().expect("writes");
    assert!(out == expected);
    assert_eq!(container.exited().code, 0);
    assert!(container.log() == expected);
}

#[test]
fn input_that_was_sent_counts_even_if_the_client_is_gone() {
    let mut container = Fixture::sh("sleep 0.3; wc -c").stdin(true).start();
    let mut client = container.attach(true);
    container.started();
    client.write_all(&vec![b'x'; 200_000]).expect("writes");
    drop(client);
    assert_eq!(container.exited().code, 0);
    assert_eq!(container.log(), b"200000\n");
}

#[test]
fn two_clients_see_the_same_and_one_of_them_leaves() {
    let mut container = Fixture::sh("read a; echo $a; read b; echo $b; read c; echo $c").stdin(false).start();
    let mut first = container.attach(true);
    let mut second = container.attach(true);
    container.started();
    first.write_all(b"one\n").expect("writes");
    read_until(&mut first, "one");
    read_until(&mut second, "one");
    // The end of its input ends an attachment, and not the container's input.
    first.shutdown(Shutdown::Write).expect("half-closes");
    assert!(read_all(&mut first).is_empty());
    second.write_all(b"two\n").expect("writes");
    read_until(&mut second, "two");
    assert!(read_all(&mut first).is_empty());
    let mut third = container.attach(true);
    third.write_all(b"three\n").expect("writes");
    assert_eq!(unframe(&read_all(&mut third)).0, b"three\n");
    assert_eq!(unframe(&read_all(&mut second)).0, b"three\n");
    assert_eq!(container.exited().code, 0);
    assert_eq!(container.log(), b"one\ntwo\nthree\n");
}

#[test]
fn a_client_that_does_not_read_stops_the_container_and_loses_nothing() {
    let mut container = Fixture::sh("seq 1 300000; echo end >&2").hold().start();
    let mut slow = container.attach(false);
    container.go();
    container.started();
    // Nothing is read until the log has stopped growing: the container is blocked.
    let log = container.fixture.dir.path().join("log");
    let mut size = 0;
    loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = std::fs::metadata(&log).map_or(0, |m| m.len());
        if now == size && now > 0 {
            break;
        }
        size = now;
    }
    assert!(container.daemon().is_running());
    let (out, err) = unframe(&read_all(&mut slow));
    assert!(out == numbered("", 1..=300_000));
    assert_eq!(err, b"end\n");
    assert_eq!(container.exited().code, 0);
}

#[test]
fn a_terminal_echoes_resizes_and_is_raw() {
    let script = "stty size; read line; stty size; echo got $line; tty";
    let mut fixture = Fixture::sh(script).stdin(true).tty().hold();
    fixture.plan.process.console_size = (33, 101);
    let mut container = fixture.start();
    let mut client = container.attach(true);
    container.go();
    read_until(&mut client, "33 101\r\n");
    assert_eq!(container.daemon().ask(RequestBody::Resize { rows: 44, cols: 102 }, &[]).0, Answer::Done);
    client.write_all(b"typed\r").expect("writes");
    let rest = String::from_utf8(read_all(&mut client)).expect("text");
    assert!(rest.contains("typed\r\n44 102\r\ngot typed\r\n/dev/"), "{rest:?}");
    container.started();
    assert_eq!(container.exited().code, 0);
    assert!(String::from_utf8_lossy(&container.log()).contains("got typed\r\n"));
}

#[test]
fn a_terminal_that_nobody_has_open_costs_nothing_and_may_come_back() {
    let script = "exec </dev/null >/dev/null 2>&1; sleep 2; echo back > /dev/tty; sleep 0.2; echo again > /dev/tty";
    let mut container = Fixture::sh(script).stdin(true).tty().hold().start();
    let mut client = container.attach(true);
    container.go();
    read_until(&mut client, "back");
    read_until(&mut client, "again");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", container.shim.pid)).expect("runs");
    let ticks: Vec<u64> = stat.split_ascii_whitespace().skip(13).take(2).filter_map(|n| n.parse().ok()).collect();
    assert!(ticks.iter().sum::<u64>() < 50, "the shim spins: {ticks:?}");
    container.started();
    assert_eq!(container.exited().code, 0);
    assert_eq!(container.log(), b"back\r\nagain\r\n");
}

#[test]
fn control_c_in_a_terminal() {
    let mut container = Fixture::sh("trap 'echo caught; exit 9' INT; echo ready; while true; do sleep 0.1; done")
        .stdin(true)
        .tty()
        .hold()
        .start();
    let mut client = container.attach(true);
    container.go();
    read_until(&mut client, "ready");
    client.write_all(b"\x03").expect("writes");
    read_until(&mut client, "caught");
    container.started();
    assert_eq!(container.exited().code, 9);
}

#[test]
fn the_last_words_of_a_killed_container_are_logged() {
    let mut container = Fixture::sh("printf 'no newline'; exec sleep 1000").hold().start();
    let mut client = container.attach(false);
    container.go();
    read_until(&mut client, "no newline");
    container.started();
    assert!(container.log().is_empty(), "a line is logged when it is complete");
    container.signal(9);
    assert_eq!(container.exited().code, 137);
    assert_eq!(container.log(), b"no newline");
}

#[test]
fn rotation_and_compression_while_the_container_writes() {
    let mut fixture = Fixture::sh("seq 1 200000; read line; echo last").stdin(true);
    fixture.plan.log = gantry_runtime::spec::LogPlan::JsonFile(gantry_runtime::spec::JsonFile {
        path: fixture.dir.path().join("log"),
        max_size: Some(1 << 20),
        max_file: 4,
        compress: true,
        attrs: vec![("label".into(), "value".into())],
    });
    let mut container = fixture.start();
    container.started();
    // Every rotated file is compressed in the end, while the container runs on.
    let watcher = Inotify::new().expect("inotify");
    watcher.add(container.fixture.dir.path(), FILE_CHANGES | WatchFlags::DELETE).expect("watches");
    while names(&container) != ["log", "log.1.gz", "log.2.gz", "log.3.gz"] {
        assert!(readable(watcher.as_fd()), "{:?}", names(&container));
        watcher.drain(|_, _| ()).expect("drains");
    }
    assert_eq!(container.daemon().ask(RequestBody::CloseStdin, &[]).0, Answer::Done);
    assert_eq!(container.exited().code, 0);
    let log = container.log();
    let text = String::from_utf8(log).expect("text");
    let first: u32 = text[..text.find('\n').expect("lines")].parse().expect("a number");
    let expected = [&numbered("", first..=200_000)[..], b"last\n"].concat();
    assert!(text.as_bytes() == expected, "from {first}");
    assert!(text.lines().count() > 25_000);
    let details =
        container.read_log(ReadOptions { stdout: true, details: true, tail: Some(1), ..ReadOptions::default() });
    assert_eq!(details, b"label=value last\n");
}

/// The log's files.
fn names(container: &Container) -> Vec<String> {
    let files = std::fs::read_dir(container.fixture.dir.path()).expect("lists");
    let names = files.map(|f| f.expect("lists").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|n| n.starts_with("log")).collect();
    names.sort();
    names
}
