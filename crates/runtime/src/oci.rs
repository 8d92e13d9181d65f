//! Containers that another OCI runtime runs (`HostConfig.Runtime`): the shim mounts the root, and calls the runtime's
//! program for everything else. What the runtime starts becomes the shim's child, which therefore is a subreaper while
//! a call is under way.
//!
//! The bundle (`config.json`) was written by the daemon. Calls find a directory as descriptor 3, for a console's socket
//! whose path would be too long, and the process of an exec as 4.

use crate::child::network;
use crate::child::procfs::Procfs;
use crate::container::stat_field;
use crate::failure::{Failure, OrFail, Result, Stage};
use crate::rootfs::{overlay, parts, tree};
use crate::spec::{ContainerNet, MountSource, OciRuntime, Plan, Propagation};
use gantry_linux::process::{clone_child, setns, unshare};
use gantry_linux::spawn;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, listen, recvmsg, socket_with,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, set_child_subreaper, waitid,
};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub use crate::container::StdioFds;

/// A call that takes longer hangs. Nothing else is done for the container meanwhile.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// The same of the one that takes back what another has done, perhaps because that one hung.
const LAST_PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// What is read of a runtime's log.
const MAX_LOG: u64 = 64 << 10;

/// A process that a runtime has started.
#[derive(Debug)]
pub struct Started {
    /// Its pid in the shim's pid namespace.
    pub pid: u32,
    /// Readable when it ended.
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// A call of the runtime's program.
#[derive(Debug)]
pub struct Call {
    /// Of the program, which leads a session of its own.
    pid: Pid,
    pidfd: OwnedFd,
    log: PathBuf,
    ended: bool,
}

/// Where in a bundle the mount of this index is found that has no path on the host.
pub fn place(oci: &OciRuntime, index: usize) -> PathBuf {
    oci.bundle.join("mounts").join(index.to_string())
}

/// Mounts the root, and what has no path on the host, in a mount namespace of the calling process' own, which follows
/// the host's: there they have one, which only root of the host can reach.
pub fn mount_root(plan: &Plan, oci: &OciRuntime) -> Result<()> {
    let directory = |path: &Path| openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let mount = || -> io::Result<()> {
        unshare(libc::CLONE_NEWNS)?;
        tree::set_propagation(directory(Path::new("/"))?.as_fd(), Propagation::RSlave)?;
        let rootfs = &plan.rootfs;
        let root =
            overlay::mount_labelled(&rootfs.lower, Some((&rootfs.upper, &rootfs.work)), plan.mount_label.as_deref())?;
        tree::attach(root.as_fd(), directory(&rootfs.target)?.as_fd())
    };
    mount().or_fail(Stage::Mount, || "mount the root file system")?;
    for (index, mount) in plan.mounts.iter().enumerate() {
        if let MountSource::Part { tree, subpath } = &mount.source {
            let place = place(oci, index);
            let placed = parts::put(tree, subpath, &place);
            placed.or_fail(Stage::Mount, || {
                format!("error mounting {:?} at {}", parts::describe(tree, subpath), mount.target.display())
            })?;
        }
    }
    Ok(())
}

/// `create`: the container's init process is there and waits for [`start`].
pub fn create(plan: &Plan, oci: &OciRuntime, stdio: &StdioFds) -> Result<Started> {
    let console = plan.process.tty.then(|| Console::new(&oci.bundle, "init")).transpose();
    let console = console.or_fail(Stage::Setup, || "make a socket for the terminal")?;
    let pid_file = oci.bundle.join("init.pid");
    let mut args = words(&["create", "--bundle"]);
    args.push(oci.bundle.display().to_string());
    args.extend(["--pid-file".to_owned(), pid_file.display().to_string()]);
    args.extend(console.iter().flat_map(Console::arguments));
    args.push(plan.id.clone());
    call(oci, &args, Some(stdio), None, "create")?.finish()?;
    started(&pid_file, console)
}

/// `start`: lets the program run.
pub fn start(plan: &Plan, oci: &OciRuntime) -> Result<()> {
    call(oci, &["start".to_owned(), plan.id.clone()], None, None, "start")?.finish()
}

/// `delete`: the runtime forgets the container; what it leaves of the cgroup the caller removes.
pub fn delete(plan: &Plan, oci: &OciRuntime) -> Result<()> {
    call(oci, &["delete".to_owned(), "--force".to_owned(), plan.id.clone()], None, None, "delete")?
        .finish_within(&LAST_PATIENCE)
}

/// An exec that is being started.
#[derive(Debug)]
pub struct Exec {
    call: Call,
    pid_file: PathBuf,
    console: Option<Console>,
}

/// Begins an exec. `process` is a file with the process as JSON; without stdio it gets a terminal. `number` tells it
/// from others of the container.
pub fn exec(plan: &Plan, oci: &OciRuntime, process: &File, stdio: Option<&StdioFds>, number: u32) -> Result<Exec> {
    let name = format!("exec-{number}");
    let console = stdio.is_none().then(|| Console::new(&oci.bundle, &name)).transpose();
    let console = console.or_fail(Stage::Setup, || "make a socket for the terminal")?;
    let pid_file = oci.bundle.join(format!("{name}.pid"));
    let mut args = words(&["exec", "--detach", "--process", "/proc/self/fd/4", "--pid-file"]);
    args.push(pid_file.display().to_string());
    args.extend(console.iter().flat_map(Console::arguments));
    args.push(plan.id.clone());
    let call = call(oci, &args, stdio, Some(process), &name)?;
    Ok(Exec { call, pid_file, console })
}

impl Exec {
    /// Readable when [`Exec::finish`] does not wait.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.call.pidfd.as_fd()
    }

