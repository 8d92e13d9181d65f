//! A container behind a real shim: busybox in a temporary layer, the test in the daemon's place.
#![allow(dead_code, unreachable_pub)] // Each test program uses its own part.

use gantry_container_logs::{LogReader, ReadOptions, State};
use gantry_linux::memfd;
use gantry_runtime::cgroup::CgroupRoot;
use gantry_runtime::spec::*;
use gantry_runtime::{capabilities, spawn};
use gantry_shim_protocol::{
    Answer, Event, Exit, MAX_PACKET, Message, Phase, Request, RequestBody, Status, Target, codec, transport,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Far beyond what anything here takes, also on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

const APPLETS: [&str; 17] = [
    "ls", "sh", "true", "cat", "echo", "sleep", "seq", "head", "yes", "tr", "dd", "stty", "printf", "kill", "wc",
    "tty", "od",
];

/// A root and a plan for it.
pub struct Fixture {
    pub dir: tempfile::TempDir,
    pub plan: Plan,
    /// Descriptors for the shim to hold.
    pub held: Vec<OwnedFd>,
}

fn fs_mount(kind: &str, target: &str, options: &[&str]) -> Mount {
    Mount {
        source: MountSource::Fs { kind: kind.into(), options: options.iter().map(|o| (*o).to_owned()).collect() },
        target: target.into(),
        flags: MountFlags { nosuid: true, noexec: true, ..MountFlags::default() },
        propagation: Propagation::Private,
        shifted: false,
    }
}

pub fn process(args: &[&str]) -> ProcessSpec {
    let caps = capabilities::DEFAULT;
    ProcessSpec {
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        create_cwd: true,
        user: String::new(),
        additional_groups: vec![],
        capabilities: Capabilities { bounding: caps, effective: caps, permitted: caps, inheritable: 0, ambient: 0 },
        no_new_privileges: false,
        rlimits: vec![],
        seccomp: false,
        tty: false,
        console_size: (0, 0),
        apparmor: None,
        selinux: None,
    }
}

fn allow(kind: char, major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule { allow: true, kind, major: Some(major), minor, access: "rwm".into() }
}

impl Fixture {
    /// A shell script with a json-file log.
    pub fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    pub fn new(args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().expect("a temporary directory");
        for sub in ["lower/bin", "lower/etc", "upper", "work", "root", "state"] {
            fs::create_dir_all(dir.path().join(sub)).expect("mkdir");
        }
        let lower = dir.path().join("lower");
        fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("Debian's busybox-static");
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).expect("symlink");
        }
        let id = format!("shim-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = |name: &str| dir.path().join(name);
        let plan = Plan {
            version: PLAN_VERSION,
            id: id.clone(),
            state_dir: path("state"),
            process: process(args),
            init: false,
            user_namespace: None,
            namespaces: Namespaces {
                pid: Namespace::New,
                net: Namespace::New,
                ipc: Namespace::New,
                uts: Namespace::New,
                cgroup: Namespace::Host,
            },
            hostname: None,
            domainname: None,
            rootfs: Rootfs {
                lower: vec![lower],
                upper: path("upper"),
                work: path("work"),
                target: path("root"),
                readonly: false,
            },
            mounts: vec![
                fs_mount("proc", "/proc", &[]),
                fs_mount("tmpfs", "/dev", &["mode=755"]),
                fs_mount("devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            ],
            devices: vec![],
            masked_paths: vec![],
            readonly_paths: vec![],
            sysctls: vec![],
            cgroup: Cgroup {
                path: format!("/gantry-{id}"),
                resources: Resources::default(),
                device_rules: vec![
                    DeviceRule { allow: false, kind: 'a', major: None, minor: None, access: "rwm".into() },
                    allow('c', 1, None),
                    allow('c', 5, None),
                    allow('c', 136, None),
                ],
            },
            oom_score_adj: None,
            wait_for_network: false,
            stdio: Stdio { open_stdin: false, stdin_once: false },
            log: LogPlan::JsonFile(JsonFile {
                path: path("log"),
                max_size: None,
                max_file: 1,
                compress: false,
                attrs: vec![],
            }),
            shm_size: 64 << 20,
            oci: None,
            forwards: vec![],
            carrier_filter: vec![],
            mount_label: None,
        };
        Self { dir, plan, held: Vec::new() }
    }

    pub fn stdin(mut self, once: bool) -> Self {
        self.plan.stdio = Stdio { open_stdin: true, stdin_once: once };
        self
    }

    pub fn tty(mut self) -> Self {
        self.plan.process.tty = true;
        self
    }

    /// Runs nothing before [`Container::go`].
    pub fn hold(mut self) -> Self {
        self.plan.wait_for_network = true;
        self
    }

    /// Spawns the shim and connects, as the daemon does.
    pub fn start(self) -> Container {
        let mut container = self.spawn();
        container.connect();
        container
    }

    /// Spawns the shim without connecting.
    pub fn spawn(mut self) -> Container {
        let state = self.plan.state_dir.clone();
        let held = std::mem::take(&mut self.held);
        let listener = transport::listen(&state.join(transport::SOCKET_NAME)).expect("listens");
        let shim = spawn::spawn_shim(program(), listener, &self.plan, &[], held, &state.join("shim.pid"))
            .expect("the shim starts")
            .expect("it is there until it is waited for");
        Container { fixture: self, shim, daemon: None }
    }
}

/// The shim's program: one for all containers, which share its pages.
fn program() -> BorrowedFd<'static> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    let make = || {
        let program = fs::read(env!("CARGO_BIN_EXE_gantry-shim")).expect("the shim is built");
        memfd::sealed_program("gantry-shim", &program).expect("a memfd")
    };
    PROGRAM.get_or_init(make).as_fd()
}

