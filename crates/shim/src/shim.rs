//! The container's life, from its set-up to its end: one loop, one thread.

use crate::clients::Clients;
use crate::connections::Connections;
use crate::diagnostics::say;
use crate::execs::{Execs, Outcome};
use crate::exit::{reap, write_exit_file};
use crate::farewell::{Ending, Farewell};
use crate::forwarding::Forwarding;
use crate::log::{Log, now};
use crate::plan::PlanFiles;
use crate::poller::{Interest, Poller, Token, Watched};
use crate::scratch::Scratch;
use crate::stdio::{Output, Stdio};
use gantry_container_logs::Stream;
use gantry_linux::process::pidfd_kill;
use gantry_runtime::cgroup::{Cgroup, CgroupRoot};
use gantry_runtime::container::{self, Child, Report, StdioFds};
use gantry_runtime::failure::{Failure, OrFail, Result, Stage};
use gantry_runtime::oci;
use gantry_runtime::spec::{Namespace, OciRuntime, Plan};
use gantry_shim_protocol::{Answer, Event, Exit, KILLED_IN_SETUP, Message, RequestBody};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Buffers are given back when nothing has happened for so long.
const IDLE: Duration = Duration::from_millis(200);
/// A container in its set-up whose daemon has died is given up after so long: the next daemon would
/// only kill it.
const UNATTENDED_SETUP: Duration = Duration::from_secs(60);

/// More than any pipe holds.
const LAST_WORDS: usize = 32 << 20;

/// Where the init process is.
#[derive(Debug)]
pub(crate) enum Init {
    /// It sets itself up.
    Setup {
        child: Box<Child>,
        report: Watched,
        /// It waits for the daemon's word.
        waits: bool,
        /// It has reported this and is about to end.
        failure: Option<Failure>,
    },
    /// Another runtime has set it up; it waits for the daemon's word.
    Created {
        pid: u32,
        /// It could not be started and is about to end.
        failure: Option<Failure>,
    },
    /// The program runs.
    Running { pid: u32, started_at: i64 },
}

/// A container with everything that belongs to it.
#[derive(Debug)]
pub(crate) struct Shim {
    pub(crate) poller: Rc<Poller>,
    pub(crate) files: PlanFiles,
    pub(crate) connections: Connections,
    pub(crate) clients: Clients,
    pub(crate) execs: Execs,
    pub(crate) stdio: Stdio,
    pub(crate) init: Init,
    /// The init process' pidfd.
    pub(crate) end: Watched,
    pub(crate) cgroup: Cgroup,
    /// Close stdin when a client has no more input.
    pub(crate) stdin_once: bool,
    /// Other processes survive init: it has no pid namespace of its own.
    dies_alone: bool,
    /// Another runtime runs it.
    pub(crate) by_another: bool,
    pub(crate) log: Log,
    pub(crate) forwarding: Forwarding,
    scratch: Scratch,
    state_dir: PathBuf,
    out_of_memory: Option<Watched>,
    oom_kills: u64,
    /// For the daemon, which finds it among this process' descriptors.
    mounts: Option<OwnedFd>,
    /// When the daemon was seen to be gone.
    unattended: Option<Instant>,
}

impl Init {
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Setup { child, .. } => child.pid(),
            Self::Created { pid, .. } | Self::Running { pid, .. } => *pid,
        }
    }

    /// Its network namespace.
    pub(crate) fn netns(&self) -> Option<OwnedFd> {
        // The pid cannot be recycled: the process is a child that is not reaped.
        File::open(format!("/proc/{}/ns/net", self.pid())).ok().map(Into::into)
    }
}

/// A container whose init process is cloned.
#[derive(Debug)]
pub(crate) struct Created {
    init: Init,
    stdio: Stdio,
    log: Log,
    forwarding: Forwarding,
    end: Watched,
    mounts: Option<OwnedFd>,
}

/// Opens the log and clones the container's init process. On failure nothing of the container is left.
pub(crate) fn create(plan: &Plan, files: &PlanFiles, held: &mut Vec<OwnedFd>, poller: &Rc<Poller>) -> Result<Created> {
    let log = Log::open(&plan.log, held, poller).map_err(|e| Failure::new(Stage::Setup, e.to_string()))?;
    let forwarding = Forwarding::take(plan, held);
    let seccomp = if plan.process.seccomp {
        files.seccomp().or_fail(Stage::Setup, || "read the seccomp filter")?
    } else {
        Vec::new()
    };
    let (mut stdio, theirs) = Stdio::new(plan).or_fail(Stage::Setup, || "make the container's stdio")?;
    if let Some(oci) = &plan.oci {
        let (init, end) = create_by(oci, plan, &mut stdio, &theirs, poller)?;
        return Ok(Created { init, stdio, log, forwarding, end, mounts: None });
    }
    let mut child = container::create(plan, &seccomp, theirs)?;
    let mounts = child.take_mounts();
    match watch(&child, poller) {
        Ok((report, end)) => {
            let init = Init::Setup { child: Box::new(child), report, waits: plan.wait_for_network, failure: None };
            Ok(Created { init, stdio, log, forwarding, end, mounts })
        }
        Err(e) => {
            let _ = pidfd_kill(child.pidfd(), libc::SIGKILL);
            let _ = reap(child.pidfd());
            let _ = find_cgroup(plan).end();
            Err(Failure::os(Stage::Setup, "watch the container", &e))
        }
    }
}

