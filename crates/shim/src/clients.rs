//! Attached clients: sockets that get the container's output and give it input.

use crate::poller::{Interest, Poller, Token, Watched};
use gantry_container_logs::Stream;
use rustix::net::{SendFlags, Shutdown, send, shutdown};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a client asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

#[derive(Debug)]
struct Client {
    socket: Watched,
    wish: Wish,
    /// Output that the socket did not take. The container's output is not read while any client
    /// has some, so it holds what one read gave, or what was in the pipes at the end.
    pending: Vec<u8>,
    /// No more input is taken, and the socket closes when `pending` is sent.
    leaving: bool,
    /// Nobody reads the output any more; input that was sent before still counts.
    deaf: bool,
}

/// Every attached client.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: BTreeMap<u32, Client>,
    next: u32,
}

impl Clients {
    pub(crate) fn add(&mut self, socket: OwnedFd, wish: Wish) -> u32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let socket = Watched::new(socket, Token::Client(id));
        self.all.insert(id, Client { socket, wish, pending: Vec::new(), leaving: false, deaf: false });
        id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a client has not taken what was sent to it.
    pub(crate) fn is_congested(&self) -> bool {
        self.all.values().any(|c| !c.pending.is_empty())
    }

    /// Sends output to everybody who wants it, with a frame header unless it comes from a terminal.
    pub(crate) fn send(&mut self, stream: Stream, bytes: &[u8], framed: bool) {
        let header = stream.frame_header(bytes.len() as u32);
        for client in self.all.values_mut().filter(|c| !c.leaving) {
            let wanted = match stream {
                Stream::Stdout => client.wish.stdout,
                Stream::Stderr => client.wish.stderr,
            };
            if wanted {
                if framed {
                    client.send(&header);
                }
                client.send(bytes);
            }
        }
    }

    /// Sends on what a client did not take before.
    pub(crate) fn flush(&mut self, id: u32) {
        if let Some(client) = self.all.get_mut(&id) {
            let pending = std::mem::take(&mut client.pending);
            client.send(&pending);
        }
    }

    /// Reads a client's input: `None` if it is not asked for any or has none right now, empty at its end.
    pub(crate) fn read<'b>(&self, id: u32, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let client = self.all.get(&id).filter(|c| c.wish.stdin && !c.leaving)?;
        match rustix::io::retry_on_intr(|| rustix::io::read(&client.socket, &mut *buf)) {
            Ok(len) => Some(&buf[..len]),
            Err(rustix::io::Errno::WOULDBLOCK) => None,
            // A reset is an end, too.
            Err(_) => Some(&[]),
        }
    }

    /// A client has no more input; its output goes on.
    pub(crate) fn end_input(&mut self, id: u32) {
        if let Some(client) = self.all.get_mut(&id) {
            client.wish.stdin = false;
        }
    }

    /// A client is done when it has got what was sent so far.
    pub(crate) fn leave(&mut self, id: u32) {
        if let Some(client) = self.all.get_mut(&id) {
            client.leaving = true;
        }
    }

    /// The output has ended for everybody.
    pub(crate) fn leave_all(&mut self) {
        self.all.values_mut().for_each(|c| c.leaving = true);
    }

    /// Nobody is at the other end of a socket any more.
    pub(crate) fn hang_up(&mut self, id: u32) {
        if let Some(client) = self.all.get_mut(&id) {
            client.deaf = true;
            client.pending = Vec::new();
        }
    }

    /// Drops who is done and waits for what each of the others can do next. `input`: the container
    /// takes input.
    pub(crate) fn update(&mut self, input: bool, poller: &Poller) {
        self.all.retain(|_, client| {
            if client.is_done() {
                client.close();
                return false;
            }
            client.socket.want(poller, client.interest(input)).is_ok()
        });
    }
}

impl Client {
    fn send(&mut self, mut bytes: &[u8]) {
        while self.pending.is_empty() && !bytes.is_empty() && !self.deaf {
            match rustix::io::retry_on_intr(|| send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(rustix::io::Errno::WOULDBLOCK) => break,
                Err(_) => self.deaf = true,
            }
        }
        if !self.deaf {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Input that is left unread would turn the end into a reset for the other side.
    fn close(&self) {
        let _ = shutdown(&self.socket, Shutdown::Both);
        while rustix::io::read(&self.socket, &mut [0; 4096][..]).is_ok_and(|len| len > 0) {}
    }

    fn is_done(&self) -> bool {
        let takes_input = self.wish.stdin && !self.leaving;
        if self.deaf { !takes_input } else { self.leaving && self.pending.is_empty() }
    }

    fn interest(&self, input: bool) -> Interest {
        let takes_input = self.wish.stdin && !self.leaving;
        let read = takes_input && input;
        let write = !self.pending.is_empty();
        // Full input and nothing to send: a hang-up must wait until the input is read.
        if takes_input && !read && !write { Interest::Off } else { Interest::of(read, write) }
    }
}

/// The socket of a client as it came from the daemon.
pub(crate) fn prepare(socket: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(socket)? | rustix::fs::OFlags::NONBLOCK;
    Ok(rustix::fs::fcntl_setfl(socket.as_fd(), flags)?)
}
