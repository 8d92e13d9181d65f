//! An attached exec: its pipes or its terminal, and the client.

use super::{Exec, ExecState};
use crate::Engine;
use crate::container::Container;
use crate::readiness;
use crate::stream::{End, HEADER, Input, STDERR, STDOUT, frame, header, pump_input};
use gantry_model::{Error, Result};
use rustix::pipe::{PipeFlags, pipe_with};
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;

const CHUNK: usize = 32 * 1024;
/// Exit status of what could not be started.
const NEVER_RAN: i64 = 128;

/// An exec that is about to run for a client.
#[derive(Debug)]
pub(crate) struct ExecRun {
    pub(crate) engine: Arc<Engine>,
    pub(crate) container: Arc<Container>,
    pub(crate) exec: Arc<Exec>,
    /// Height, width.
    pub(crate) console_size: Option<[u64; 2]>,
    /// The client said at start that it expects a terminal's bytes, whatever the process has: without one, its
    /// output goes out unframed.
    pub(crate) raw: bool,
}

/// The process' ends of its pipes, and the terminal's first size.
#[derive(Debug, Default)]
pub(crate) struct ExecIo {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) console_size: Option<[u64; 2]>,
}

/// The daemon's ends.
#[derive(Debug, Default)]
struct Ours {
    stdin: Option<pipe::Sender>,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
}

impl Drop for ExecRun {
    /// A client that left before its process was started: it never will be.
    fn drop(&mut self) {
        if *self.exec.state.borrow() == ExecState::Starting {
            self.engine.execs.end(&self.exec, NEVER_RAN);
        }
    }
}

impl ExecRun {
    /// Starts the process for nobody.
    pub(crate) async fn detached(self) -> Result<()> {
        if self.exec.request.tty {
            let terminal = self.open_terminal().await?;
            self.watch_terminal(terminal);
            return Ok(());
        }
        self.engine.launch_exec(&self.container, &self.exec, None).await.map(drop)
    }

    /// Starts the process and copies until it ended and its output is delivered.
    pub(crate) async fn run<C: AsyncRead + AsyncWrite + Unpin>(
        self,
        client: C,
        gone: impl Future<Output = ()>,
    ) -> Result<()> {
        let (reader, mut writer) = tokio::io::split(client);
        let outcome = if self.exec.request.tty {
            self.run_terminal(reader, &mut writer, gone).await
        } else {
            self.run_pipes(reader, &mut writer, gone).await
        };
        drop(writer.shutdown().await);
        outcome
    }