/// Has another runtime create it.
fn create_by(
    oci: &OciRuntime,
    plan: &Plan,
    stdio: &mut Stdio,
    theirs: &StdioFds,
    poller: &Poller,
) -> Result<(Init, Watched)> {
    let mut create = || -> Result<(u32, Watched)> {
        oci::mount_root(plan, oci)?;
        let started = oci::create(plan, oci, theirs)?;
        let watch = || -> io::Result<Watched> {
            if let Some(master) = started.terminal {
                stdio.set_terminal(master)?;
            }
            let mut end = Watched::new(started.pidfd, Token::InitEnd);
            end.want(poller, Interest::Read)?;
            Ok(end)
        };
        watch().map(|end| (started.pid, end)).or_fail(Stage::Setup, || "watch the container")
    };
    let created = create();
    oci::rest();
    match created {
        Ok((pid, end)) => Ok((Init::Created { pid, failure: None }, end)),
        Err(failure) => {
            end_by(oci, plan);
            let _ = find_cgroup(plan).end();
            Err(failure)
        }
    }
}

/// Has the other runtime forget the container.
fn end_by(oci: &OciRuntime, plan: &Plan) {
    if let Err(failure) = oci::delete(plan, oci) {
        say(&format!("the runtime does not delete the container: {failure}"));
    }
    oci::rest();
}

fn watch(child: &Child, poller: &Poller) -> io::Result<(Watched, Watched)> {
    let mut report = Watched::new(child.events_fd().try_clone_to_owned()?, Token::InitReport);
    let mut end = Watched::new(child.pidfd().try_clone_to_owned()?, Token::InitEnd);
    report.want(poller, Interest::Read)?;
    end.want(poller, Interest::Read)?;
    Ok((report, end))
}

fn find_cgroup(plan: &Plan) -> Cgroup {
    let root = CgroupRoot::detect().unwrap_or_else(|e| {
        say(&format!("the cgroup hierarchies are not found: {e}"));
        CgroupRoot::default()
    });
    root.cgroup(&plan.cgroup.path)
}

fn watch_memory(cgroup: &Cgroup, poller: &Poller) -> io::Result<Option<Watched>> {
    let mut events = cgroup.oom_events()?.map(|fd| Watched::new(fd, Token::OutOfMemory));
    if let Some(events) = &mut events {
        events.want(poller, Interest::Read)?;
    }
    Ok(events)
}

impl Shim {
    pub(crate) fn new(
        plan: &Plan,
        files: PlanFiles,
        poller: Rc<Poller>,
        mut connections: Connections,
        created: Created,
    ) -> Self {
        let Created { init, stdio, log, forwarding, end, mounts } = created;
        // The daemon attaches the network while the child sets up the rest, so it hears first.
        let (pid, netns) = (init.pid(), init.netns());
        connections.announce(Event::Created { pid }, netns.as_ref().map(AsFd::as_fd), &poller);
        connections.accept(&poller);
        let cgroup = find_cgroup(plan);
        let out_of_memory = watch_memory(&cgroup, &poller).unwrap_or_else(|e| {
            say(&format!("kills for lack of memory are not noticed: {e}"));
            None
        });
        Self {
            poller,
            files,
            connections,
            clients: Clients::default(),
            execs: Execs::default(),
            stdio,
            init,
            end,
            cgroup,
            stdin_once: plan.stdio.stdin_once,
            by_another: plan.oci.is_some(),
            dies_alone: plan.namespaces.pid != Namespace::New,
            log,
            forwarding,
            scratch: Scratch::default(),
            state_dir: plan.state_dir.clone(),
            out_of_memory,
            oom_kills: 0,
            mounts,
            unattended: None,
        }
    }

