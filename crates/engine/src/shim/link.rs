//! One connection to one shim: requests with answers, and the stream of events.

use crate::readiness;
use gantry_model::{Error, Result};
use gantry_shim_protocol::{Answer, Event, Failure, MAX_PACKET, Message, Request, RequestBody, codec, transport};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

type Reply = (Answer, Vec<OwnedFd>);

#[derive(Debug, Default)]
struct Pending {
    next: u32,
    /// `None` once the connection is gone.
    closed: bool,
    waiting: HashMap<u32, oneshot::Sender<Reply>>,
}

/// The sending half; shared by everybody who wants something of the shim.
#[derive(Debug)]
pub(crate) struct ShimLink {
    socket: Arc<AsyncFd<OwnedFd>>,
    pending: Mutex<Pending>,
}

/// The receiving half; owned by the supervising task.
#[derive(Debug)]
pub(crate) struct ShimReader {
    socket: Arc<AsyncFd<OwnedFd>>,
    link: Arc<ShimLink>,
    buffer: Vec<u8>,
}

/// What the supervisor reads.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// An event, with its descriptors.
    Event(Event, Vec<OwnedFd>),
    /// The shim is gone.
    Closed,
}

impl ShimLink {
    /// Wraps a connected, non-blocking socket.
    pub(crate) fn new(socket: OwnedFd) -> Result<(Arc<Self>, ShimReader)> {
        let socket = Arc::new(readiness::watch(socket)?);
        let link = Arc::new(Self { socket: socket.clone(), pending: Mutex::default() });
        Ok((link.clone(), ShimReader { socket, link, buffer: Vec::new() }))
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&self, body: RequestBody, fds: &[BorrowedFd<'_>]) -> Result<Reply> {
        let (tell, told) = oneshot::channel();
        let id = self.register(tell)?;
        if let Err(e) = self.send(&Request { id, body }, fds).await {
            self.pending().waiting.remove(&id);
            return Err(Error::unavailable(format!("the container's shim cannot be reached: {e}")));
        }
        told.await.map_err(|_| gone())
    }

    /// Like [`ShimLink::request`], where anything but [`Answer::Done`] is a failure.
    pub(crate) async fn perform(&self, body: RequestBody, fds: &[BorrowedFd<'_>]) -> Result<()> {
        match self.request(body, fds).await?.0 {
            Answer::Done => Ok(()),
            Answer::Failed(failure) => Err(failure_error(&failure)),
            other => Err(Error::internal(format!("the shim gave an unexpected answer: {other:?}"))),
        }
    }

    fn register(&self, tell: oneshot::Sender<Reply>) -> Result<u32> {
        let mut pending = self.pending();
        if pending.closed {
            return Err(gone());
        }
        pending.next = pending.next.wrapping_add(1);
        let id = pending.next;
        pending.waiting.insert(id, tell);
        Ok(id)
    }

    async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let packet = codec::encode(request).map_err(io::Error::other)?;
        loop {
            let mut ready = self.socket.writable().await?;
            match ready.try_io(|socket| transport::send(socket.as_fd(), &packet, fds)) {
                Ok(sent) => return sent,
                Err(_would_block) => {}
            }
        }
    }

    fn answer(&self, id: u32, reply: Reply) {
        if let Some(waiting) = self.pending().waiting.remove(&id) {
            // The asker may have gone away; then nobody wants the answer.
            drop(waiting.send(reply));
        }
    }

    /// Whether the shim is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.pending().closed
    }

    /// Fails everybody who waits, and everybody who will ask.
    fn close(&self) {
        let mut pending = self.pending();
        pending.closed = true;
        pending.waiting.clear();
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShimReader {
    /// Delivers answers to their askers and returns the next event.
    pub(crate) async fn next(&mut self) -> Incoming {
        loop {
            match self.receive().await {
                Ok(Some((Message::Answer { id, answer }, fds))) => self.link.answer(id, (answer, fds)),
                Ok(Some((Message::Event(event), fds))) => return Incoming::Event(event, fds),
                Ok(None) => break,
                Err(e) => {
                    tracing::warn!("reading from a shim: {e}");
                    break;
                }
            }
        }
        self.link.close();
        Incoming::Closed
    }

    async fn receive(&mut self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        loop {
            let mut ready = self.socket.readable().await?;
            // The buffer lives only while a packet is being read: hundreds of idle containers cost nothing.
            self.buffer.resize(MAX_PACKET, 0);
            let buffer = &mut self.buffer;
            let received = ready.try_io(|socket| transport::recv(socket.as_fd(), buffer));
            let result = match received {
                Ok(Ok(packet)) if packet.len == 0 => Some(Ok(None)),
                Ok(Ok(packet)) => {
                    let message = codec::decode(&self.buffer[..packet.len]).map_err(io::Error::other);
                    Some(message.map(|m| Some((m, packet.fds))))
                }
                Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => Some(Ok(None)),
                Ok(Err(e)) => Some(Err(e)),
                Err(_would_block) => None,
            };
            self.buffer = Vec::new();
            if let Some(result) = result {
                return result;
            }
        }
    }
}

impl Drop for ShimReader {
    fn drop(&mut self) {
        self.link.close();
    }
}

fn gone() -> Error {
    Error::conflict("the container's process has ended")
}

/// A shim's failure as the API's error, with the wording of Docker's OCI runtime.
pub(crate) fn failure_error(failure: &Failure) -> Error {
    use gantry_shim_protocol::Stage;
    let message = failure.message.clone();
    match failure.stage {
        Stage::Setup | Stage::State => Error::internal(message),
        Stage::Mount | Stage::User | Stage::WorkingDir | Stage::NotFound | Stage::NotExecutable => {
            Error::invalid(message)
        }
    }
}
