//! From the spawn of a shim to its end, with and without a daemon.

mod common;

use common::*;
use gantry_runtime::spec::{ContainerNet, encode};
use gantry_shim_protocol::{Answer, Event, Phase, RequestBody, Stage, Target};

#[test]
fn runs_logs_and_tells_the_exit_status() {
    let mut container = Fixture::sh("echo out; echo err >&2; exit 3").start();
    container.started();
    let exit = container.exited();
    assert_eq!((exit.code, exit.oom_killed), (3, false));
    let log = String::from_utf8(container.log()).expect("text");
    assert!(log == "out\nerr\n" || log == "err\nout\n", "{log:?}");
}

#[test]
fn a_signal_is_128_and_more() {
    let mut container = Fixture::sh("echo ready; exec sleep 1000").hold().start();
    let mut client = container.attach(false);
    container.go();
    read_until(&mut client, "ready");
    container.started();
    container.signal(9);
    assert_eq!(container.exited().code, 137);
}

#[test]
fn a_program_that_is_not_there_is_a_failed_start() {
    let mut container = Fixture::new(&["/bin/nothing"]).start();
    assert!(matches!(container.daemon().event().0, Event::Created { .. }));
    match container.daemon().event().0 {
        Event::StartFailed(failure) => assert_eq!(failure.stage, Stage::NotFound, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    container.shim_ends();
    assert!(!container.cgroup_exists());
    assert!(!state_file(&container, "exit").exists());
}

#[test]
fn a_log_that_cannot_be_opened_is_a_failed_start() {
    let mut fixture = Fixture::sh("true");
    fixture.plan.log = gantry_runtime::spec::LogPlan::JsonFile(gantry_runtime::spec::JsonFile {
        path: fixture.dir.path().join("no/such/log"),
        max_size: None,
        max_file: 1,
        compress: false,
        attrs: vec![],
    });
    let mut container = fixture.start();
    assert!(matches!(container.daemon().event().0, Event::StartFailed(_)));
    container.shim_ends();
}

#[test]
fn the_program_waits_for_the_network() {
    let mut container = Fixture::sh("echo ran").hold().start();
    assert!(matches!(container.daemon().event().0, Event::Created { .. }));
    assert!(matches!(container.daemon().status().phase, Phase::Setup { .. }));

    // The daemon dies, and the next one gets the network namespace, too.
    container.connect();
    match container.daemon().event() {
        (Event::Created { .. }, fds) => assert_eq!(fds.len(), 1),
        other => panic!("{other:?}"),
    }
    assert!(container.log().is_empty());
    container.go();
    assert!(matches!(container.daemon().event().0, Event::Started { .. }));
    assert_eq!(container.exited().code, 0);
    assert_eq!(container.log(), b"ran\n");
}

#[test]
fn a_container_in_setup_can_be_killed() {
    let mut container = Fixture::sh("echo ran").hold().start();
    assert!(matches!(container.daemon().event().0, Event::Created { .. }));
    container.signal(9);
    assert!(matches!(container.daemon().event().0, Event::StartFailed(_)));
    container.shim_ends();
    assert!(!container.cgroup_exists());
}

#[test]
fn go_is_refused_when_nobody_waits() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    let net = encode(&ContainerNet::default()).expect("encodes");
    match container.daemon().ask(RequestBody::Go { net }, &[]).0 {
        Answer::Failed(failure) => assert_eq!(failure.stage, Stage::State),
        other => panic!("{other:?}"),
    }
    assert_eq!(container.daemon().ask(RequestBody::CloseStdin, &[]).0, Answer::Done);
    assert_eq!(container.exited().code, 0);
}

#[test]
fn a_daemon_that_connects_late_hears_everything() {
    let mut container = Fixture::sh("echo quick").spawn();
    // The exit file is there before anybody asked.
    while !state_file(&container, "exit").exists() {
        std::thread::yield_now();
    }
    container.connect();
    container.started();
    assert_eq!(container.exited().code, 0);
}

#[test]
fn daemons_come_and_go_and_the_log_is_complete() {
    let mut container = Fixture::sh("i=0; while [ $i -lt 200000 ]; do echo line $i; i=$((i+1)); done").start();
    container.started();
    for _ in 0..50 {
        // In the middle of the output, and of an attachment.
        let client = container.attach(false);
        container.disconnect();
        drop(client);
        container.connect();
        container.daemon().status();
    }
    let mut second = container.another_daemon();
    assert_eq!(container.exited().code, 0);
    while !matches!(second.event().0, Event::Exited(_)) {}
    assert!(container.log() == numbered("line ", 0..200_000));
}

#[test]
fn nobody_is_connected_at_the_end() {
    let mut container = Fixture::sh("read line; echo got $line; exit 7").stdin(true).start();
    container.started();
    let client = container.attach(true);
    container.disconnect();
    rustix::io::write(&client, b"x\n").expect("writes");
    container.shim_ends();
    let stored = std::fs::read(state_file(&container, "exit")).expect("an exit file");
    let exit: gantry_shim_protocol::Exit = gantry_shim_protocol::codec::decode(&stored).expect("decodes");
    assert_eq!(exit.code, 7);
    assert_eq!(container.log(), b"got x\n");
}

#[test]
fn stragglers_outside_a_pid_namespace_are_killed() {
    let mut fixture = Fixture::sh("sleep 1000 & echo started; exit 0");
    fixture.plan.namespaces.pid = gantry_runtime::spec::Namespace::Host;
    let mut container = fixture.start();
    container.started();
    assert_eq!(container.exited().code, 0);
    assert_eq!(container.log(), b"started\n");
}

#[test]
fn every_process_can_be_signalled() {
    let mut container = Fixture::sh("sleep 1000 & echo ready; wait; exit 5").hold().start();
    let mut client = container.attach(false);
    container.go();
    read_until(&mut client, "ready");
    let body = RequestBody::Signal { target: Target::All, signal: 15 };
    // Init ignores it (pid 1 has no handler), its child does not.
    assert_eq!(container.daemon().ask(body, &[]).0, Answer::Done);
    container.started();
    assert_eq!(container.exited().code, 5);
}

#[test]
fn requests_that_make_no_sense_are_answered() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    for body in [
        RequestBody::Exec { exec_id: "x".into() },
        RequestBody::Attach { stdin: true, stdout: true, stderr: true },
        RequestBody::Resize { rows: 1, cols: 1 },
        RequestBody::Signal { target: Target::Exec("nobody".into()), signal: 9 },
        RequestBody::Signal { target: Target::Init, signal: 999 },
        RequestBody::Go { net: vec![255; 3] },
    ] {
        let answer = container.daemon().ask(body.clone(), &[]).0;
        assert!(matches!(answer, Answer::Failed(_)), "{body:?}: {answer:?}");
    }
    container.signal(9);
    assert_eq!(container.exited().code, 137);
}