    /// What became of it.
    pub fn finish(self) -> Result<Started> {
        self.call.finish()?;
        started(&self.pid_file, self.console)
    }
}

/// Configures the container's side of its network.
pub fn configure_network(netns: BorrowedFd<'_>, net: &ContainerNet) -> Result<()> {
    let (mut answers, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map(|(read, write)| (File::from(read), write))
        .or_fail(Stage::Setup, || "make a pipe")?;
    let child = clone_child(0, None, || {
        let configured = setns(netns, libc::CLONE_NEWNET)
            .or_fail(Stage::Setup, || "enter the network namespace")
            .and_then(|()| network::configure(net, &Procfs::new()?));
        match configured {
            Ok(()) => 0,
            Err(failure) => {
                let _ = rustix::io::write(&tell, failure.message.as_bytes());
                1
            }
        }
    });
    let child = child.or_fail(Stage::Setup, || "clone")?;
    drop(tell);
    let mut message = String::new();
    io::Read::read_to_string(&mut answers, &mut message).or_fail(Stage::Setup, || "configure the network")?;
    match wait(child.pidfd.as_fd()) {
        Ok(0) => Ok(()),
        _ => Err(Failure::new(Stage::Setup, message)),
    }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// What [`wait`] says of a process that a signal has ended.
const KILLED: i32 = -1;

/// The exit status.
fn wait(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED))?;
    Ok(status.and_then(|status| status.exit_status()).unwrap_or(KILLED))
}