/// A container and its shim.
pub struct Container {
    pub fixture: Fixture,
    pub shim: spawn::Shim,
    daemon: Option<Daemon>,
}

/// A connection to a shim.
pub struct Daemon {
    socket: OwnedFd,
    next: u32,
    events: VecDeque<(Event, Vec<OwnedFd>)>,
    answers: Vec<(u32, Answer, Vec<OwnedFd>)>,
}

impl Container {
    /// Connects a new daemon in the old one's place.
    pub fn connect(&mut self) {
        self.daemon = Some(self.another_daemon());
    }

    pub fn another_daemon(&self) -> Daemon {
        let path = self.fixture.plan.state_dir.join(transport::SOCKET_NAME);
        let socket = transport::connect(&path).expect("connects");
        Daemon { socket, next: 1, events: VecDeque::new(), answers: Vec::new() }
    }

    /// The daemon dies.
    pub fn disconnect(&mut self) {
        self.daemon = None;
    }

    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().expect("connected")
    }

    /// Lets a held program run.
    pub fn go(&mut self) {
        let net = encode(&ContainerNet::default()).expect("encodes");
        assert_eq!(self.daemon().ask(RequestBody::Go { net }, &[]).0, Answer::Done);
    }

    /// Waits until the program runs; its pid.
    pub fn started(&mut self) -> u32 {
        let pid = match self.daemon().event() {
            (Event::Created { pid }, fds) => {
                // A container that waits for nothing may be over before its namespace can be opened.
                assert!(fds.len() == 1 || !self.fixture.plan.wait_for_network, "the network namespace");
                pid
            }
            other => panic!("{other:?}"),
        };
        match self.daemon().event().0 {
            Event::Started { pid: started, started_at } => {
                assert_eq!(pid, started);
                assert!(started_at > 1_600_000_000_000_000_000);
            }
            other => panic!("{other:?}"),
        }
        pid
    }

    /// Waits for the end of the container and of its shim.
    pub fn exited(&mut self) -> Exit {
        let exit = loop {
            match self.daemon().event().0 {
                Event::Exited(exit) => break exit,
                Event::ExecExited { .. } | Event::OutOfMemory => {}
                other => panic!("{other:?}"),
            }
        };
        self.shim_ends();
        let stored = fs::read(self.fixture.plan.state_dir.join(transport::EXIT_NAME)).expect("an exit file");
        assert_eq!(codec::decode::<Exit>(&stored), Ok(exit));
        assert!(exit.finished_at >= exit.started_at);
        assert!(!self.cgroup_exists(), "the cgroup is removed");
        exit
    }

    /// Waits until the shim has ended.
    pub fn shim_ends(&self) {
        assert!(readable(self.shim.pidfd.as_fd()), "the shim does not end");
    }

    pub fn cgroup_exists(&self) -> bool {
        CgroupRoot::detect().expect("hierarchies").cgroup(&self.fixture.plan.cgroup.path).exists()
    }

    /// What `docker logs` would show.
    pub fn log(&self) -> Vec<u8> {
        let options = ReadOptions { stdout: true, stderr: true, ..ReadOptions::default() };
        self.read_log(options)
    }

    pub fn read_log(&self, options: ReadOptions) -> Vec<u8> {
        let LogPlan::JsonFile(JsonFile { path, .. }) = &self.fixture.plan.log else { return Vec::new() };
        let mut reader = LogReader::open(path, options).expect("the log opens");
        let mut out = Vec::new();
        while reader.next_batch(&mut out, usize::MAX).expect("the log is readable") == State::More {}
        out
    }

    pub fn attach(&mut self, stdin: bool) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        ours.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        ours.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let body = RequestBody::Attach { stdin, stdout: true, stderr: true };
        assert_eq!(self.daemon().ask(body, &[theirs.as_fd()]).0, Answer::Done);
        ours
    }

    pub fn signal(&mut self, signal: i32) {
        let body = RequestBody::Signal { target: Target::Init, signal };
        assert_eq!(self.daemon().ask(body, &[]).0, Answer::Done);
    }

    /// Runs a process with pipes: pid, stdout. Standard error is ours.
    pub fn exec(&mut self, id: &str, spec: &ProcessSpec) -> (Answer, File) {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
        let plan = memfd::sealed("exec", &encode(spec).expect("encodes")).expect("a memfd");
        let null = File::open("/dev/null").expect("opens");
        let fds = [plan.as_fd(), null.as_fd(), write.as_fd(), write.as_fd()];
        let answer = self.daemon().ask(RequestBody::Exec { exec_id: id.into() }, &fds).0;
        (answer, File::from(read))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let cgroup = CgroupRoot::detect().expect("hierarchies").cgroup(&self.fixture.plan.cgroup.path);
        let _ = cgroup.kill_all();
        self.daemon = None;
        if !readable(self.shim.pidfd.as_fd()) {
            let _ = gantry_linux::process::pidfd_kill(self.shim.pidfd.as_fd(), 9);
        }
        let _ = cgroup.remove();
        let id = rustix::process::WaitId::PidFd(self.shim.pidfd.as_fd());
        let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
    }
}

