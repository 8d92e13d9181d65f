//! The messages between the daemon and a container's shim.
//!
//! Transport: a `SOCK_SEQPACKET` unix socket in the container's state directory, so that a message
//! is a packet, descriptors travel with it, and a new daemon finds an old shim again. The daemon
//! makes the listening socket and hands it to the shim at spawn. Encoding: postcard, preceded by
//! one version byte; variants are only ever appended.
//!
//! Big things (plans, seccomp programs) never travel in a message but in sealed memfds.
//!
//! Files in the state directory: `shim.sock` (the socket), `shim.pid` (the shim's pid and start
//! time, written by the daemon after the spawn), `exit` (an encoded [`Exit`], written by rename
//! before the shim ends; only if the program had run).

pub mod codec;
pub mod transport;

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// First byte of every packet.
pub const PROTOCOL_VERSION: u8 = 1;
/// Largest packet either side sends.
pub const MAX_PACKET: usize = 64 * 1024;

/// Descriptor numbers a freshly spawned shim finds. 0, 1, 2 are `/dev/null`, `/dev/null` and the
/// daemon's log (a pipe or file; shim diagnostics).
pub mod spawn_fd {
    /// The listening control socket.
    pub const LISTENER: i32 = 3;
    /// A memfd with the encoded plan.
    pub const PLAN: i32 = 4;
    /// A memfd with the compiled seccomp program (`struct sock_filter[]`); empty means none.
    pub const SECCOMP: i32 = 5;
    /// First of the descriptors that are only held until the container ends: the log feed's two ends (sending,
    /// receiving) if the plan has one, then reserved host ports.
    pub const FIRST_HELD: i32 = 6;
}

/// Daemon to shim. Every request has an answer with its `id`, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the daemon, echoed in the answer.
    pub id: u32,
    /// What to do.
    pub body: RequestBody,
}

/// The verbs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// What is the state? Answered by [`Answer::Status`].
    Status,
    /// The network is attached: configure the container's side and run the process.
    /// The payload is an encoded `gantry_runtime::spec::ContainerNet`.
    Go {
        /// postcard of `ContainerNet`.
        net: Vec<u8>,
    },
    /// Run a process in the container. Descriptors: the plan memfd (an encoded `ProcessSpec`), then
    /// for a process without terminal its stdin, stdout and stderr. With a terminal the answer
    /// [`Answer::Exec`] carries the pty master. The answer comes when the program runs or failed to.
    Exec {
        /// The exec's id, 64 hex digits.
        exec_id: String,
    },
    /// Send a signal.
    Signal {
        /// To whom.
        target: Target,
        /// The number.
        signal: i32,
    },
    /// Set a terminal's size.
    Resize {
        /// Whose; only the init process' (an exec's pty master is with the daemon).
        rows: u16,
        /// Columns.
        cols: u16,
    },
    /// Attach a client to the init process. Descriptor: one end of a stream socket pair. The shim
    /// writes output to it from now on, multiplexed in Docker's frames without a terminal and raw
    /// with one, and reads the client's input from it if `stdin`. The client's end of input (a half-close)
    /// closes the container's stdin if it is `stdin_once` and no terminal; otherwise it ends the attachment,
    /// as in Docker. Without `open_stdin` input is not read. End of the container's output: the shim
    /// shuts the socket down. A client that does not read stops the container's output (as a pipe would).
    Attach {
        /// Forward input.
        stdin: bool,
        /// Send standard output.
        stdout: bool,
        /// Send standard error.
        stderr: bool,
    },
    /// Close the container's stdin.
    CloseStdin,
    /// Give out the end of the log feed that a log driver reads from: the descriptor comes with [`Answer::Done`].
    LogFeed,
    /// Hold more ports, whose bound sockets come along, and serve some of them from the next [`Forward`](Self::Forward) on.
    Hold {
        /// postcard of `gantry_runtime::spec::Holding`.
        holding: Vec<u8>,
    },
    /// Carry the plan's `forwards` to this address from now on, or nowhere. May be said again at any time.
    Forward {
        /// Where to.
        to: Option<IpAddr>,
        /// The addresses that the container has: connections to others end, those to these go on.
        alive: Vec<IpAddr>,
    },
}

/// Whom a signal reaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The container's init process.
    Init,
    /// Every process in the container's cgroup.
    All,
    /// An exec's process.
    Exec(String),
}

/// Shim to daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The answer to the request with that id.
    Answer {
        /// [`Request::id`].
        id: u32,
        /// The answer.
        answer: Answer,
    },
    /// Something happened. Sent to every connected daemon.
    Event(Event),
}

/// Answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// Refused or failed.
    Failed(Failure),
    /// To [`RequestBody::Status`].
    Status(Status),
    /// To [`RequestBody::Exec`]: it runs. With a terminal, the pty master is attached.
    Exec {
        /// Pid in the daemon's pid namespace.
        pid: u32,
    },
}

/// Where the container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Phase.
    pub phase: Phase,
    /// Running execs: (id, pid). At most 800, which is what fits; the end of any other is still announced.
    pub execs: Vec<(String, u32)>,
}

/// Phases of a shim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The child exists and sets the container up; it may wait for [`RequestBody::Go`].
    Setup {
        /// Pid of the init process.
        pid: u32,
    },
    /// The program runs.
    Running {
        /// Pid of the init process.
        pid: u32,
        /// When it was executed, nanoseconds since the epoch.
        started_at: i64,
    },
    /// It ended.
    Exited(Exit),
}

/// Events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// The init process is cloned; its netns exists. A descriptor of the netns is attached, unless the
    /// process has ended already (which one that waits for [`RequestBody::Go`] does only when killed).
    /// Sent again to every daemon that connects while the container sets itself up.
    Created {
        /// Pid of the init process.
        pid: u32,
    },
    /// The program was executed.
    Started {
        /// Pid of the init process.
        pid: u32,
        /// When, nanoseconds since the epoch.
        started_at: i64,
    },
    /// The container could not be started; the shim has cleaned up and ends.
    StartFailed(Failure),
    /// The init process ended, its output is in the log, the cgroup is gone; the shim ends.
    Exited(Exit),
    /// An exec ended.
    ExecExited {
        /// The exec's id.
        exec_id: String,
        /// 0 to 255; 128 + n for a signal n.
        code: u8,
    },
    /// The kernel killed a process of the container for lack of memory.
    OutOfMemory,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 + n for a signal n.
    pub code: u8,
    /// Whether the kernel's out-of-memory killer struck in its cgroup.
    pub oom_killed: bool,
    /// Nanoseconds since the epoch.
    pub finished_at: i64,
    /// When it was started, nanoseconds since the epoch.
    pub started_at: i64,
}

/// Message of the failure of a start that was killed before it failed by itself.
pub const KILLED_IN_SETUP: &str = "the container was killed during its set-up";

/// Why something failed, for the API's error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which step.
    pub stage: Stage,
    /// errno, 0 when there is none.
    pub errno: i32,
    /// What a person reads.
    pub message: String,
}

/// Steps that fail in ways that the API tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The shim itself, cgroups, namespaces.
    Setup,
    /// A mount.
    Mount,
    /// The user or a group was not found (400/500 with Docker's wording).
    User,
    /// The working directory.
    WorkingDir,
    /// The program is not there (127).
    NotFound,
    /// The program cannot be executed (126).
    NotExecutable,
    /// The container is not in a state for this.
    State,
}
