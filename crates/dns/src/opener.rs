//! Sockets in other network namespaces, for asynchronous code.
//!
//! A socket belongs to the namespace that its thread is in when it is made. The runtime's threads are everybody's and
//! must not change theirs, so one thread goes into the namespaces for all of them. It comes back after each socket: as
//! long as it stayed, a namespace whose container is gone could not end.

use gantry_linux::netlink::namespace;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// What the thread does is a few system calls deep.
const STACK: usize = 64 * 1024;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

struct Order {
    /// A socket that is in the namespace.
    beside: Arc<UdpSocket>,
    transport: Transport,
    address: SocketAddr,
    reply: oneshot::Sender<io::Result<OwnedFd>>,
}

/// The thread, which is started when it is needed for the first time and ends with the last sender.
#[derive(Debug, Default)]
pub(crate) struct Opener(OnceLock<Sender<Order>>);

impl Opener {
    /// Makes a socket for speaking to `address` in the namespace in which `beside` is.
    pub(crate) async fn open(
        &self,
        beside: Arc<UdpSocket>,
        transport: Transport,
        address: SocketAddr,
    ) -> io::Result<OwnedFd> {
        let (reply, made) = oneshot::channel();
        let order = Order { beside, transport, address, reply };
        self.sender()?.send(order).map_err(|_| gone())?;
        made.await.map_err(|_| gone())?
    }

    fn sender(&self) -> io::Result<&Sender<Order>> {
        if self.0.get().is_none() {
            let (orders, receiver) = channel();
            // Another may be faster; then this thread has nobody to listen to and ends.
            thread::Builder::new().name("dns-sockets".to_owned()).stack_size(STACK).spawn(move || work(&receiver))?;
            drop(self.0.set(orders));
        }
        self.0.get().ok_or_else(gone)
    }
}

/// Makes a socket for speaking to `address` in the calling thread's namespace.
pub(crate) fn open_here(transport: Transport, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match transport {
        Transport::Udp => SocketType::DGRAM,
        Transport::Tcp => SocketType::STREAM,
    };
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

fn work(orders: &Receiver<Order>) {
    let home = match namespace::current() {
        Ok(home) => home,
        Err(e) => return tracing::error!("the host's network namespace: {e}"),
    };
    while let Ok(Order { beside, transport, address, reply }) = orders.recv() {
        let made = namespace::of_socket(beside.as_fd()).and_then(|there| {
            namespace::enter(there.as_fd())?;
            open_here(transport, address)
        });
        if let Err(e) = namespace::enter(home.as_fd()) {
            // Whoever asks next gets an error, which is better than a socket somewhere.
            return tracing::error!("back into the host's network namespace: {e}");
        }
        // Whoever asked may have given up.
        drop(reply.send(made));
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that opens sockets is gone")
}