    async fn run_pipes<R, W>(&self, reader: R, writer: &mut W, gone: impl Future<Output = ()>) -> Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let (Ours { stdin, mut stdout, mut stderr }, theirs) = self.make_pipes()?;
        if let Err(e) = self.engine.launch_exec(&self.container, &self.exec, Some(&theirs)).await {
            return report(writer, &frame(STDOUT, format!("{e}\r\n").as_bytes())).await;
        }
        // Our copies of the process' ends would keep the pipes from ever reporting their end.
        drop(theirs);
        let input = pump_input(reader, Input { sink: stdin, detach: None });
        let output = copy_frames(&mut stdout, &mut stderr, self.exec.state.subscribe(), writer, self.raw);
        let end = self.both(input, output, gone).await;
        if end.is_err() {
            // The client has left. The process has not, and must not find its output closed.
            let state = self.exec.state.subscribe();
            tokio::spawn(
                async move { copy_frames(&mut stdout, &mut stderr, state, &mut tokio::io::sink(), true).await },
            );
        }
        end?;
        Ok(())
    }

    async fn run_terminal<R, W>(&self, reader: R, writer: &mut W, gone: impl Future<Output = ()>) -> Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let terminal = match self.open_terminal().await {
            Ok(terminal) => terminal,
            Err(e) => return report(writer, format!("{e}\r\n").as_bytes()).await,
        };
        let sink = self.exec.request.attach_stdin.then(|| Terminal(terminal.clone()));
        let input = pump_input(reader, Input { sink, detach: Some(self.exec.detach.clone()) });
        let output = copy_terminal(&terminal, self.exec.state.subscribe(), writer);
        let end = self.both(input, output, gone).await;
        if matches!(end, Ok(End::Closed)) {
            close_terminal(&self.exec);
        } else {
            self.watch_terminal(terminal);
        }
        if end? == End::Detached {
            self.engine.exec_event(&self.container, &self.exec, "exec_detach", &[]);
        }
        Ok(())
    }

    /// Starts the process with a terminal of its own, known to whoever resizes it.
    async fn open_terminal(&self) -> Result<Master> {
        let io = ExecIo { console_size: self.console_size, ..ExecIo::default() };
        let master = self.engine.launch_exec(&self.container, &self.exec, Some(&io)).await?;
        let master = Arc::new(master.ok_or_else(|| Error::internal("the shim sent no terminal"))?);
        rustix::io::ioctl_fionbio(&*master, true).map_err(io::Error::from)?;
        *self.exec.terminal.lock().unwrap_or_else(PoisonError::into_inner) = Some(master.clone());
        Ok(Arc::new(readiness::watch(master)?))
    }

    /// Reads on for nobody: without a master its terminal would hang up on the process.
    fn watch_terminal(&self, terminal: Master) {
        let exec = self.exec.clone();
        tokio::spawn(async move {
            drop(copy_terminal(&terminal, exec.state.subscribe(), &mut tokio::io::sink()).await);
            close_terminal(&exec);
        });
    }

    /// Runs both directions; the output's end, a failed client or a detach ends the session.
    async fn both(
        &self,
        input: impl Future<Output = io::Result<End>>,
        output: impl Future<Output = io::Result<()>>,
        gone: impl Future<Output = ()>,
    ) -> io::Result<End> {
        tokio::pin!(input, output, gone);
        let mut input_open = true;
        loop {
            tokio::select! {
                done = &mut output => return done.map(|()| End::Closed),
                () = &mut gone, if !input_open => return Err(io::ErrorKind::BrokenPipe.into()),
                end = &mut input, if input_open => match end {
                    Ok(End::Closed) => input_open = false,
                    other => return other,
                },
            }
        }
    }

    fn make_pipes(&self) -> Result<(Ours, ExecIo)> {
        let request = &self.exec.request;
        let (mut ours, mut theirs) = (Ours::default(), ExecIo::default());
        let new_pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
        if request.attach_stdin {
            let (read, write) = new_pipe()?;
            ours.stdin = Some(pipe::Sender::from_owned_fd(write)?);
            theirs.stdin = Some(read);
        }
        if request.attach_stdout {
            let (read, write) = new_pipe()?;
            ours.stdout = Some(pipe::Receiver::from_owned_fd(read)?);
            theirs.stdout = Some(write);
        }
        if request.attach_stderr {
            let (read, write) = new_pipe()?;
            ours.stderr = Some(pipe::Receiver::from_owned_fd(read)?);
            theirs.stderr = Some(write);
        }
        Ok((ours, theirs))
    }
}