    /// Serves the container until its init process has ended.
    pub(crate) fn run(mut self) -> Farewell {
        loop {
            self.update();
            let ready = match self.poller.wait(self.timeout()) {
                Ok(ready) => ready,
                Err(e) => {
                    // Cannot happen; without events there is only an orderly end.
                    say(&format!("epoll: {e}"));
                    let _ = pidfd_kill(self.end.as_fd(), libc::SIGKILL);
                    return self.end();
                }
            };
            if ready.is_empty() {
                self.time_is_up();
            }
            let mut ended = false;
            for (token, hung_up) in ready.events() {
                ended |= token == Token::InitEnd;
                self.handle(token, hung_up);
            }
            if ended {
                return self.end();
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let idle = self.scratch.is_held().then_some(IDLE);
        let setup = self.unattended.map(|since| UNATTENDED_SETUP.saturating_sub(since.elapsed()));
        [idle, setup, self.forwarding.rest()].into_iter().flatten().min()
    }

    fn time_is_up(&mut self) {
        self.scratch.release();
        self.log.release_buffers();
        if self.unattended.is_some_and(|since| since.elapsed() >= UNATTENDED_SETUP) {
            let _ = pidfd_kill(self.end.as_fd(), libc::SIGKILL);
        }
    }

    /// Before waiting: what is each descriptor waited for?
    fn update(&mut self) {
        let waiting = matches!(self.init, Init::Setup { .. } | Init::Created { .. }) && !self.connections.is_attended();
        self.unattended = if waiting { self.unattended.or_else(|| Some(Instant::now())) } else { None };
        self.clients.update(self.stdio.takes_input(), &self.poller);
        self.log.update(&self.poller);
        self.forwarding.update(&self.poller);
        let read = !self.clients.is_congested() && !self.log.is_congested();
        if let Err(e) = self.stdio.update(read, &self.poller) {
            say(&format!("waiting for the container's output: {e}"));
        }
    }

    fn handle(&mut self, token: Token, hung_up: bool) {
        match token {
            Token::Listener => self.accept(),
            Token::Connection(id) => {
                self.connections.flush(id, &self.poller);
                self.serve(id);
            }
            Token::InitReport => _ = self.report(),
            // Handled last: what else is ready comes first.
            Token::InitEnd => {}
            Token::Stdout | Token::Stderr | Token::Terminal => _ = self.output(token),
            Token::Stdin => self.stdio.flush_input(),
            Token::Client(id) => self.client(id, hung_up),
            Token::ExecReport(number) => self.exec_report(number),
            Token::ExecEnd(number) => self.exec_end(number),
            Token::OutOfMemory => self.out_of_memory(),
            Token::Compressor => self.log.reap_compressor(),
            Token::Feed => self.log.flush_feed(),
            Token::Port(_) => self.forwarding.serve(&self.poller),
            Token::ForwarderEnd(number) => self.forwarding.ended(number, &self.poller),
        }
    }

    fn accept(&mut self) {
        for id in self.connections.accept(&self.poller) {
            // A daemon that comes during the set-up may have to attach the network.
            if let Init::Setup { .. } | Init::Created { .. } = &self.init {
                let message = Message::Event(Event::Created { pid: self.init.pid() });
                let netns = self.init.netns().into_iter().collect();
                self.connections.send(id, &message, netns, &self.poller);
            }
        }
    }

    /// Answers every request that a connection has.
    fn serve(&mut self, id: u32) {
        let mut buf = self.scratch.take();
        while let Some((request, fds)) = self.connections.receive(id, &mut buf, &self.poller) {
            let feed = matches!(request.body, RequestBody::LogFeed);
            if let Some(answer) = self.request(id, request.id, request.body, fds) {
                let message = Message::Answer { id: request.id, answer };
                let fds = self.log.feed_end().filter(|_| feed).map(|end| end.try_clone_to_owned());
                self.connections.send(id, &message, fds.into_iter().flatten().collect(), &self.poller);
            }
        }
        self.scratch.back(buf);
    }

    /// Takes a report of the init process; false when there are no more.
    fn report(&mut self) -> bool {
        let Init::Setup { child, failure, waits, report } = &mut self.init else { return false };
        if failure.is_some() {
            return false;
        }
        match child.read_report() {
            Ok(Report::Pty(master)) => {
                if let Err(e) = self.stdio.set_terminal(master) {
                    say(&format!("the container's terminal: {e}"));
                }
                return true;
            }
            Ok(Report::Executed) if !*waits => {
                let (pid, started_at) = (child.pid(), now());
                self.init = Init::Running { pid, started_at };
                self.connections.announce(Event::Started { pid, started_at }, None, &self.poller);
                return false;
            }
            // Without the word it cannot have executed anything: it was killed.
            Ok(Report::Executed) => {
                *failure = Some(Failure::new(Stage::Setup, KILLED_IN_SETUP));
            }
            Ok(Report::Failed(why)) => *failure = Some(why),
            Err(e) => *failure = Some(Failure::os(Stage::Setup, "read the report of the init process", &e)),
        }
        let _ = report.want(&self.poller, Interest::Off);
        false
    }

    /// Logs what an output has, and then gives it to the clients: how much that is.
    fn output(&mut self, token: Token) -> usize {
        let stream = if token == Token::Stderr { Stream::Stderr } else { Stream::Stdout };
        let mut buf = self.scratch.take();
        let read = self.stdio.read(token, &mut buf);
        match read {
            Output::Data(len) => {
                self.log.write(stream, &buf[..len]);
                self.clients.send(stream, &buf[..len], !self.stdio.has_terminal());
            }
            Output::Nothing => {}
            Output::End => {
                self.log.end(stream);
                self.stdio.close_output(token);
            }
        }
        self.scratch.back(buf);
        if let Output::Data(len) = read { len } else { 0 }
    }

    fn client(&mut self, id: u32, hung_up: bool) {
        self.clients.flush(id);
        if hung_up {
            self.clients.hang_up(id);
        }
        if !self.stdio.takes_input() {
            return;
        }
        let mut buf = self.scratch.take();
        match self.clients.read(id, &mut buf) {
            None => {}
            // As Docker does: the end of the input ends the container's, if it was made for one
            // input; otherwise it only ends the attachment.
            Some([]) if self.stdin_once && !self.stdio.has_terminal() => {
                self.stdio.close_input();
                self.clients.end_input(id);
            }
            Some([]) => self.clients.leave(id),
            Some(bytes) => self.stdio.write(bytes),
        }
        self.scratch.back(buf);
    }

    fn exec_report(&mut self, number: u32) {
        let Some(Outcome { asker, result }) = self.execs.report(number, &self.poller) else { return };
        let (answer, terminal) = match result {
            Ok((pid, terminal)) => (Answer::Exec { pid }, terminal),
            Err(failure) => (Answer::Failed(crate::requests::failure(failure)), None),
        };
        let message = Message::Answer { id: asker.request, answer };
        self.connections.send(asker.connection, &message, terminal.into_iter().collect(), &self.poller);
    }

    fn exec_end(&mut self, number: u32) {
        // The answer comes before the end, even if both are there at once.
        while self.execs.is_starting(number) {
            self.exec_report(number);
        }
        if let Some((exec_id, code)) = self.execs.end(number) {
            self.connections.announce(Event::ExecExited { exec_id, code }, None, &self.poller);
        }
    }

    fn out_of_memory(&mut self) {
        if let Some(events) = &self.out_of_memory {
            let _ = rustix::io::read(events, &mut [0; 4096][..]);
        }
        let kills = self.cgroup.oom_kills().unwrap_or(0);
        if kills > self.oom_kills {
            self.oom_kills = kills;
            self.connections.announce(Event::OutOfMemory, None, &self.poller);
        }
    }

    /// The init process has ended: nothing of the container stays but its log and its exit status.
    fn end(mut self) -> Farewell {
        while self.report() {}
        // The next run may mount the same layer.
        self.mounts = None;
        let code = reap(self.end.as_fd()).unwrap_or(255);
        let finished_at = now();
        self.out_of_memory();
        if self.dies_alone {
            let _ = self.cgroup.kill_all();
        }
        for number in self.execs.numbers() {
            self.exec_end(number);
        }
        for (token, stream) in self.stdio.outputs() {
            // What the pipe holds, and no more: somebody who escaped from the cgroup may still write.
            let mut budget = LAST_WORDS;
            while budget > 0 {
                match self.output(token) {
                    0 => break,
                    len => budget = budget.saturating_sub(len),
                }
            }
            self.log.end(stream);
        }
        self.log.finish();
        if self.by_another
            && let Ok(plan) = self.files.plan()
            && let Some(oci) = &plan.oci
        {
            end_by(oci, &plan);
        }
        self.forwarding.end();
        if let Err(e) = self.cgroup.end() {
            say(&format!("the cgroup is left behind: {e}"));
        }
        let ending = match self.init {
            Init::Setup { failure, .. } | Init::Created { failure, .. } => {
                let killed = || Failure::new(Stage::Setup, KILLED_IN_SETUP);
                Ending::NotStarted(crate::requests::failure(failure.unwrap_or_else(killed)))
            }
            Init::Running { started_at, .. } => {
                let exit = Exit { code, oom_killed: self.oom_kills > 0, finished_at, started_at };
                if let Err(e) = write_exit_file(&self.state_dir, &exit) {
                    say(&format!("the exit status is not written: {e}"));
                }
                Ending::Exited(exit)
            }
        };
        Farewell { poller: self.poller, connections: self.connections, clients: self.clients, ending }
    }
}
