//! One connection: two sockets, and what flows from each to the other.

use crate::pipes::{self, Pipe, Pipes};
use gantry_linux::unread::peer_has_all;
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_linger, socket_error};
use rustix::net::{Shutdown, shutdown};
use rustix::pipe::{SpliceFlags, splice};
use std::mem;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A socket, and what is known of it.
#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    readable: bool,
    writable: bool,
}

/// How far one direction is.
#[derive(Debug, Default)]
enum Flow {
    /// There is nothing on the way.
    #[default]
    Empty,
    /// Some bytes were not taken yet.
    Holding(Pipe),
    /// The end of the input has been passed on.
    Ended,
    /// The receiver takes no more; what comes is not read.
    Refused,
}

/// Which of the sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Client,
    Container,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It waits for the kernel.
    Waits,
    /// There is more to do at once, when others have had their turn.
    More,
    /// It is over.
    Over,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The client and the container.
    sides: [Side; 2],
    /// From the client, and from the container.
    flows: [Flow; 2],
    connecting: bool,
    /// It is among those that have more to do.
    pub(crate) queued: bool,
}

/// Why a turn at one direction ended.
enum Turn {
    Waits,
    More,
    /// The sender has gone without saying that it has ended.
    Reset,
}

impl Connection {
    /// `container` is still connecting.
    pub(crate) fn new(client: OwnedFd, container: OwnedFd) -> Self {
        let side = |socket| Side { socket, readable: false, writable: false };
        let sides = [side(client), side(container)];
        Self { sides, flows: [Flow::Empty, Flow::Empty], connecting: true, queued: false }
    }

    /// Notes what the kernel has told.
    pub(crate) fn hear(&mut self, which: Which, readable: bool, writable: bool) {
        let side = &mut self.sides[which as usize];
        side.readable |= readable;
        side.writable |= writable;
    }

    /// Carries at most about `budget` bytes in each direction.
    pub(crate) fn go_on(&mut self, pipes: &mut Pipes, budget: usize) -> Outcome {
        if self.connecting {
            if !self.sides[1].writable {
                return Outcome::Waits;
            }
            if !matches!(socket_error(&self.sides[1].socket), Ok(Ok(()))) {
                // Nobody is there: the nearest thing to a refusal that is left.
                self.reset();
                return Outcome::Over;
            }
            self.connecting = false;
        }
        let mut more = false;
        for from in [0, 1] {
            match self.carry(from, pipes, budget) {
                Turn::Waits => {}
                Turn::More => more = true,
                Turn::Reset => {
                    self.pass_reset(1 - from);
                    return Outcome::Over;
                }
            }
        }
        let is_over = |flow: &Flow| matches!(flow, Flow::Ended | Flow::Refused);
        match &self.flows {
            [client, container] if is_over(client) && is_over(container) => Outcome::Over,
            _ if more => Outcome::More,
            _ => Outcome::Waits,
        }
    }

    /// One direction's turn.
    fn carry(&mut self, from: usize, pipes: &mut Pipes, budget: usize) -> Turn {
        const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
        let (source, sink) = match &mut self.sides {
            [client, container] if from == 0 => (client, container),
            [client, container] => (container, client),
        };
        let (flow, back) = match &mut self.flows {
            [client, container] if from == 0 => (client, container),
            [client, container] => (container, client),
        };
        let mut carried = 0;
        loop {
            let mut pipe = match mem::take(flow) {
                Flow::Empty if !source.readable => return Turn::Waits,
                Flow::Empty if carried >= budget => return Turn::More,
                Flow::Empty => match pipes.take() {
                    Ok(pipe) => pipe,
                    // For lack of descriptors or memory. It would never be told of again.
                    Err(_) => return Turn::Reset,
                },
                Flow::Holding(pipe) if !sink.writable => {
                    *flow = Flow::Holding(pipe);
                    return Turn::Waits;
                }
                Flow::Holding(pipe) => pipe,
                over => {
                    *flow = over;
                    return Turn::Waits;
                }
            };
            // A pipe is filled only when it is empty: so the kernel's "not now" tells which end it is about.
            if pipe.bytes == 0 {
                match splice(&source.socket, None, &pipe.writing, None, pipes::SIZE, FLAGS) {
                    // Who has refused what it was sent has not ended but gone: the kernel tells a reset only once.
                    Ok(0) if matches!(back, Flow::Refused) => return Turn::Reset,
                    Ok(0) => {
                        pipes.back(pipe);
                        *flow = match shutdown(&sink.socket, Shutdown::Write) {
                            Ok(()) => Flow::Ended,
                            Err(_) => Flow::Refused,
                        };
                        return Turn::Waits;
                    }
                    Ok(len) => pipe.bytes = len,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => source.readable = false,
                    Err(_) => return Turn::Reset,
                }
            }
            if pipe.bytes > 0 && sink.writable {
                match splice(&pipe.reading, None, &sink.socket, None, pipe.bytes, FLAGS) {
                    Ok(len) => {
                        pipe.bytes -= len;
                        carried += len;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => sink.writable = false,
                    // What the receiver has sent before it went still counts, so this is not the end of everything.
                    Err(_) => {
                        *flow = Flow::Refused;
                        return Turn::Waits;
                    }
                }
            }
            if pipe.bytes == 0 {
                pipes.back(pipe);
            } else {
                *flow = Flow::Holding(pipe);
            }
        }
    }

    /// Lets one side know that the other has gone, unless that took from it what is still on the way.
    fn pass_reset(&self, to: usize) {
        if peer_has_all(&self.sides[to].socket).unwrap_or(false) {
            let _ = set_socket_linger(&self.sides[to].socket, Some(Duration::ZERO));
        }
    }

    /// Ends it as a failure.
    pub(crate) fn reset(&self) {
        let _ = set_socket_linger(&self.sides[0].socket, Some(Duration::ZERO));
    }
}
