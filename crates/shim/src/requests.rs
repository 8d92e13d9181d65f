//! What the daemon asks for.

use crate::clients::{Wish, prepare};
use crate::execs::{self, Asker};
use crate::log::now;
use crate::shim::{Init, Shim};
use gantry_linux::process::pidfd_kill;
use gantry_runtime::failure::{self, Failure, Stage};
use gantry_runtime::oci;
use gantry_runtime::spec::{self, ContainerNet, Holding};
use gantry_shim_protocol::{self as protocol, Answer, Event, Phase, RequestBody, Status, Target};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// As many execs as fit into a [`Status`].
const MAX_LISTED_EXECS: usize = 800;

type Result<T = ()> = std::result::Result<T, Failure>;

impl Shim {
    /// Does what is asked; `None` if the answer comes later.
    pub(crate) fn request(&mut self, connection: u32, id: u32, body: RequestBody, fds: Vec<OwnedFd>) -> Option<Answer> {
        let done = match body {
            RequestBody::Status => return Some(Answer::Status(self.status())),
            RequestBody::Go { net } => self.go(&net),
            RequestBody::Exec { exec_id } => match self.exec(exec_id, fds, Asker { connection, request: id }) {
                Ok(()) => return None,
                Err(failure) => Err(failure),
            },
            RequestBody::Signal { target, signal } => self.signal(&target, signal),
            RequestBody::Resize { rows, cols } => self.resize(rows, cols),
            RequestBody::Attach { stdin, stdout, stderr } => self.attach(fds, Wish { stdin, stdout, stderr }),
            RequestBody::CloseStdin => {
                self.stdio.close_input();
                Ok(())
            }
            RequestBody::Hold { holding } => spec::decode::<Holding>(&holding)
                .and_then(|holding| self.forwarding.hold(holding, fds))
                .map_err(|e| Failure::os(Stage::Setup, "hold published ports", &e)),
            RequestBody::Forward { to, alive } => self
                .forwarding
                .lead(to, &alive, &self.poller)
                .map_err(|e| Failure::os(Stage::Setup, "serve published ports", &e)),
            // The descriptor goes with the answer.
            RequestBody::LogFeed if self.log.feed_end().is_some() => Ok(()),
            RequestBody::LogFeed => Err(Failure::new(Stage::State, "the container's output goes to no log driver")),
        };
        Some(done.map_or_else(|e| Answer::Failed(failure(e)), |()| Answer::Done))
    }

    fn status(&self) -> Status {
        let phase = match &self.init {
            Init::Setup { .. } | Init::Created { .. } => Phase::Setup { pid: self.init.pid() },
            Init::Running { pid, started_at } => Phase::Running { pid: *pid, started_at: *started_at },
        };
        Status { phase, execs: self.execs.list().take(MAX_LISTED_EXECS).collect() }
    }

    fn go(&mut self, net: &[u8]) -> Result {
        let net: ContainerNet = spec::decode(net).map_err(|e| Failure::os(Stage::Setup, "read the network", &e))?;
        if let Init::Created { pid, failure: None } = self.init {
            self.go_by_another(pid, &net);
            return Ok(());
        }
        let Init::Setup { child, waits: waits @ true, .. } = &mut self.init else {
            return Err(Failure::new(Stage::State, "the container does not wait for its network"));
        };
        child.go(&net).map_err(|e| Failure::os(Stage::State, "let the container run", &e))?;
        *waits = false;
        Ok(())
    }

    /// The network's other side, and the runtime's `start`. What fails ends the container, and is told when it has.
    fn go_by_another(&mut self, pid: u32, net: &ContainerNet) {
        let start = || -> Result {
            let plan = self.files.plan().map_err(|e| Failure::os(Stage::Setup, "read the plan", &e))?;
            let oci = plan.oci.as_ref().ok_or_else(|| Failure::new(Stage::Setup, "the plan names no runtime"))?;
            if plan.namespaces.net == spec::Namespace::New {
                let netns = self.init.netns().ok_or_else(|| Failure::new(Stage::State, "the container has ended"))?;
                oci::configure_network(netns.as_fd(), net)?;
            }
            oci::start(&plan, oci)
        };
        let started = start();
        oci::rest();
        match started {
            Ok(()) => {
                let started_at = now();
                self.init = Init::Running { pid, started_at };
                self.connections.announce(Event::Started { pid, started_at }, None, &self.poller);
            }
            Err(failure) => {
                self.init = Init::Created { pid, failure: Some(failure) };
                let _ = pidfd_kill(self.end.as_fd(), libc::SIGKILL);
            }
        }
    }

    fn exec(&mut self, exec_id: String, fds: Vec<OwnedFd>, asker: Asker) -> Result {
        let Init::Running { pid, .. } = self.init else {
            return Err(Failure::new(Stage::State, "the container is not running"));
        };
        if self.by_another {
            return self.execs.start_by_another(exec_id, fds, asker, &self.files, &self.poller);
        }
        let init = execs::Init { pid, pidfd: self.end.as_fd() };
        self.execs.start(exec_id, fds, asker, &self.files, &init, &self.poller)
    }

    fn signal(&mut self, target: &Target, signal: i32) -> Result {
        let sent = match target {
            Target::Init => pidfd_kill(self.end.as_fd(), signal),
            Target::All => self.cgroup.signal_all(signal),
            Target::Exec(id) => match self.execs.find(id) {
                Some(pidfd) => pidfd_kill(pidfd, signal),
                None => return Err(Failure::new(Stage::State, format!("exec {id} is not running"))),
            },
        };
        sent.map_err(|e| {
            let gone = e.raw_os_error() == Some(libc::ESRCH);
            Failure::os(if gone { Stage::State } else { Stage::Setup }, format!("send signal {signal}"), &e)
        })
    }

    fn resize(&mut self, rows: u16, cols: u16) -> Result {
        if !self.stdio.has_terminal() {
            return Err(Failure::new(Stage::State, "the container has no terminal"));
        }
        self.stdio.resize(rows, cols).map_err(|e| Failure::os(Stage::Setup, "resize the terminal", &e))
    }

    fn attach(&mut self, fds: Vec<OwnedFd>, mut wish: Wish) -> Result {
        let unusable = |e: io::Error| Failure::os(Stage::Setup, "attach", &e);
        let socket = fds.into_iter().next().ok_or_else(|| unusable(io::ErrorKind::InvalidInput.into()))?;
        prepare(&socket).map_err(unusable)?;
        wish.stdin &= self.stdio.has_input();
        self.clients.add(socket, wish);
        Ok(())
    }
}

/// The runtime's failure in the protocol's words.
pub(crate) fn failure(failure: Failure) -> protocol::Failure {
    let stage = match failure.stage {
        failure::Stage::Setup => protocol::Stage::Setup,
        failure::Stage::Mount => protocol::Stage::Mount,
        failure::Stage::User => protocol::Stage::User,
        failure::Stage::WorkingDir => protocol::Stage::WorkingDir,
        failure::Stage::NotFound => protocol::Stage::NotFound,
        failure::Stage::NotExecutable => protocol::Stage::NotExecutable,
        failure::Stage::State => protocol::Stage::State,
    };
    protocol::Failure { stage, errno: failure.errno, message: failure.message }
}
