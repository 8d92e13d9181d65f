//! Connections to receivers. They block: a receiver that is slow holds the container back, or fills its buffer.

use crate::tls::{self, TlsOptions, TlsStream};
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);

/// Where a receiver is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Address {
    /// `host:port`.
    Udp(String),
    /// `host:port`.
    Tcp(String),
    /// `host:port`, with TLS on top.
    Tls(String, TlsOptions),
    /// A stream socket.
    Unix(PathBuf),
    /// A datagram socket.
    UnixDatagram(PathBuf),
}

/// An open connection.
pub(crate) enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream>),
    Unix(UnixStream),
    UnixDatagram(UnixDatagram),
}

impl Connection {
    pub(crate) fn open(address: &Address) -> io::Result<Self> {
        Ok(match address {
            Address::Udp(host) => {
                let target = resolve("udp", host)?;
                let socket = UdpSocket::bind(if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
                socket.connect(target)?;
                Self::Udp(socket)
            }
            Address::Tcp(host) => Self::Tcp(dial(host)?),
            Address::Tls(host, options) => Self::Tls(Box::new(tls::connect(dial(host)?, host, options)?)),
            Address::Unix(path) => {
                Self::Unix(UnixStream::connect(path).map_err(|e| failed("unix", &path.display().to_string(), &e))?)
            }
            Address::UnixDatagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path).map_err(|e| failed("unixgram", &path.display().to_string(), &e))?;
                Self::UnixDatagram(socket)
            }
        })
    }

    /// Sends a datagram, or all bytes of a stream.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            // What nobody listens for is lost; that is what UDP means.
            Self::Udp(socket) => match socket.send(bytes) {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
                other => other.map(drop),
            },
            Self::UnixDatagram(socket) => socket.send(bytes).map(drop),
            Self::Tcp(socket) => socket.write_all(bytes),
            Self::Unix(socket) => socket.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }

    /// Whether the other end has closed. Without asking, the first message after that would be lost: its bytes are
    /// taken by our kernel and refused by theirs.
    pub(crate) fn is_closed(&self) -> bool {
        let peek = |socket: &dyn AsSocket| {
            matches!(recv(socket.socket(), &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT), Ok((0, _)))
        };
        match self {
            Self::Tcp(socket) => peek(socket),
            Self::Unix(socket) => peek(socket),
            // Receivers say nothing, so that what there is to read is the alert that ends the connection.
            Self::Tls(stream) => !matches!(
                recv(&stream.sock, &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT),
                Err(rustix::io::Errno::AGAIN)
            ),
            Self::Udp(_) | Self::UnixDatagram(_) => false,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Udp(socket) => socket.recv(buffer),
            Self::UnixDatagram(socket) => socket.recv(buffer),
            Self::Tcp(socket) => socket.read(buffer),
            Self::Unix(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

/// A connection that is made when it is needed and again when it broke.
pub(crate) struct Link {
    address: Address,
    open: Option<Connection>,
}

impl Link {
    pub(crate) fn new(address: Address) -> Self {
        Self { address, open: None }
    }

    /// Connects, unless that is done.
    pub(crate) fn connect(&mut self) -> io::Result<&mut Connection> {
        if self.open.as_ref().is_none_or(Connection::is_closed) {
            self.open = None;
            self.open = Some(Connection::open(&self.address)?);
        }
        Ok(self.open.as_mut().expect("just opened"))
    }

    /// Sends bytes as a whole; after a failure the next call connects anew.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let sent = self.connect()?.send(bytes);
        if sent.is_err() {
            self.open = None;
        }
        sent
    }

    /// Gives the connection up.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }
}

trait AsSocket {
    fn socket(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: std::os::fd::AsFd> AsSocket for T {
    fn socket(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

fn dial(host: &str) -> io::Result<TcpStream> {
    let mut last = None;
    let addresses = host.to_socket_addrs().map_err(|e| failed("tcp", host, &e))?;
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
                return Ok(stream);
            }
            Err(e) => last = Some(e),
        }
    }
    Err(failed("tcp", host, &last.unwrap_or_else(|| io::Error::other("no such host"))))
}

fn resolve(network: &str, host: &str) -> io::Result<std::net::SocketAddr> {
    let mut addresses = host.to_socket_addrs().map_err(|e| failed(network, host, &e))?;
    addresses.next().ok_or_else(|| failed(network, host, &io::Error::other("no such host")))
}

/// In the words of Go's `net.OpError`, which people search for.
fn failed(network: &str, host: &str, e: &io::Error) -> io::Error {
    let why = match e.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::NotFound => "connect: no such file or directory".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => e.to_string(),
    };
    io::Error::new(e.kind(), format!("dial {network} {host}: {why}"))
}
