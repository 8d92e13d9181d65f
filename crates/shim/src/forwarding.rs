//! Ports of the host that the kernel cannot lead to the container: they are carried there by a child.
//!
//! The sockets are there anyway, because they keep other programs from the ports. The shim only waits for something to
//! come to one of them. Then it clones itself, and the child serves all of them, until there has been nothing to do for
//! a while. So a port that nobody uses costs nothing, and the shim itself never carries a byte.

use crate::diagnostics::say;
use crate::poller::{Interest, Poller, Token, Watched};
use gantry_forwarder::{END, Kind, LEAVE, Limits, Port};
use gantry_linux::datagrams;
use gantry_linux::descriptors::close_from_but;
use gantry_linux::process::{clone_child, pidfd_kill};
use gantry_linux::seccomp;
use gantry_runtime::spec::{Forward, Holding, Plan};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_reuseaddr, socket_type};
use rustix::net::{Shutdown, SocketType, listen, shutdown};
use rustix::process::{Resource, Rlimit, Signal, WaitId, WaitIdOptions};
use rustix::process::{getppid, getrlimit, set_parent_process_death_signal, setrlimit, waitid};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Connections that may wait; the kernel's own limit is usually the same.
const BACKLOG: i32 = 4096;
/// A child that fails sooner is not followed by another at once.
const TOO_SOON: Duration = Duration::from_secs(1);
/// A child that has nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(30);
/// Children that only have connections left to addresses that are not where new ones go.
const MAX_LEAVING: usize = 8;
/// What a child needs to hand on the last words of a container. It waits for nobody.
const LAST_WORDS: Duration = Duration::from_secs(1);

const MAX_CONNECTIONS: usize = 16_384;
const MAX_SESSIONS: usize = 4096;
/// Both sockets of a connection, and a pipe in each direction if both sides are slow.
const DESCRIPTORS: usize = 6;

/// A process that carries.
#[derive(Debug)]
struct Forwarder {
    number: u32,
    target: IpAddr,
    end: Watched,
    orders: OwnedFd,
    since: Instant,
}

/// The ports, and who carries.
#[derive(Debug, Default)]
pub(crate) struct Forwarding {
    sockets: Vec<Watched>,
    forwards: Vec<Forward>,
    /// Those of datagrams that are only held, and others that came later.
    holders: Vec<OwnedFd>,
    /// The seccomp filter of those who carry.
    filter: Vec<u8>,
    target: Option<IpAddr>,
    /// The one that takes what comes.
    serving: Option<Forwarder>,
    /// Those that serve what they have.
    leaving: Vec<Forwarder>,
    next: u32,
    /// Nobody is started before that.
    rests: Option<Instant>,
}

impl Forwarding {
    /// Takes the sockets that hold ports, some of which are to be served.
    pub(crate) fn take(plan: &Plan, held: &mut Vec<OwnedFd>) -> Self {
        let mut all: Vec<Option<OwnedFd>> = std::mem::take(held).into_iter().map(Some).collect();
        let mut forwarding = Self { filter: plan.carrier_filter.clone(), ..Self::default() };
        forwarding.take_served(&plan.forwards, &mut all);
        (forwarding.holders, *held) = all.into_iter().flatten().partition(is_of_datagrams);
        forwarding.hear_datagrams(false);
        forwarding
    }

    fn take_served(&mut self, forwards: &[Forward], all: &mut [Option<OwnedFd>]) {
        for forward in forwards {
            let Some(socket) = all.get_mut(forward.holder as usize).and_then(Option::take) else { continue };
            let token = Token::Port(self.sockets.len() as u32);
            self.sockets.push(Watched::new(socket, token));
            self.forwards.push(*forward);
        }
    }

