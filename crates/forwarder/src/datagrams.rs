//! Datagrams: a session for each client and port, with a socket towards the container.

use crate::Port;
use crate::events::{About, Events};
use crate::slab::Slab;
use gantry_linux::datagrams::{self, Arrival, Local};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, send, socket_with,
};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// A session without datagrams is over after so long; Docker's number.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Datagrams of a socket before others have their turn.
const TURN: usize = 64;
/// The longest that there is.
const LONGEST: usize = 64 << 10;

/// Who talks to which port, and to which of the host's addresses.
type Key = (usize, SocketAddrV6, Local);

#[derive(Debug)]
struct Session {
    key: Key,
    /// Connected to the container.
    socket: OwnedFd,
    /// When there was a datagram last.
    last: Instant,
}

/// The sessions of a container.
#[derive(Debug)]
pub(crate) struct Sessions {
    all: Slab<Session>,
    by_key: HashMap<Key, usize>,
    buffer: Vec<u8>,
    target: IpAddr,
    most: usize,
}

impl Sessions {
    pub(crate) fn new(target: IpAddr, most: usize) -> Self {
        Self { all: Slab::new(), by_key: HashMap::new(), buffer: Vec::new(), target, most }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.len() == 0
    }

    /// Takes what has come to a port.
    pub(crate) fn arrive(&mut self, number: usize, port: Port<'_>, events: &Events, now: Instant) {
        self.buffer.resize(LONGEST, 0);
        for _ in 0..TURN {
            // An error is of a datagram that was sent earlier, or there is no more.
            let arrival = match datagrams::receive(port.socket, &mut self.buffer) {
                Ok(arrival) => arrival,
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => continue,
            };
            self.hand_on(number, port, arrival, events, now);
        }
    }

    fn hand_on(&mut self, number: usize, port: Port<'_>, arrival: Arrival, events: &Events, now: Instant) {
        let Arrival { len, mut from, to } = arrival;
        from.set_flowinfo(0);
        let key = (number, from, to);
        // For lack of something; datagrams may be lost.
        let Ok(place) = self.session(key, port.port, events, now) else { return };
        let Some(session) = self.all.get(place) else { return };
        session.last = now;
        let bytes = &self.buffer[..len];
        // The first error may be about an earlier one.
        if let Err(Errno::CONNREFUSED) = send(&session.socket, bytes, SendFlags::DONTWAIT) {
            let _ = send(&session.socket, bytes, SendFlags::DONTWAIT);
        }
    }

    fn session(&mut self, key: Key, port: u16, events: &Events, now: Instant) -> Result<usize, Errno> {
        if let Some(place) = self.by_key.get(&key) {
            return Ok(*place);
        }
        if self.all.len() >= self.most
            && let Some((longest, _)) = self.all.iter().min_by_key(|(_, session)| session.last)
        {
            self.end(longest);
        }
        let target = SocketAddr::new(self.target, port);
        let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
        connect(&socket, &target)?;
        let place = self.all.next();
        events.watch_input(&socket, About::Session(place))?;
        self.all.insert(Session { key, socket, last: now });
        self.by_key.insert(key, place);
        Ok(place)
    }

    /// Takes what a container has answered.
    pub(crate) fn answer(&mut self, place: usize, ports: &[Port<'_>], now: Instant) {
        let Some(session) = self.all.get(place) else { return };
        self.buffer.resize(LONGEST, 0);
        for _ in 0..TURN {
            match recv(&session.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _)) => {
                    session.last = now;
                    let (number, client, local) = session.key;
                    let _ = datagrams::send(ports[number].socket.as_fd(), &self.buffer[..len], local, client);
                }
                Err(Errno::AGAIN) => return,
                // The container's port is closed.
                Err(_) => {}
            }
        }
    }

    /// Ends what has been silent for too long; when to look again.
    pub(crate) fn sweep(&mut self, now: Instant) -> Option<Instant> {
        let is_old = |session: &Session| now.saturating_duration_since(session.last) >= PATIENCE;
        let old: Vec<_> = self.all.iter().filter(|(_, session)| is_old(session)).map(|(place, _)| place).collect();
        for place in old {
            self.end(place);
        }
        if self.is_empty() {
            self.buffer = Vec::new();
        }
        self.all.iter().map(|(_, session)| session.last + PATIENCE).min()
    }

    /// Ends all.
    pub(crate) fn end_all(&mut self) {
        for place in self.all.places() {
            self.end(place);
        }
    }

    fn end(&mut self, place: usize) {
        if let Some(session) = self.all.remove(place) {
            self.by_key.remove(&session.key);
        }
    }
}