/// Ends what a shim calls just now, for somebody who does not wait as long as it does. `shim` is the pid of a process that
/// is there as long as this takes.
pub fn interrupt(shim: u32) {
    let children = fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).unwrap_or_default();
    for child in children.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
        let Ok(pidfd) = pidfd_open(child, PidfdFlags::empty()) else { continue };
        // It was the shim's after it was opened, so that this is no other process of the same number.
        if stat_field(child.as_raw_pid() as u32, 4).is_ok_and(|parent| parent == u64::from(shim)) {
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

fn call(
    oci: &OciRuntime,
    args: &[String],
    stdio: Option<&StdioFds>,
    process: Option<&File>,
    name: &str,
) -> Result<Call> {
    let log = oci.bundle.join(format!("{name}.log"));
    let begin = || -> io::Result<(Pid, OwnedFd)> {
        let null = File::options().read(true).write(true).open("/dev/null")?;
        let bundle = openat(CWD, &oci.bundle, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let own = stdio.map_or([None; 3], |s| [s.stdin.as_ref(), s.stdout.as_ref(), s.stderr.as_ref()]);
        let mut fds: Vec<BorrowedFd<'_>> = own.iter().map(|fd| fd.map_or(null.as_fd(), |fd| fd.as_fd())).collect();
        fds.push(bundle.as_fd());
        fds.push(process.map_or(null.as_fd(), AsFd::as_fd));
        let program = CString::new(oci.program.as_os_str().as_encoded_bytes())?;
        let mut line = vec![oci.program.display().to_string()];
        line.extend(oci.args.iter().cloned());
        line.extend(["--root".to_owned(), oci.bundle.join("state").display().to_string()]);
        line.extend(["--log".to_owned(), log.display().to_string(), "--log-format".to_owned(), "json".to_owned()]);
        line.extend(args.iter().cloned());
        let line = line.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>()?;
        match fs::remove_file(&log) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        // What it starts and leaves is ours.
        set_child_subreaper(Pid::from_raw(1))?;
        let pid = spawn::spawn_path(&program, &line, &fds)?;
        let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidData)?;
        Ok((pid, pidfd_open(pid, PidfdFlags::empty())?))
    };
    let (pid, pidfd) = begin().or_fail(Stage::Setup, || format!("execute {}", oci.program.display()))?;
    Ok(Call { pid, pidfd, log, ended: false })
}

impl Call {
    /// Waits for its end; its failure is what its log says.
    fn finish(self) -> Result<()> {
        self.finish_within(&PATIENCE)
    }

    fn finish_within(mut self, patience: &Timespec) -> Result<()> {
        let mut ready = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let hangs = rustix::io::retry_on_intr(|| poll(&mut ready, Some(patience))).is_ok_and(|n| n == 0);
        if hangs {
            // With all that it has started: a script is as good a runtime as any.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        self.ended = true;
        let status = wait(self.pidfd.as_fd()).or_fail(Stage::Setup, || "wait for the runtime")?;
        if status == KILLED {
            // Of what it has started nothing stays, whoever killed it.
            let _ = kill_process_group(self.pid, Signal::KILL);
            reap_group(self.pid);
        }
        if status == 0 {
            return Ok(());
        }
        let message = match read_log(&self.log) {
            Some(message) => message,
            None if hangs => "the runtime did not answer".to_owned(),
            None if status == KILLED => "the runtime was killed".to_owned(),
            None => format!("the runtime failed with exit status {status}"),
        };
        Err(Failure::new(stage_of(&message), message))
    }
}

impl Drop for Call {
    /// Nobody waits for it any more.
    fn drop(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = wait(self.pidfd.as_fd());
            reap_group(self.pid);
        }
    }
}

/// Waits for the orphans of a program that was killed with them.
fn reap_group(leader: Pid) {
    while rustix::io::retry_on_intr(|| waitid(WaitId::Pgid(Some(leader)), WaitIdOptions::EXITED)).is_ok() {}
}

/// What a failure means for the exit status that clients see.
fn stage_of(message: &str) -> Stage {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&[
        "executable file not found",
        "executable file `",
        "no such file or directory",
        "No such file or directory",
    ]) {
        Stage::NotFound
    } else if has(&[
        "permission denied",
        "Permission denied",
        "exec format error",
        "Exec format error",
        "is a directory",
    ]) {
        Stage::NotExecutable
    } else {
        Stage::Setup
    }
}

/// The last error in a log of JSON lines.
fn read_log(path: &Path) -> Option<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path).ok()?, MAX_LOG), &mut text).ok()?;
    text.lines().rev().filter(|line| line.contains("\"error\"") || line.contains("\"fatal\"")).find_map(message_of)
}

