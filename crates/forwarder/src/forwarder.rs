//! The loop.

use crate::datagrams::Sessions;
use crate::events::{About, Events, Ready};
use crate::stream::Which;
use crate::streams::Streams;
use crate::{Kind, LEAVE, Limits, Port};
use gantry_linux::datagrams::tell_destinations;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Whoever lacks descriptors or memory tries again after so long: nothing tells when there are some.
const LACK: Duration = Duration::from_secs(1);

/// Everything.
#[derive(Debug)]
pub(crate) struct Forwarder<'a> {
    ports: &'a [Port<'a>],
    orders: OwnedFd,
    limits: Limits,
    events: Events,
    streams: Streams,
    sessions: Sessions,
    listening: bool,
    /// There was a lack of something until then.
    lack: Option<Instant>,
    /// When sessions are looked at again.
    sweep: Option<Instant>,
    /// Since when there has been nothing to carry.
    idle: Option<Instant>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    /// Ends with the last connection.
    Leaving,
    /// Ends.
    Over,
}

impl<'a> Forwarder<'a> {
    pub(crate) fn new(ports: &'a [Port<'a>], target: IpAddr, orders: OwnedFd, limits: Limits) -> io::Result<Self> {
        let events = Events::new()?;
        events.watch_input(&orders, About::Orders)?;
        for (number, port) in of_kind(ports, Kind::Datagram) {
            tell_destinations(port.socket)?;
            events.watch_input(port.socket, About::Port(number))?;
        }
        Ok(Self {
            ports,
            orders,
            limits,
            events,
            streams: Streams::new(target, limits.connections.max(1)),
            sessions: Sessions::new(target, limits.sessions.max(1)),
            listening: false,
            lack: None,
            sweep: None,
            idle: None,
            state: State::Serving,
        })
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        loop {
            self.listen_or_not()?;
            let timeout = self.timeout();
            self.events.wait(timeout, &mut ready)?;
            let now = Instant::now();
            for event in &ready {
                self.handle(*event, now);
            }
            self.streams.go_on_with_all();
            self.streams.bury();
            if self.sweep.is_some_and(|at| at <= now) {
                self.sweep = self.sessions.sweep(now);
            }
            self.lack = self.lack.filter(|until| *until > now);
            if self.is_over(now) {
                return Ok(());
            }
        }
    }

    /// Listening sockets are waited for only while there is room: what is above the limit stays in their queues.
    fn listen_or_not(&mut self) -> io::Result<()> {
        let wanted = self.state == State::Serving && self.lack.is_none() && !self.streams.is_full();
        if wanted == self.listening {
            return Ok(());
        }
        for (number, port) in of_kind(self.ports, Kind::Stream) {
            if wanted {
                self.events.watch_input(port.socket, About::Port(number))?;
            } else {
                self.events.forget(port.socket);
            }
        }
        self.listening = wanted;
        Ok(())
    }

    fn timeout(&self) -> Option<Duration> {
        if self.streams.is_busy() {
            return Some(Duration::ZERO);
        }
        let idle = self.idle.map(|since| since + self.limits.idle);
        let next = [idle, self.sweep, self.lack].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn handle(&mut self, event: Ready, now: Instant) {
        let Ready { about, readable, writable } = event;
        match about {
            About::Orders => self.obey(),
            About::Port(number) if self.ports[number].kind == Kind::Datagram => {
                self.sessions.arrive(number, self.ports[number], &self.events, now);
                self.sweep.get_or_insert(now + crate::datagrams::PATIENCE);
            }
            About::Port(number) => {
                if !self.streams.accept(self.ports[number], &self.events) {
                    self.lack = Some(now + LACK);
                }
            }
            About::Client(place) => self.streams.hear(place, Which::Client, readable, writable),
            About::Container(place) => self.streams.hear(place, Which::Container, readable, writable),
            About::Session(place) => self.sessions.answer(place, self.ports, now),
        }
    }

    fn obey(&mut self) {
        let mut order = [0];
        match rustix::io::read(&self.orders, &mut order) {
            Ok(1) if order == [LEAVE] => {
                if self.state != State::Serving {
                    return;
                }
                self.state = State::Leaving;
                for (_, port) in of_kind(self.ports, Kind::Datagram) {
                    self.events.forget(port.socket);
                }
                self.sessions.end_all();
            }
            Ok(_) => {
                self.streams.finish();
                self.state = State::Over;
            }
            // It comes again.
            Err(_) => {}
        }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        let empty = self.streams.is_empty() && self.sessions.is_empty();
        self.idle = empty.then(|| self.idle.unwrap_or(now));
        match self.state {
            State::Over => true,
            State::Leaving => empty,
            State::Serving => self.idle.is_some_and(|since| now.saturating_duration_since(since) >= self.limits.idle),
        }
    }
}

fn of_kind<'a>(ports: &'a [Port<'a>], kind: Kind) -> impl Iterator<Item = (usize, &'a Port<'a>)> {
    ports.iter().enumerate().filter(move |(_, port)| port.kind == kind)
}
