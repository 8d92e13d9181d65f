//! Carries what comes to a published port to the container, where the kernel cannot.
//!
//! The kernel translates addresses within a family, and nothing that comes from `::1`. So what is left are the host's IPv6
//! addresses for a container that has IPv4 alone, and `::1` for every container. [`run`] serves them for one container, in
//! a process of its own: streams by `splice`, so that no byte of them comes into user space, and datagrams by copying.
//!
//! Where to go is told at the beginning and never changes: the process has nobody to ask and reads nothing that
//! anybody sends but to hand it on. So a container can make it connect to nowhere else.
//!
//! Everything is bounded. Connections above the limit wait in the listening socket's queue, sessions of datagrams make
//! room for newer ones.

mod datagrams;
mod events;
mod forwarder;
mod pipes;
mod slab;
mod stream;
mod streams;

use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// What a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP; the socket listens.
    Stream,
    /// UDP; the socket is of IPv6.
    Datagram,
}

/// A port of the host, and where it leads.
#[derive(Debug, Clone, Copy)]
pub struct Port<'a> {
    /// The host's side; non-blocking.
    pub socket: BorrowedFd<'a>,
    /// Its kind.
    pub kind: Kind,
    /// The container's side.
    pub port: u16,
}

/// What a forwarder may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Sessions of datagrams at a time.
    pub sessions: usize,
    /// After so long without either it ends: whoever started it starts another when there is something to do.
    pub idle: Duration,
}

/// An order: take nothing new, and end with the last connection.
pub const LEAVE: u8 = b'l';
/// An order: the container is no more. What it has sent is handed on as far as that goes at once.
pub const END: u8 = b'e';

/// Carries until there has been nothing to carry for a while, or until [`LEAVE`] or [`END`] comes out of `orders`, which is
/// the reading end of a pipe. Without anybody at the other end it ends at once.
pub fn run(ports: &[Port<'_>], target: IpAddr, orders: OwnedFd, limits: Limits) -> std::io::Result<()> {
    forwarder::Forwarder::new(ports, target, orders, limits)?.run()
}