    /// Holds more of them. They lead nowhere, as all do, until [`lead`](Self::lead) is called.
    pub(crate) fn hold(&mut self, holding: Holding, sockets: Vec<OwnedFd>) -> io::Result<()> {
        if self.target.is_some() {
            // Who carries has not got them, and sees where they lead once.
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut all: Vec<Option<OwnedFd>> = sockets.into_iter().map(Some).collect();
        self.take_served(&holding.forwards, &mut all);
        self.holders.extend(all.into_iter().flatten());
        if !holding.carrier_filter.is_empty() {
            self.filter = holding.carrier_filter;
        }
        self.hear_datagrams(false);
        Ok(())
    }

    /// Leads the ports elsewhere. Connections to an address that the container still has go on.
    pub(crate) fn lead(&mut self, to: Option<IpAddr>, alive: &[IpAddr], poller: &Poller) -> io::Result<()> {
        let (stay, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(|forwarder| alive.contains(&forwarder.target));
        self.leaving = stay;
        go.into_iter().for_each(Forwarder::kill);
        if let Some(serving) = self.serving.take_if(|serving| Some(serving.target) != to) {
            if alive.contains(&serving.target) { self.leave(serving) } else { serving.kill() }
        }
        if self.target.is_some() != to.is_some() {
            self.open_or_close(to.is_some())?;
        }
        self.hear_datagrams(to.is_some());
        self.target = to;
        self.watch(poller);
        Ok(())
    }

    fn leave(&mut self, forwarder: Forwarder) {
        if self.leaving.len() >= MAX_LEAVING {
            self.leaving.remove(0).kill();
        }
        forwarder.order(LEAVE);
        self.leaving.push(forwarder);
    }

    /// Streams are refused as long as they lead nowhere.
    fn open_or_close(&self, open: bool) -> io::Result<()> {
        let streams = self.sockets.iter().zip(&self.forwards).filter(|(_, forward)| !forward.datagrams);
        for (socket, _) in streams {
            // What earlier connections have left behind is in nobody's way as long as this is set on both sides, and what
            // keeps others from the port is that it listens, or that it is not set.
            set_socket_reuseaddr(socket, open)?;
            if open {
                listen(socket, BACKLOG)?;
            } else {
                shutdown(socket, Shutdown::Both)?;
            }
        }
        self.sockets.iter().try_for_each(|socket| Ok(rustix::io::ioctl_fionbio(socket, true)?))
    }

    /// So are datagrams, also where the kernel would lead them: an answer that nobody is there spares clients a wait.
    fn hear_datagrams(&self, whether: bool) {
        let all = self.sockets.iter().zip(&self.forwards);
        let served = all.filter(|(_, forward)| forward.datagrams).map(|(socket, _)| socket.as_fd());
        let held = self.holders.iter().filter(|fd| is_of_datagrams(fd)).map(AsFd::as_fd);
        for socket in served.chain(held) {
            if let Err(e) = datagrams::hear(socket, whether) {
                say(&format!("datagrams to a published port: {e}"));
            }
        }
    }

    /// Waits for somebody to come, if nobody does.
    fn watch(&mut self, poller: &Poller) {
        let wanted = self.target.is_some() && self.serving.is_none() && self.rests.is_none();
        let interest = if wanted { Interest::Read } else { Interest::Off };
        for socket in &mut self.sockets {
            if let Err(e) = socket.want(poller, interest) {
                say(&format!("waiting for connections to a published port: {e}"));
            }
        }
    }

    /// How long nobody is to be started.
    pub(crate) fn rest(&self) -> Option<Duration> {
        self.rests.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Goes on after a rest.
    pub(crate) fn update(&mut self, poller: &Poller) {
        if self.rests.is_some_and(|until| until <= Instant::now()) {
            self.rests = None;
            self.watch(poller);
        }
    }

    /// Somebody has come.
    pub(crate) fn serve(&mut self, poller: &Poller) {
        let (Some(target), None, None) = (self.target, &self.serving, self.rests) else { return };
        match self.start(target, poller) {
            Ok(forwarder) => self.serving = Some(forwarder),
            Err(e) => {
                say(&format!("published ports are not served: {e}"));
                self.rests = Some(Instant::now() + TOO_SOON);
            }
        }
        self.watch(poller);
    }

    fn start(&mut self, target: IpAddr, poller: &Poller) -> io::Result<Forwarder> {
        let (theirs, orders) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let parent = rustix::process::getpid();
        let child = clone_child(0, None, || {
            let prepared = prepare(&self.sockets, &self.filter, &theirs, parent);
            match prepared.and_then(|limits| self.carry(target, theirs, limits)) {
                Ok(()) => 0,
                Err(e) => {
                    say(&format!("published ports are not served: {e}"));
                    1
                }
            }
        })?;
        self.next = self.next.wrapping_add(1);
        let mut end = Watched::new(child.pidfd, Token::ForwarderEnd(self.next));
        end.want(poller, Interest::Read).inspect_err(|_| _ = pidfd_kill(end.as_fd(), libc::SIGKILL))?;
        Ok(Forwarder { number: self.next, target, end, orders, since: Instant::now() })
    }

    /// In the child.
    fn carry(&self, target: IpAddr, orders: OwnedFd, limits: Limits) -> io::Result<()> {
        let kind = |datagrams| if datagrams { Kind::Datagram } else { Kind::Stream };
        let ports: Vec<_> = self
            .sockets
            .iter()
            .zip(&self.forwards)
            .map(|(socket, forward)| Port { socket: socket.as_fd(), kind: kind(forward.datagrams), port: forward.port })
            .collect();
        gantry_forwarder::run(&ports, target, orders, limits)
    }

    /// A child has ended.
    pub(crate) fn ended(&mut self, number: u32, poller: &Poller) {
        if let Some(forwarder) = self.serving.take_if(|forwarder| forwarder.number == number) {
            let soon = forwarder.since.elapsed() < TOO_SOON;
            if !forwarder.reap() && soon {
                self.rests = Some(Instant::now() + TOO_SOON);
            }
            return self.watch(poller);
        }
        if let Some(at) = self.leaving.iter().position(|forwarder| forwarder.number == number) {
            self.leaving.remove(at).reap();
        }
    }

    /// The container has ended. What it has said is handed on as far as clients take it, and the ports are free.
    pub(crate) fn end(&mut self) {
        let all: Vec<_> = self.leaving.drain(..).chain(self.serving.take()).collect();
        for forwarder in &all {
            forwarder.order(END);
        }
        all.into_iter().for_each(Forwarder::finish);
        self.sockets = Vec::new();
        self.holders = Vec::new();
        self.target = None;
    }
}

impl Forwarder {
    /// One that has just ended takes none.
    fn order(&self, order: u8) {
        let _ = rustix::io::write(&self.orders, &[order]);
    }

    /// Whether it had ended by itself, and well.
    fn reap(self) -> bool {
        let status = waitid(WaitId::PidFd(self.end.as_fd()), WaitIdOptions::EXITED);
        status.is_ok_and(|status| status.is_some_and(|status| status.exit_status() == Some(0)))
    }

    fn kill(self) {
        let _ = pidfd_kill(self.end.as_fd(), libc::SIGKILL);
        self.reap();
    }

    /// Gives it the time that it needs, unless somebody holds it.
    fn finish(self) {
        let patience = Timespec { tv_sec: LAST_WORDS.as_secs() as i64, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&self.end, PollFlags::IN)], Some(&patience));
        self.kill();
    }
}

fn is_of_datagrams(fd: &OwnedFd) -> bool {
    socket_type(fd) == Ok(SocketType::DGRAM)
}

/// In the child: it ends with the shim, and has nothing that it does not need.
fn prepare(sockets: &[Watched], filter: &[u8], orders: &OwnedFd, parent: rustix::process::Pid) -> io::Result<Limits> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() != Some(parent) {
        return Err(io::Error::other("the shim has ended"));
    }
    let mut kept: Vec<_> = sockets.iter().map(|socket| socket.as_fd().as_raw_fd()).collect();
    kept.push(orders.as_raw_fd());
    close_from_but(3, &mut kept)?;
    rustix::thread::set_name(c"gantry-port")?;
    // The shim is protected for the container's sake. This one may go: the shim makes another.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    let wanted = MAX_CONNECTIONS * DESCRIPTORS + MAX_SESSIONS + kept.len() + 64;
    let descriptors = raise_descriptors(wanted as u64) as usize;
    rustix::thread::set_no_new_privs(true)?;
    let none = rustix::thread::CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    let left = descriptors.saturating_sub(kept.len() + 64);
    let sessions = MAX_SESSIONS.min(left / 4);
    if !filter.is_empty() {
        match seccomp::load(filter) {
            // A kernel without filters.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {}
            loaded => loaded?,
        }
    }
    Ok(Limits { connections: MAX_CONNECTIONS.min((left - sessions) / DESCRIPTORS), sessions, idle: IDLE })
}

/// As many as are wanted, or else as many as may be: how many that is.
fn raise_descriptors(wanted: u64) -> u64 {
    let had = getrlimit(Resource::Nofile);
    for limit in [wanted, had.maximum.unwrap_or(wanted).min(wanted)] {
        let maximum = had.maximum.map(|hard| hard.max(limit));
        if setrlimit(Resource::Nofile, Rlimit { current: Some(limit), maximum }).is_ok() {
            return limit;
        }
    }
    had.current.unwrap_or(wanted).min(wanted)
}
