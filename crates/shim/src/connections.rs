//! The daemon's connections: usually one, two while a daemon succeeds another.

use crate::diagnostics::say;
use crate::poller::{Interest, Poller, Token, Watched};
use gantry_shim_protocol::{Answer, Event, Failure, Message, Request, Stage, codec, transport};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MAX_CONNECTIONS: usize = 16;
/// A daemon that leaves more messages unread has stopped working; it may connect again.
const MAX_QUEUED: usize = 4096;

/// An encoded message with its descriptors.
type Outgoing = (Vec<u8>, Vec<OwnedFd>);

#[derive(Debug)]
struct Connection {
    socket: Watched,
    /// Messages that the socket did not take.
    queue: VecDeque<Outgoing>,
}

/// Every connected daemon, and what nobody has heard yet.
#[derive(Debug)]
pub(crate) struct Connections {
    listener: Watched,
    all: BTreeMap<u32, Connection>,
    next: u32,
    /// Events from before the first daemon connected. `None` once one has.
    unheard: Option<Vec<Outgoing>>,
}

impl Connections {
    pub(crate) fn new(listener: OwnedFd, poller: &Poller) -> io::Result<Self> {
        let mut listener = Watched::new(listener, Token::Listener);
        // Edge-triggered: a connection that cannot be accepted for lack of descriptors would wake for ever.
        listener.want(poller, Interest::NewInput)?;
        Ok(Self { listener, all: BTreeMap::new(), next: 0, unheard: Some(Vec::new()) })
    }

    /// Accepts who waits, and returns the new connections but for the first of all, which gets the
    /// events from before it came.
    pub(crate) fn accept(&mut self, poller: &Poller) -> Vec<u32> {
        let mut accepted = Vec::new();
        loop {
            match transport::accept(self.listener.as_fd()) {
                Ok(socket) if self.all.len() < MAX_CONNECTIONS => accepted.extend(self.add(socket, poller)),
                Ok(_) => say("too many connections; one is refused"),
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => say("a connection of another user is refused"),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return accepted,
                Err(e) => {
                    say(&format!("a connection is not accepted: {e}"));
                    return accepted;
                }
            }
        }
    }

    fn add(&mut self, socket: OwnedFd, poller: &Poller) -> Option<u32> {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let mut connection = Connection { socket: Watched::new(socket, Token::Connection(id)), queue: VecDeque::new() };
        connection.socket.want(poller, Interest::Read).ok()?;
        self.all.insert(id, connection);
        let Some(unheard) = self.unheard.take() else { return Some(id) };
        for outgoing in unheard {
            self.queue(id, outgoing, poller);
        }
        None
    }

    /// The next request of a connection and its descriptors, if one is there. At the connection's
    /// end, or after an answer that it does not take, there is none.
    ///
    /// What cannot be understood is answered here, or ends the connection if not even its id can.
    pub(crate) fn receive(&mut self, id: u32, buf: &mut [u8], poller: &Poller) -> Option<(Request, Vec<OwnedFd>)> {
        loop {
            let connection = self.all.get(&id).filter(|c| c.queue.is_empty())?;
            let packet = match transport::recv(connection.socket.as_fd(), buf) {
                Ok(packet) if packet.len > 0 => packet,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
                _ => {
                    self.close(id);
                    return None;
                }
            };
            let bytes = &buf[..packet.len];
            let problem = match codec::decode::<Request>(bytes) {
                Ok(request) if !packet.fds_lost => return Some((request, packet.fds)),
                Ok(_) => "too many open files",
                Err(_) => "this shim does not know such a request",
            };
            let Some(request) = codec::request_id(bytes) else {
                self.close(id);
                return None;
            };
            let failure = Failure { stage: Stage::Setup, errno: 0, message: problem.to_owned() };
            self.send(id, &Message::Answer { id: request, answer: Answer::Failed(failure) }, Vec::new(), poller);
        }
    }

    /// Whether a daemon is connected.
    pub(crate) fn is_attended(&self) -> bool {
        !self.all.is_empty()
    }

    /// Whether every message has reached its daemon. Not before one has ever connected.
    pub(crate) fn is_heard(&self) -> bool {
        self.unheard.is_none() && self.all.values().all(|c| c.queue.is_empty())
    }

    /// Takes no more requests; returns whom to answer the last ones of. A request that was left
    /// unread would turn the end into a reset, and the daemon would miss the last events.
    pub(crate) fn refuse_requests(&mut self) -> Vec<u32> {
        for connection in self.all.values() {
            let _ = rustix::net::shutdown(&connection.socket, rustix::net::Shutdown::Read);
        }
        self.all.keys().copied().collect()
    }

    fn close(&mut self, id: u32) {
        self.all.remove(&id);
    }

    /// Sends a message on one connection.
    pub(crate) fn send(&mut self, id: u32, message: &Message, fds: Vec<OwnedFd>, poller: &Poller) {
        if let Some(packet) = encode(message) {
            self.queue(id, (packet, fds), poller);
        }
    }

    /// Sends an event to every daemon; before the first has connected it is kept for that one.
    pub(crate) fn announce(&mut self, event: Event, fd: Option<BorrowedFd<'_>>, poller: &Poller) {
        let Some(packet) = encode(&Message::Event(event)) else { return };
        let copy = || fd.and_then(|fd| fd.try_clone_to_owned().ok()).into_iter().collect();
        if let Some(unheard) = &mut self.unheard {
            unheard.push((packet, copy()));
            return;
        }
        let ids: Vec<u32> = self.all.keys().copied().collect();
        for id in ids {
            self.queue(id, (packet.clone(), copy()), poller);
        }
    }

    /// The socket takes messages again.
    pub(crate) fn flush(&mut self, id: u32, poller: &Poller) {
        let Some(connection) = self.all.get_mut(&id) else { return };
        let mut alive = true;
        while let Some(outgoing) = connection.queue.front() {
            match send(&connection.socket, outgoing) {
                Ok(()) => drop(connection.queue.pop_front()),
                Err(e) => {
                    alive = e.kind() == io::ErrorKind::WouldBlock;
                    break;
                }
            }
        }
        // A daemon that does not read its answers is not asked for more.
        let interest = if connection.queue.is_empty() { Interest::Read } else { Interest::Write };
        if !alive || connection.socket.want(poller, interest).is_err() {
            self.close(id);
        }
    }

    fn queue(&mut self, id: u32, outgoing: Outgoing, poller: &Poller) {
        let Some(connection) = self.all.get_mut(&id) else { return };
        if connection.queue.len() >= MAX_QUEUED {
            self.close(id);
            return;
        }
        connection.queue.push_back(outgoing);
        self.flush(id, poller);
    }
}

fn send(socket: &Watched, (packet, fds): &Outgoing) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    transport::send(socket.as_fd(), packet, &fds)
}

fn encode(message: &Message) -> Option<Vec<u8>> {
    codec::encode(message).inspect_err(|e| say(&format!("a message is lost: {e}"))).ok()
}
