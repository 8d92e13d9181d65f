//! One question to one server.

use crate::message::{Judgement, judge};
use crate::opener::{Transport, open_here};
use crate::sandbox::Sandbox;
use crate::tcp;
use crate::view::ServerAddress;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server may take, as in Docker. Clients ask again after five seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// When a datagram is taken for lost and sent again, after its predecessor.
const AGAIN: Duration = Duration::from_millis(1500);
/// Datagrams from the server's address that are looked at while waiting for the right one.
const MOST_ALIENS: usize = 64;

/// What became of the question.
pub(super) enum Outcome {
    Answer(Vec<u8>),
    /// The server has said that it failed.
    Failure,
    /// Nothing came.
    Silence,
}

/// Asks one server.
pub(super) async fn exchange(
    sandbox: &Sandbox,
    server: &ServerAddress,
    asked: &[u8],
    question_end: usize,
    transport: Transport,
) -> io::Result<Outcome> {
    let address = server.address;
    let socket = if server.from_host {
        open_here(transport, address)?
    } else {
        sandbox.opener.open(sandbox.udp.clone(), transport, address).await?
    };
    match transport {
        Transport::Udp => by_datagrams(socket, address, asked, question_end).await,
        Transport::Tcp => {
            let talk = by_connection(socket, address, asked, question_end);
            timeout(PATIENCE, talk).await.unwrap_or(Ok(Outcome::Silence))
        }
    }
}

/// Each question has a socket of its own, and so a port that cannot be foreseen.
async fn by_datagrams(socket: OwnedFd, server: SocketAddr, asked: &[u8], end: usize) -> io::Result<Outcome> {
    let socket = UdpSocket::from_std(socket.into())?;
    // From here on the kernel takes datagrams from nobody else.
    socket.connect(server).await?;
    let deadline = Instant::now() + PATIENCE;
    let mut again = Instant::now();
    let mut aliens = 0;
    loop {
        if Instant::now() >= again {
            socket.send(asked).await?;
            again = Instant::now() + AGAIN;
        }
        match timeout_at(deadline.min(again), socket.readable()).await {
            Ok(ready) => ready?,
            Err(_) if Instant::now() >= deadline => return Ok(Outcome::Silence),
            Err(_) => continue,
        }
        match receive(&socket, asked, end) {
            Ok((Judgement::Answer, reply)) => return Ok(Outcome::Answer(reply)),
            Ok((Judgement::Failure, _)) => return Ok(Outcome::Failure),
            Ok((Judgement::Alien, _)) if aliens < MOST_ALIENS => aliens += 1,
            Ok((Judgement::Alien, _)) => return Ok(Outcome::Silence),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// Takes a datagram and judges it; the bytes are copied if they are the answer.
fn receive(socket: &UdpSocket, asked: &[u8], end: usize) -> io::Result<(Judgement, Vec<u8>)> {
    /// As large as a datagram can be. Memory that no answer has ever filled is not the kernel's to give.
    const LARGEST: usize = 65_535;
    thread_local!(static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(LARGEST, 0);
        let len = socket.try_recv(buffer)?;
        let reply = &buffer[..len];
        let judgement = judge(reply, asked, end);
        let reply = if judgement == Judgement::Answer { reply.to_vec() } else { Vec::new() };
        Ok((judgement, reply))
    })
}

async fn by_connection(socket: OwnedFd, server: SocketAddr, asked: &[u8], end: usize) -> io::Result<Outcome> {
    let socket = TcpSocket::from_std_stream(socket.into());
    let mut stream = socket.connect(server).await?;
    tcp::write(&mut stream, asked).await?;
    let len = stream.read_u16().await?;
    let reply = tcp::read(&mut stream, len).await?;
    Ok(match judge(&reply, asked, end) {
        Judgement::Answer => Outcome::Answer(reply),
        Judgement::Failure => Outcome::Failure,
        Judgement::Alien => Outcome::Silence,
    })
}
