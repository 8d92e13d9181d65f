//! How far a container's start is from what the kernel alone costs.
//!
//! `floor` clones into new namespaces, binds a root, pivots and executes busybox's `true`; `start`
//! is the runtime with Docker's default spec; `exec` another process in a running container. Times
//! are medians in microseconds, to the program's exec and (cycle) until everything is gone again, and
//! the processor time of a cycle, which a busy machine distorts less.
//! Run as root: `cargo run --release -p gantry-runtime --example floor`.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Fixture, process, reap};
use gantry_linux::mount::{Change, set_attributes};
use gantry_linux::process::{clone_child, execve};
use gantry_runtime::container::{Report, StdioFds, create};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;

fn bare_child(root: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = openat(CWD, "/", flags, Mode::empty())?;
    set_attributes(old.as_fd(), true, &Change::new(0, 0, libc::MS_PRIVATE))?;
    let tree = open_tree(CWD, root, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    move_mount(&tree, "", CWD, root, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    rustix::process::fchdir(&tree)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::process::fchdir(&old)?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    let program = CString::new("/bin/true")?;
    Err(execve(&program, std::slice::from_ref(&program), &[]))
}

/// To the exec (the pipe's other end closes), and to the end.
fn bare(root: &Path) -> io::Result<(Duration, Duration)> {
    let begin = Instant::now();
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let namespaces =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let child = clone_child(namespaces, None, || i32::from(bare_child(root).is_err()))?;
    drop(writer);
    rustix::io::read(&reader, &mut [0u8; 1][..])?;
    let executed = begin.elapsed();
    let id = rustix::process::WaitId::PidFd(child.pidfd.as_fd());
    rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED)?;
    Ok((executed, begin.elapsed()))
}

fn started(fixture: &Fixture) -> (Duration, Duration) {
    for dir in ["upper", "work"] {
        let path = fixture.dir.path().join(dir);
        std::fs::remove_dir_all(&path).and_then(|()| std::fs::create_dir(&path)).expect("a fresh directory");
    }
    let begin = Instant::now();
    let mut child = create(&fixture.plan, &fixture.seccomp, StdioFds::default()).expect("created");
    match child.read_report().expect("a report") {
        Report::Executed => {}
        other => panic!("{other:?}"),
    }
    let executed = begin.elapsed();
    reap(&child);
    fixture.cgroup().remove().expect("removed");
    (executed, begin.elapsed())
}

/// Processor time of this process and the children it has reaped.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: u64 = fields.split_ascii_whitespace().skip(11).take(4).filter_map(|f| f.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Runs all rounds of one kind.
fn measure(what: &str, mut round: impl FnMut() -> (Duration, Duration)) {
    let before = processor_time();
    let times = (0..ROUNDS).map(|_| round()).collect();
    let processor = processor_time().saturating_sub(before) / ROUNDS as u32;
    print(what, times, processor);
}

fn print(what: &str, mut times: Vec<(Duration, Duration)>, processor: Duration) {
    let mut column = |key: fn(&(Duration, Duration)) -> Duration| {
        times.sort_by_key(key);
        (key(&times[times.len() / 2]).as_micros(), key(&times[times.len() * 9 / 10]).as_micros())
    };
    let ((exec, exec90), (cycle, cycle90)) = (column(|t| t.0), column(|t| t.1));
    let cpu = processor.as_micros();
    println!("{what:6} exec {exec:6} (p90 {exec90:6})   cycle {cycle:6} (p90 {cycle90:6})   cpu {cpu:6}");
}

fn main() -> io::Result<()> {
    let mut fixture = Fixture::new(&["/bin/true"]);
    fixture.plan.process.seccomp = true;
    let capabilities = gantry_runtime::capabilities::DEFAULT;
    fixture.seccomp = gantry_runtime::seccomp::compile(None, capabilities).map_err(io::Error::other)?.to_vec();
    let lower = fixture.plan.rootfs.lower[0].clone();
    measure("floor", || bare(&lower).expect("root, and a kernel of this decade"));
    measure("start", || started(&fixture));
    let mut sleeper = Fixture::new(&["/bin/sleep", "1000"]);
    sleeper.seccomp.clone_from(&fixture.seccomp);
    let running = sleeper.start().expect("started");
    let mut spec = process(&["/bin/true"]);
    spec.seccomp = true;
    measure("exec", || {
        let begin = Instant::now();
        let exec = running.exec(&sleeper.plan, &spec, &sleeper.seccomp).expect("started");
        let executed = begin.elapsed();
        exec.finish();
        (executed, begin.elapsed())
    });
    running.kill();
    Ok(())
}
