//! What hyper reads from: the connection, a request at a time, with targets it accepts.

use super::{
    HangUp, MAX_HEAD, Peer,
    body_end::{BodyEnd, Broken},
    head::{self, Summary},
    progress::Progress,
};
use bytes::{Buf, BytesMut};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::Sleep,
};

/// How long a client may take for a head after its first byte. Between requests it may be silent for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How much is read at once while looking for a head.
const READ_SIZE: usize = 16 * 1024;
/// How much is read at once of a body in chunks; no more than hyper's buffer holds.
const BODY_READ_SIZE: usize = 128 * 1024;

/// Where in the stream of requests the connection is.
enum State {
    /// In a head, or before one; so many bytes of it were searched.
    Head { searched: usize },
    /// A head is being handed on, then its body follows.
    Handing { head: BytesMut, body: BodyEnd },
    /// In a body.
    Body(BodyEnd),
    /// Nobody but hyper can tell any more what the bytes mean.
    Raw,
    /// The next request takes the connection over.
    Takeover { head: BytesMut, summary: Summary },
}

/// The reading side of a connection for hyper; see the module's documentation.
pub(super) struct Front<IO> {
    io: IO,
    /// Read from `io` and not handed on.
    unread: BytesMut,
    state: State,
    progress: Arc<Progress>,
    takes_over: fn(&str, &str) -> bool,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Ready when a client that has no more to say is gone as well.
    gone: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<IO: Peer> Front<IO> {
    pub(super) fn new(io: IO, takes_over: fn(&str, &str) -> bool) -> Self {
        Self {
            io,
            unread: BytesMut::new(),
            state: State::Head { searched: 0 },
            progress: Arc::default(),
            takes_over,
            deadline: None,
            gone: None,
        }
    }

    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Whether hyper saw the end because the next request takes the connection over.
    pub(super) fn is_takeover(&self) -> bool {
        matches!(self.state, State::Takeover { .. })
    }

    /// The head that takes the connection over. The front is then in the body of that request.
    pub(super) fn takeover_head(&mut self) -> Option<BytesMut> {
        match std::mem::replace(&mut self.state, State::Raw) {
            State::Takeover { head, summary } => {
                self.state = State::Body(BodyEnd::new(summary.framing));
                Some(head)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Reads the body of the request whose head was taken; fails beyond `limit` bytes.
    pub(super) async fn takeover_body(&mut self, limit: usize) -> io::Result<BytesMut> {
        let mut collected = BytesMut::new();
        loop {
            let State::Body(body) = &mut self.state else { return Err(io::ErrorKind::InvalidData.into()) };
            if body.is_done() {
                self.state = State::Head { searched: 0 };
                return Ok(collected);
            }
            let run = body.advance(&self.unread).map_err(|Broken| io::Error::from(io::ErrorKind::InvalidData))?;
            let piece = self.unread.split_to(run.length);
            if run.data {
                collected.unsplit(piece);
            }
            if collected.len() > limit {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            if self.unread.is_empty() && !body.is_done() {
                let read = tokio::time::timeout(HEAD_TIMEOUT, std::future::poll_fn(|cx| self.poll_fill(cx, READ_SIZE)));
                if read.await?? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }

    /// Writes to the client.
    pub(super) fn writer(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The connection, and what was read from it too early.
    pub(super) fn into_raw(self) -> (BytesMut, IO) {
        (self.unread, self.io)
    }

    /// Reads more into `unread`.
    fn poll_fill(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.unread.reserve(most);
        // The future holds nothing that a later one would miss.
        std::pin::pin!(self.io.read_buf(&mut self.unread)).poll(cx)
    }

    /// Looks for a whole head in `unread` and decides what it is.
    fn poll_head(&mut self, cx: &mut Context<'_>, searched: usize) -> Poll<io::Result<HeadStep>> {
        if let Some(length) = head::end(&self.unread, searched) {
            self.deadline = None;
            self.state = self.classify(length);
            return Poll::Ready(Ok(HeadStep::Again));
        }
        if self.unread.len() > MAX_HEAD {
            // hyper's limit is the same, so it answers 431.
            self.state = State::Raw;
            return Poll::Ready(Ok(HeadStep::Again));
        }
        self.state = State::Head { searched: self.unread.len() };
        match self.poll_fill(cx, READ_SIZE)? {
            Poll::Ready(0) if self.unread.is_empty() => {
                ready!(self.poll_end(cx));
                Poll::Ready(Ok(HeadStep::End))
            }
            Poll::Ready(0) => {
                ready!(self.poll_end(cx));
                self.state = State::Raw;
                Poll::Ready(Ok(HeadStep::Again))
            }
            Poll::Ready(_) => Poll::Ready(Ok(HeadStep::Again)),
            Poll::Pending if self.unread.is_empty() => Poll::Pending,
            Poll::Pending => {
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)));
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Ready when hyper may hear of the end of the client's bytes. It drops what is under way then, and a client that
    /// only closed its sending side still waits for the answer.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.progress.poll_idle(cx).is_ready() || !self.io.tells_hang_up() {
            return Poll::Ready(());
        }
        let gone = self.gone.get_or_insert_with(|| Box::pin(HangUp::of(&self.io).happened()));
        gone.as_mut().poll(cx)
    }

    /// The state after a head of `length` bytes at the front of `unread`.
    fn classify(&mut self, length: usize) -> State {
        let head = self.unread.split_to(length);
        let head = match head::normalise(&head) {
            std::borrow::Cow::Borrowed(_) => head,
            std::borrow::Cow::Owned(changed) => BytesMut::from(changed.as_slice()),
        };
        let Some(summary) = head::summarise(&head) else {
            let mut all = head;
            all.extend_from_slice(&self.unread);
            self.unread = all;
            return State::Raw;
        };
        if (self.takes_over)(&summary.method, &summary.path) {
            return State::Takeover { head, summary };
        }
        self.progress.begin();
        State::Handing { head, body: BodyEnd::new(summary.framing) }
    }

    /// Hands on bytes of a body.
    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let State::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        if self.unread.is_empty() {
            if let Some(left) = body.known_left() {
                // Straight into hyper's buffer, but not beyond the body's end.
                let length = buf.remaining().min(usize::try_from(left).unwrap_or(usize::MAX));
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(length));
                ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
                let length = part.filled().len();
                // A length cannot be broken.
                let _ = body.advance(part.filled());
                buf.advance(length);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(cx, BODY_READ_SIZE))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let State::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        let offer = &self.unread[..self.unread.len().min(buf.remaining())];
        if let Ok(run) = body.advance(offer) {
            buf.put_slice(&self.unread[..run.length]);
            self.unread.advance(run.length);
            Poll::Ready(Ok(()))
        } else {
            self.state = State::Raw;
            self.poll_raw(cx, buf)
        }
    }

    fn poll_raw(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        hand_on(&mut self.unread, buf);
        Poll::Ready(Ok(()))
    }
}

/// What looking for a head led to.
enum HeadStep {
    /// Look at the state again.
    Again,
    /// The client is done.
    End,
}

fn hand_on(from: &mut BytesMut, buf: &mut ReadBuf<'_>) {
    let length = from.len().min(buf.remaining());
    buf.put_slice(&from[..length]);
    from.advance(length);
}

impl<IO: Peer> AsyncRead for Front<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            match &mut this.state {
                State::Head { searched } => {
                    let searched = *searched;
                    if let HeadStep::End = ready!(this.poll_head(cx, searched))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Handing { head, body } => {
                    hand_on(head, buf);
                    if head.is_empty() {
                        this.state = State::Body(body.clone());
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Body(body) if body.is_done() => {
                    if this.unread.is_empty() {
                        // Connections that are only kept alive should not hold a large buffer.
                        this.unread = BytesMut::new();
                    }
                    this.state = State::Head { searched: 0 };
                }
                State::Body(_) => return this.poll_body(cx, buf),
                State::Raw => return this.poll_raw(cx, buf),
                State::Takeover { .. } => {
                    // Nothing filled is the end of the stream: hyper flushes and lets go.
                    ready!(this.progress.poll_idle(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<IO: Peer> AsyncWrite for Front<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// hyper closes what it believes has ended; before a takeover that only means to flush.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_takeover() {
            return self.poll_flush(cx);
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
