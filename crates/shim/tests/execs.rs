//! Further processes in a container.

mod common;

use common::*;
use gantry_linux::memfd;
use gantry_runtime::spec::encode;
use gantry_shim_protocol::{Answer, Event, RequestBody, Stage, Target};
use std::fs::File;
use std::os::fd::AsFd;

fn running() -> Container {
    let mut container = Fixture::new(&["/bin/cat"]).stdin(true).start();
    container.started();
    container
}

fn exec_end(container: &mut Container, id: &str) -> u8 {
    match container.daemon().event().0 {
        Event::ExecExited { exec_id, code } => {
            assert_eq!(exec_id, id);
            code
        }
        other => panic!("{other:?}"),
    }
}

fn finish(mut container: Container) {
    assert_eq!(container.daemon().ask(RequestBody::CloseStdin, &[]).0, Answer::Done);
    assert_eq!(container.exited().code, 0);
}

#[test]
fn output_and_exit_status() {
    let mut container = running();
    let (answer, out) = container.exec("one", &process(&["/bin/sh", "-c", "echo $$ hello; exit 4"]));
    let Answer::Exec { pid } = answer else { panic!("{answer:?}") };
    assert!(pid > 1);
    let text = String::from_utf8(read_all(out)).expect("text");
    assert!(text.ends_with(" hello\n"), "{text:?}");
    assert_eq!(exec_end(&mut container, "one"), 4);
    assert!(container.daemon().status().execs.is_empty());
    finish(container);
}

#[test]
fn a_failed_exec_is_an_answer_and_no_event() {
    let mut container = running();
    let (answer, _) = container.exec("bad", &process(&["/bin/nothing"]));
    match answer {
        Answer::Failed(failure) => assert_eq!(failure.stage, Stage::NotFound, "{failure:?}"),
        other => panic!("{other:?}"),
    }
    let (answer, _) = container.exec("good", &process(&["/bin/true"]));
    assert!(matches!(answer, Answer::Exec { .. }));
    assert_eq!(exec_end(&mut container, "good"), 0);
    finish(container);
}

#[test]
fn a_terminal_travels_to_the_daemon() {
    let mut container = running();
    let mut spec = process(&["/bin/sh", "-c", "tty; stty size; read line; echo got $line"]);
    spec.tty = true;
    spec.console_size = (12, 34);
    let plan = memfd::sealed("exec", &encode(&spec).expect("encodes")).expect("a memfd");
    let (answer, mut fds) = container.daemon().ask(RequestBody::Exec { exec_id: "tty".into() }, &[plan.as_fd()]);
    assert!(matches!(answer, Answer::Exec { .. }), "{answer:?}");
    let mut master = File::from(fds.pop().expect("the master"));
    let start = read_until(&mut master, "12 34");
    assert!(start.starts_with("/dev/pts/"), "{start:?}");
    std::io::Write::write_all(&mut master, b"x\n").expect("writes");
    read_until(&mut master, "got x");
    assert_eq!(exec_end(&mut container, "tty"), 0);
    finish(container);
}

#[test]
fn signals_reach_an_exec_and_status_lists_it() {
    let mut container = running();
    let (answer, _out) = container.exec("sleeper", &process(&["/bin/sleep", "1000"]));
    let Answer::Exec { pid } = answer else { panic!("{answer:?}") };
    // The next daemon still knows it, and hears of its end.
    container.connect();
    assert_eq!(container.daemon().status().execs, [("sleeper".to_owned(), pid)]);
    let body = RequestBody::Signal { target: Target::Exec("sleeper".into()), signal: 15 };
    assert_eq!(container.daemon().ask(body, &[]).0, Answer::Done);
    assert_eq!(exec_end(&mut container, "sleeper"), 143);
    finish(container);
}

#[test]
fn execs_end_with_the_container() {
    let mut container = running();
    let (answer, out) = container.exec("sleeper", &process(&["/bin/sleep", "1000"]));
    assert!(matches!(answer, Answer::Exec { .. }));
    container.signal(9);
    assert!(read_all(out).is_empty());
    assert_eq!(exec_end(&mut container, "sleeper"), 137);
    assert_eq!(container.exited().code, 137);
}

#[test]
fn many_at_once() {
    const COUNT: usize = 200;
    let mut container = running();
    let plan = memfd::sealed("exec", &encode(&process(&["/bin/echo", "hi"])).expect("encodes")).expect("a memfd");
    let null = File::options().read(true).write(true).open("/dev/null").expect("opens");
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let fds = [plan.as_fd(), null.as_fd(), write.as_fd(), null.as_fd()];
    let mut asked = Vec::new();
    for n in 0..COUNT {
        let id = container.daemon().send(RequestBody::Exec { exec_id: format!("exec-{n}") }, &fds);
        asked.push(id);
    }
    for id in asked {
        let answer = container.daemon().answer(id).0;
        assert!(matches!(answer, Answer::Exec { .. }), "{answer:?}");
    }
    let mut ended: Vec<String> = (0..COUNT)
        .map(|_| match container.daemon().event().0 {
            Event::ExecExited { exec_id, code: 0 } => exec_id,
            other => panic!("{other:?}"),
        })
        .collect();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), COUNT);
    drop(write);
    assert_eq!(read_all(File::from(read)), b"hi\n".repeat(COUNT));
    finish(container);
}