impl Daemon {
    pub fn send(&mut self, body: RequestBody, fds: &[BorrowedFd<'_>]) -> u32 {
        let id = self.next;
        self.next += 1;
        transport::send_value(self.socket.as_fd(), &Request { id, body }, fds).expect("the shim reads");
        id
    }

    pub fn send_raw(&mut self, packet: &[u8]) {
        transport::send(self.socket.as_fd(), packet, &[]).expect("the shim reads");
    }

    /// Waits for a word or the end, and tells which it was.
    pub fn is_closed(&mut self) -> bool {
        assert!(readable(self.socket.as_fd()), "the shim says nothing");
        let mut buf = vec![0; MAX_PACKET];
        transport::recv(self.socket.as_fd(), &mut buf).map_or(true, |packet| packet.len == 0)
    }

    pub fn try_send(&mut self, body: RequestBody) -> io::Result<()> {
        let id = self.next;
        self.next += 1;
        transport::send_value(self.socket.as_fd(), &Request { id, body }, &[])
    }

    pub fn ask(&mut self, body: RequestBody, fds: &[BorrowedFd<'_>]) -> (Answer, Vec<OwnedFd>) {
        let id = self.send(body, fds);
        self.answer(id)
    }

    pub fn answer(&mut self, id: u32) -> (Answer, Vec<OwnedFd>) {
        loop {
            if let Some(at) = self.answers.iter().position(|a| a.0 == id) {
                let (_, answer, fds) = self.answers.swap_remove(at);
                return (answer, fds);
            }
            assert!(self.receive(), "the shim is gone");
        }
    }

    pub fn event(&mut self) -> (Event, Vec<OwnedFd>) {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            assert!(self.receive(), "the shim is gone");
        }
    }

    pub fn status(&mut self) -> Status {
        match self.ask(RequestBody::Status, &[]).0 {
            Answer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.status().phase, Phase::Running { .. })
    }

    fn receive(&mut self) -> bool {
        assert!(readable(self.socket.as_fd()), "the shim says nothing");
        let mut buf = vec![0; MAX_PACKET];
        let packet = transport::recv(self.socket.as_fd(), &mut buf).expect("receives");
        if packet.len == 0 {
            return false;
        }
        match codec::decode(&buf[..packet.len]).expect("a message") {
            Message::Answer { id, answer } => self.answers.push((id, answer, packet.fds)),
            Message::Event(event) => self.events.push_back((event, packet.fds)),
        }
        true
    }
}

/// Waits until there is something to read.
pub fn readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    poll(&mut fds, Some(&timeout)).expect("polls") > 0
}

/// Reads until `wanted` was seen; what was read.
pub fn read_until(mut from: impl Read, wanted: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(wanted) {
        let mut byte = [0; 512];
        match from.read(&mut byte) {
            Ok(0) => panic!("the end, after {:?}", String::from_utf8_lossy(&text)),
            Ok(len) => text.extend_from_slice(&byte[..len]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => panic!("{e} after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Takes Docker's frames apart: stdout, stderr.
pub fn unframe(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let [kind, 0, 0, 0, a, b, c, d, rest @ ..] = bytes {
        let len = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if *kind == 1 { &mut out } else { &mut err }.extend_from_slice(&rest[..len]);
        bytes = &rest[len..];
    }
    assert!(bytes.is_empty(), "a torn frame");
    (out, err)
}

/// Everything up to the end.
pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("reads to the end");
    all
}

pub fn state_file(container: &Container, name: &str) -> PathBuf {
    container.fixture.plan.state_dir.join(name)
}

/// The numbers as `seq` prints them, with something before each.
pub fn numbered(prefix: &str, numbers: impl Iterator<Item = u32>) -> Vec<u8> {
    numbers.flat_map(|n| format!("{prefix}{n}\n").into_bytes()).collect()
}