fn close_terminal(exec: &Exec) {
    *exec.terminal.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

async fn report<W: AsyncWrite + Unpin>(client: &mut W, text: &[u8]) -> Result<()> {
    client.write_all(text).await?;
    Ok(())
}

type StateReceiver = tokio::sync::watch::Receiver<ExecState>;

async fn ended(state: &mut StateReceiver) {
    // The sender lives in the exec, which the session holds.
    drop(state.wait_for(|s| matches!(s, ExecState::Ended { .. })).await);
}

/// Frames both outputs. Ends when both pipes are at their end *and* the exit status is known, so
/// that a client that asks for it next finds it; or when the process is gone and the pipes, held open
/// by somebody it left behind, have nothing more.
async fn copy_frames<W: AsyncWrite + Unpin>(
    stdout: &mut Option<pipe::Receiver>,
    stderr: &mut Option<pipe::Receiver>,
    mut state: StateReceiver,
    client: &mut W,
    raw: bool,
) -> io::Result<()> {
    let (mut out, mut err) = (FrameBuffer::new(STDOUT, raw), FrameBuffer::new(STDERR, raw));
    while stdout.is_some() || stderr.is_some() {
        tokio::select! {
            n = out.fill(stdout.as_mut()) => match n? {
                0 => *stdout = None,
                n => client.write_all(out.seal(n)).await?,
            },
            n = err.fill(stderr.as_mut()) => match n? {
                0 => *stderr = None,
                n => client.write_all(err.seal(n)).await?,
            },
            () = ended(&mut state) => {
                drain(stdout.as_ref(), &mut out, client).await?;
                drain(stderr.as_ref(), &mut err, client).await?;
                return Ok(());
            }
        }
    }
    ended(&mut state).await;
    Ok(())
}

async fn drain<W: AsyncWrite + Unpin>(
    pipe: Option<&pipe::Receiver>,
    buffer: &mut FrameBuffer,
    client: &mut W,
) -> io::Result<()> {
    let Some(pipe) = pipe else { return Ok(()) };
    loop {
        // Asks the kernel directly: what the process wrote before its end is in the pipe.
        match rustix::io::read(pipe, &mut buffer.bytes[HEADER..]) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
            Ok(n) => client.write_all(buffer.seal(n)).await?,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Room for a header in front of what is read, so that a frame is one write.
struct FrameBuffer {
    stream: u8,
    raw: bool,
    bytes: Vec<u8>,
}

impl FrameBuffer {
    fn new(stream: u8, raw: bool) -> Self {
        Self { stream, raw, bytes: vec![0; HEADER + CHUNK] }
    }

    async fn fill(&mut self, pipe: Option<&mut pipe::Receiver>) -> io::Result<usize> {
        match pipe {
            Some(pipe) => pipe.read(&mut self.bytes[HEADER..]).await,
            None => pending().await,
        }
    }

    fn seal(&mut self, n: usize) -> &[u8] {
        if self.raw {
            return &self.bytes[HEADER..HEADER + n];
        }
        let header = header(self.stream, n);
        self.bytes[..HEADER].copy_from_slice(&header);
        &self.bytes[..HEADER + n]
    }
}

type Master = Arc<AsyncFd<Arc<OwnedFd>>>;

/// Copies a terminal's output. A master whose last slave is closed reads as EIO.
async fn copy_terminal<W: AsyncWrite + Unpin>(
    terminal: &Master,
    mut state: StateReceiver,
    client: &mut W,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = tokio::select! {
            n = read_terminal(terminal, &mut buffer) => n?,
            () = ended(&mut state) => {
                while let Ok(n @ 1..) = rustix::io::read(terminal.get_ref(), &mut buffer) {
                    client.write_all(&buffer[..n]).await?;
                }
                return Ok(());
            }
        };
        if n == 0 {
            ended(&mut state).await;
            return Ok(());
        }
        client.write_all(&buffer[..n]).await?;
    }
}

async fn read_terminal(terminal: &Master, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let mut ready = terminal.readable().await?;
        match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut *buffer).map_err(io::Error::from)) {
            Ok(Err(e)) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(0),
            Ok(result) => return result,
            Err(_would_block) => {}
        }
    }
}

/// The writing side of a terminal's master. Shutting it down does nothing: a terminal has no half-close.
struct Terminal(Master);

impl AsyncWrite for Terminal {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        loop {
            let mut ready = std::task::ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = ready.try_io(|fd| rustix::io::write(fd.get_ref(), bytes).map_err(io::Error::from)) {
                return std::task::Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