/// The value of `msg`; the shim carries no JSON parser for this one string.
fn message_of(line: &str) -> Option<String> {
    let (_, after) = line.split_once("\"msg\"")?;
    let after = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let mut text = String::new();
    let mut chars = after.chars();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok()?;
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

/// The process that a pid file names. It is the caller's child, so that its pid cannot be another's.
fn started(pid_file: &Path, console: Option<Console>) -> Result<Started> {
    let find = || -> io::Result<Started> {
        let pid = fs::read_to_string(pid_file)?.trim().parse::<u32>().map_err(|_| io::ErrorKind::InvalidData)?;
        let raw = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(raw, PidfdFlags::empty())?;
        // Nobody else's: this fails for a process that is no child.
        waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?;
        let terminal = console.map(Console::receive).transpose()?;
        Ok(Started { pid, pidfd, terminal })
    };
    find().or_fail(Stage::Setup, || "find the process that the runtime has started")
}

/// A socket by which a runtime hands out the master of a terminal.
#[derive(Debug)]
struct Console {
    listener: OwnedFd,
    path: PathBuf,
    name: String,
}

impl Console {
    fn new(bundle: &Path, name: &str) -> io::Result<Self> {
        let name = format!("{name}.tty");
        let path = bundle.join(&name);
        let directory = openat(CWD, bundle, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let short = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        bind(&listener, &SocketAddrUnix::new(short)?)?;
        listen(&listener, 1)?;
        Ok(Self { listener, path, name })
    }

    fn arguments(&self) -> [String; 2] {
        ["--console-socket".to_owned(), format!("/proc/self/fd/3/{}", self.name)]
    }

    /// What was sent: the runtime has ended, so it is there or never comes.
    fn receive(self) -> io::Result<OwnedFd> {
        let connection = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let mut bytes = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        recvmsg(&connection, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        let master = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        master.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// No more calls are under way: orphans are the host's again.
pub fn rest() {
    let _ = set_child_subreaper(None);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_hangs_is_killed_with_what_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let script = "/bin/busybox sleep 1000 & echo $! > $0/pid; wait".to_owned();
        let args = vec!["sh".to_owned(), "-c".to_owned(), script, directory.path().display().to_string()];
        let oci = OciRuntime { program: "/bin/busybox".into(), args, bundle: directory.path().to_owned() };
        let (input, _held) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let stdio = StdioFds { stdin: Some(input), stdout: None, stderr: None };
        let file = directory.path().join("pid");
        let child = || fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok());
        for patience in [Some(Timespec { tv_sec: 1, tv_nsec: 0 }), None] {
            let _ = fs::remove_file(&file);
            let call = call(&oci, &[], Some(&stdio), None, "create").unwrap();
            let pid = std::iter::repeat_with(|| {
                std::thread::yield_now();
                child()
            })
            .flatten()
            .next()
            .unwrap();
            match patience {
                Some(patience) => {
                    let failure = call.finish_within(&patience).unwrap_err();
                    assert_eq!(failure.message, "the runtime did not answer");
                }
                None => drop(call),
            }
            assert!(!Path::new(&format!("/proc/{pid}")).exists());
        }
        rest();
    }

    #[test]
    fn logs_of_runtimes_are_read() {
        let runc = r#"{"level":"error","msg":"runc create failed: exec: \"x\": executable file not found in $PATH","time":"2026"}"#;
        let message = message_of(runc).unwrap();
        assert_eq!(message, "runc create failed: exec: \"x\": executable file not found in $PATH");
        assert_eq!(stage_of(&message), Stage::NotFound);
        let crun = r#"{"msg":"executable file `x` not found in $PATH: No such file or directory", "level":"error", "time":"2026"}"#;
        assert_eq!(stage_of(&message_of(crun).unwrap()), Stage::NotFound);
        assert_eq!(message_of(r#"{"msg":"a\u0041\n"}"#).unwrap(), "aA\n");
        assert_eq!(message_of(r#"{"msg":"cut"#), None);
        assert_eq!(stage_of("exec: permission denied"), Stage::NotExecutable);
    }
}