#[test]
fn garbage_and_crowds_do_no_harm() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    // A verb of the future is answered, so that its asker does not wait for ever.
    let mut newer = container.another_daemon();
    newer.send_raw(&[gantry_shim_protocol::PROTOCOL_VERSION, 77, 120, 1, 2, 3]);
    assert!(matches!(newer.answer(77).0, Answer::Failed(_)));
    assert!(newer.is_running());
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0], &[gantry_shim_protocol::PROTOCOL_VERSION]] {
        let mut other = container.another_daemon();
        other.send_raw(garbage);
        assert!(other.is_closed());
    }
    let mut crowd = Vec::new();
    let refused = (0..40).any(|_| {
        let mut another = container.another_daemon();
        let _ = another.try_send(RequestBody::Status);
        let refused = another.is_closed();
        crowd.push(another);
        refused
    });
    assert!(refused);
    assert!(container.daemon().is_running());
    drop(crowd);
    assert!(newer.is_running());
    container.signal(9);
    assert_eq!(container.exited().code, 137);
}

#[test]
fn a_daemon_that_does_not_read_is_no_obstacle() {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    let mut deaf = container.another_daemon();
    // Far more than its answers have room for; the shim stops reading from it.
    while deaf.try_send(RequestBody::Status).is_ok() {}
    assert!(container.daemon().is_running());
    container.signal(9);
    assert!(matches!(container.daemon().event().0, Event::Exited(_)));
    drop(deaf);
    container.shim_ends();
}

#[test]
fn kills_for_lack_of_memory_are_told() {
    let mut fixture = Fixture::sh("dd if=/dev/zero of=/dev/null bs=200M count=1; echo dd ended with $?; exit 6");
    fixture.plan.cgroup.resources.memory = Some(32 << 20);
    fixture.plan.cgroup.resources.memory_swap = Some(32 << 20);
    let mut container = fixture.start();
    container.started();
    assert_eq!(container.daemon().event().0, Event::OutOfMemory);
    let exit = container.exited();
    assert_eq!((exit.code, exit.oom_killed), (6, true));
    assert_eq!(container.log(), b"Killed\ndd ended with 137\n");
}

#[test]
fn held_descriptors_stay_with_the_shim_alone() {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
    let mut fixture = Fixture::sh("ls /proc/self/fd | wc -l; read line").stdin(true);
    fixture.held = vec![write];
    let mut container = fixture.hold().start();
    let mut client = container.attach(true);
    container.go();
    // 0, 1, 2, and the directory that ls reads.
    assert_eq!(read_until(&mut client, "\n").trim_start_matches(|c: char| c.is_control()), "4\n");
    let mut fds = [rustix::event::PollFd::new(&read, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut fds, Some(&now)), Ok(0), "the shim holds it");
    container.started();
    container.signal(9);
    container.exited();
    assert!(read_all(std::fs::File::from(read)).is_empty());
}

#[test]
fn the_last_event_arrives_with_requests_in_flight() {
    for _ in 0..20 {
        let mut container = Fixture::sh("read line").stdin(true).start();
        container.started();
        let client = container.attach(true);
        let daemon = container.daemon();
        rustix::io::write(&client, b"x\n").expect("writes");
        for _ in 0..200 {
            // The shim may refuse them at any point.
            if daemon.try_send(RequestBody::Status).is_err() {
                break;
            }
        }
        assert_eq!(container.exited().code, 0);
    }
}
