//! All connections.

use crate::Port;
use crate::events::{About, Events};
use crate::pipes::Pipes;
use crate::slab::Slab;
use crate::stream::{Connection, Outcome, Which};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle, set_tcp_keepintvl, set_tcp_nodelay};
use rustix::net::{AddressFamily, SocketFlags, SocketType, accept_with, connect, ipproto, socket_with};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What a connection carries in each direction before others have their turn.
const BUDGET: usize = 1 << 20;
/// What it carries when there is no later. More than a socket holds.
const LAST_BUDGET: usize = 64 << 20;
/// Connections that are accepted before others have their turn.
const ACCEPTED: usize = 64;
/// Nobody else notices that a client has vanished.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15));

/// The connections of a container.
#[derive(Debug)]
pub(crate) struct Streams {
    all: Slab<Connection>,
    pipes: Pipes,
    /// Those that have more to do at once.
    queue: VecDeque<usize>,
    /// Those that are over. Their places are not used again before all events that are known have been seen.
    over: Vec<usize>,
    target: IpAddr,
    most: usize,
}

impl Streams {
    pub(crate) fn new(target: IpAddr, most: usize) -> Self {
        let (queue, over) = (VecDeque::new(), Vec::new());
        Self { all: Slab::new(), pipes: Pipes::default(), queue, over, target, most }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.all.len() >= self.most
    }

    /// Whether there is something to do without waiting.
    pub(crate) fn is_busy(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes who waits at a port; false if there is a lack of something, which has not become better at once.
    pub(crate) fn accept(&mut self, port: Port<'_>, events: &Events) -> bool {
        for _ in 0..ACCEPTED {
            if self.is_full() {
                return true;
            }
            let target = SocketAddr::new(self.target, port.port);
            let client = accept_with(port.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
            match client.and_then(|client| self.begin(client, target, events)) {
                Err(Errno::AGAIN) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return false,
                // A connection that has failed is told so by its end, if it has not failed before it was accepted.
                _ => {}
            }
        }
        true
    }

    fn begin(&mut self, client: OwnedFd, target: SocketAddr, events: &Events) -> Result<(), Errno> {
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let container = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
        for socket in [&client, &container] {
            set_tcp_nodelay(socket, true)?;
            set_socket_keepalive(socket, true)?;
            set_tcp_keepidle(socket, KEEP_ALIVE.0)?;
            set_tcp_keepintvl(socket, KEEP_ALIVE.1)?;
        }
        let place = self.all.next();
        // Before it connects, so that no change is missed.
        events.watch_changes(&client, About::Client(place))?;
        events.watch_changes(&container, About::Container(place))?;
        let connecting = connect(&container, &target);
        let connection = Connection::new(client, container);
        match connecting {
            Ok(()) | Err(Errno::INPROGRESS) => self.all.insert(connection),
            Err(e) => {
                connection.reset();
                return Err(e);
            }
        }
        Ok(())
    }

    /// Goes on with a connection of which the kernel has told something.
    pub(crate) fn hear(&mut self, place: usize, which: Which, readable: bool, writable: bool) {
        let Some(connection) = self.all.get(place) else { return };
        connection.hear(which, readable, writable);
        if !connection.queued {
            self.go_on(place);
        }
    }

    /// Goes on with those that had more to do; each has one turn.
    pub(crate) fn go_on_with_all(&mut self) {
        for _ in 0..self.queue.len() {
            let Some(place) = self.queue.pop_front() else { return };
            if let Some(connection) = self.all.get(place) {
                connection.queued = false;
                self.go_on(place);
            }
        }
    }

    fn go_on(&mut self, place: usize) {
        let Some(connection) = self.all.get(place) else { return };
        match connection.go_on(&mut self.pipes, BUDGET) {
            Outcome::Waits => {}
            Outcome::More => {
                connection.queued = true;
                self.queue.push_back(place);
            }
            Outcome::Over => self.over.push(place),
        }
    }

    /// Closes those that are over; whether there were any.
    pub(crate) fn bury(&mut self) -> bool {
        let any = !self.over.is_empty();
        for place in self.over.drain(..) {
            // Closing a socket ends its being watched.
            drop(self.all.remove(place));
        }
        any
    }

    /// Hands on what can be handed on at once.
    pub(crate) fn finish(&mut self) {
        for place in self.all.places() {
            if let Some(connection) = self.all.get(place) {
                connection.hear(Which::Container, true, false);
                let _ = connection.go_on(&mut self.pipes, LAST_BUDGET);
            }
        }
    }
}
