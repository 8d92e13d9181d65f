//! The daemon's sockets: how `-H` is read, how each kind is opened, and how connections leave here
//! as one type.

mod address;
mod inherited;
mod socket;
mod tls;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub(crate) use address::Address;
pub(crate) use inherited::Inherited;
pub(crate) use socket::SocketFile;
pub(crate) use tls::TlsFiles;

use crate::personality::Personality;
use crate::settings::Settings;

/// A listening socket.
pub(crate) enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// TCP, with TLS or without.
    Tcp(TcpListener, Option<TlsAcceptor>),
}

/// The listeners, and what a user should be told about them.
pub(crate) struct Listeners {
    /// All of them.
    pub sockets: Vec<(Listener, String)>,
    /// The socket files we made; each is removed with this.
    pub files: Vec<SocketFile>,
    /// Warnings for the log and for `/info`.
    pub warnings: Vec<String>,
}

/// Opens everything that `hosts` asks for. All or nothing.
pub(crate) fn open(settings: &Settings, personality: Personality) -> anyhow::Result<Listeners> {
    let default = [personality.host().to_owned()];
    let hosts = if settings.hosts.is_empty() { &default[..] } else { &settings.hosts[..] };
    let files = TlsFiles::from_settings(settings);
    let acceptor = files.as_ref().map(TlsFiles::acceptor).transpose()?;
    let mut listeners = Listeners { sockets: Vec::new(), files: Vec::new(), warnings: Vec::new() };
    let mut inherited = None;
    for host in hosts {
        match Address::parse(host, acceptor.is_some(), personality)? {
            Address::Unix(path) => {
                let (socket, file) = socket::bind(&path, settings.group.as_deref())?;
                listeners.sockets.push((Listener::Unix(socket), path.display().to_string()));
                listeners.files.push(file);
            }
            Address::Tcp(at) => listeners.add_tcp(socket::bind_tcp(&at)?, acceptor.clone())?,
            Address::Inherited(which) => {
                let all = match &mut inherited {
                    Some(all) => all,
                    none => none.insert(Inherited::from_environment()?),
                };
                for socket in all.take(&which)? {
                    match socket {
                        inherited::Socket::Unix(socket) => {
                            let name = address::of_unix(&socket);
                            listeners.sockets.push((Listener::Unix(UnixListener::from_std(socket)?), name));
                        }
                        inherited::Socket::Tcp(socket) => {
                            listeners.add_tcp(TcpListener::from_std(socket)?, acceptor.clone())?;
                        }
                    }
                }
            }
        }
    }
    if !files.as_ref().is_some_and(|files| files.verify) {
        listeners.warn_of_open_doors(acceptor.is_some());
    }
    Ok(listeners)
}

impl Listeners {
    fn add_tcp(&mut self, socket: TcpListener, acceptor: Option<TlsAcceptor>) -> anyhow::Result<()> {
        let at = socket.local_addr()?.to_string();
        self.sockets.push((Listener::Tcp(socket, acceptor), at));
        Ok(())
    }

    /// Whoever may speak to the API is root on this machine; a TCP port asks nobody who they are.
    fn warn_of_open_doors(&mut self, encrypted: bool) {
        for (listener, at) in &self.sockets {
            if matches!(listener, Listener::Tcp(..)) {
                let how = if encrypted { "without TLS client verification" } else { "without encryption" };
                self.warnings.push(format!(
                    "WARNING: API is accessible on {}://{at} {how}. Access to the remote API is equivalent to root \
                     access on the host.",
                    if encrypted { "https" } else { "http" }
                ));
            }
        }
    }
}

impl Listener {
    /// Waits for a client. TLS is negotiated by [`Accepted::establish`], so that a slow client
    /// does not keep others out.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(socket) => Ok(Accepted::Unix(socket.accept().await?.0)),
            Self::Tcp(socket, acceptor) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, acceptor.clone()))
            }
        }
    }
}

/// A connection on which nothing was said yet.
pub(crate) enum Accepted {
    /// From the unix socket.
    Unix(UnixStream),
    /// From TCP, with TLS still to be negotiated if there is an acceptor.
    Tcp(TcpStream, Option<TlsAcceptor>),
}

impl Accepted {
    /// Negotiates TLS where it is asked for.
    pub(crate) async fn establish(self) -> io::Result<Connection> {
        Ok(match self {
            Self::Unix(stream) => Connection::Unix(stream),
            Self::Tcp(stream, None) => Connection::Tcp(stream),
            Self::Tcp(stream, Some(acceptor)) => Connection::Tls(Box::new(acceptor.accept(stream).await?)),
        })
    }
}

/// A client's byte stream.
pub(crate) enum Connection {
    /// Unix socket.
    Unix(UnixStream),
    /// Plain TCP.
    Tcp(TcpStream),
    /// TLS on TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Connection::Unix($stream) => $call,
            Connection::Tcp($stream) => $call,
            Connection::Tls($stream) => $call,
        }
    };
}

impl gantry_http_api::Peer for Connection {
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        })
    }

    fn tells_hang_up(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    /// A unix socket's kernel knows. Over TCP it knows what has arrived, which is something else.
    async fn has_read(&self) {
        if let Self::Unix(stream) = self {
            let all = || match gantry_linux::unread::peer_has_read(stream) {
                Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                // A client that is gone will be noticed by whoever writes next.
                Ok(true) | Err(_) => Ok(()),
            };
            let _ = stream.async_io(Interest::WRITABLE, all).await;
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
