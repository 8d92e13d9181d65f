//! The shim's ends of the container's stdio: pipes, or the master of its terminal.

use crate::poller::{Interest, Poller, Token, Watched};
use gantry_container_logs::Stream;
use gantry_runtime::container::StdioFds;
use gantry_runtime::spec::Plan;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Room in an output pipe: enough that a container can write while the shim does, without waking
/// each other for every 64 KiB. The kernel only allocates what is in it.
const OUTPUT_PIPE: usize = 256 * 1024;

/// What a read of the container's output gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// So many bytes.
    Data(usize),
    /// Nothing right now.
    Nothing,
    /// Nothing any more.
    End,
}

/// Pipes or terminal.
#[derive(Debug)]
pub(crate) struct Stdio {
    stdin: Option<Watched>,
    stdout: Option<Watched>,
    stderr: Option<Watched>,
    terminal: Option<Watched>,
    has_terminal: bool,
    has_input: bool,
    /// Nobody has the terminal open at the moment.
    unopened: bool,
    /// Input that the container did not take yet. No more is read from clients while there is some.
    input: Vec<u8>,
    /// Close stdin when `input` is gone.
    closing: bool,
    /// A size that was asked for before there was a terminal.
    size: Option<(u16, u16)>,
}

impl Stdio {
    /// Makes the pipes; the second result is the container's side.
    pub(crate) fn new(plan: &Plan) -> io::Result<(Self, StdioFds)> {
        let mut ours = Self {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            has_terminal: plan.process.tty,
            has_input: plan.stdio.open_stdin,
            unopened: false,
            input: Vec::new(),
            closing: false,
            size: None,
        };
        let mut theirs = StdioFds::default();
        if plan.process.tty {
            return Ok((ours, theirs));
        }
        if plan.stdio.open_stdin {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            fcntl_setfl(&write, OFlags::NONBLOCK)?;
            ours.stdin = Some(Watched::new(write, Token::Stdin));
            theirs.stdin = Some(read);
        }
        let (stdout, write) = output_pipe(Token::Stdout)?;
        (ours.stdout, theirs.stdout) = (Some(stdout), Some(write));
        let (stderr, write) = output_pipe(Token::Stderr)?;
        (ours.stderr, theirs.stderr) = (Some(stderr), Some(write));
        Ok((ours, theirs))
    }

    /// Whether output is raw, and not in two streams.
    pub(crate) fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    /// The child has opened its terminal.
    pub(crate) fn set_terminal(&mut self, master: OwnedFd) -> io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(&master)?;
        fcntl_setfl(&master, flags | OFlags::NONBLOCK)?;
        self.terminal = Some(Watched::new(master, Token::Terminal));
        self.size.take().map_or(Ok(()), |(rows, cols)| self.resize(rows, cols))
    }

    pub(crate) fn resize(&mut self, rows: u16, cols: u16) -> io::Result<()> {
        let Some(terminal) = &self.terminal else {
            self.size = Some((rows, cols));
            return Ok(());
        };
        let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(terminal, size)?)
    }

    /// Reads output of the container.
    pub(crate) fn read(&mut self, token: Token, buf: &mut [u8]) -> Output {
        let Some(source) = self.output(token) else { return Output::End };
        let read = rustix::io::retry_on_intr(|| rustix::io::read(&*source, &mut *buf));
        if token == Token::Terminal {
            self.unopened = read == Err(Errno::IO);
        }
        match read {
            Ok(0) => Output::End,
            Ok(len) => Output::Data(len),
            Err(Errno::WOULDBLOCK) => Output::Nothing,
            // Somebody may open the terminal again.
            Err(_) if token == Token::Terminal => Output::Nothing,
            Err(_) => Output::End,
        }
    }

    fn output(&mut self, token: Token) -> Option<&mut Watched> {
        match token {
            Token::Stdout => self.stdout.as_mut(),
            Token::Stderr => self.stderr.as_mut(),
            Token::Terminal => self.terminal.as_mut(),
            _ => None,
        }
    }

    /// Closes an output that has ended.
    pub(crate) fn close_output(&mut self, token: Token) {
        match token {
            Token::Stdout => self.stdout = None,
            Token::Stderr => self.stderr = None,
            _ => {}
        }
    }

    /// The outputs there are.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (Token, Stream)> + use<> {
        let there = |fd: &Option<Watched>, token, stream| fd.is_some().then_some((token, stream));
        [
            there(&self.stdout, Token::Stdout, Stream::Stdout),
            there(&self.stderr, Token::Stderr, Stream::Stderr),
            there(&self.terminal, Token::Terminal, Stream::Stdout),
        ]
        .into_iter()
        .flatten()
    }

    /// Whether input is taken; of a container that reads none it is, and thrown away.
    pub(crate) fn takes_input(&self) -> bool {
        self.input.is_empty() && !(self.has_terminal && self.terminal.is_none())
    }

    /// Whether the container was made with a stdin to attach to.
    pub(crate) fn has_input(&self) -> bool {
        self.has_input
    }

    /// Gives input to the container.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        self.flush_input();
    }

    /// Closes stdin when everything that was sent so far is read. A terminal has no end of input.
    pub(crate) fn close_input(&mut self) {
        self.closing = true;
        self.flush_input();
    }

    /// Gives on what the container did not take before.
    pub(crate) fn flush_input(&mut self) {
        let mut written = 0;
        let mut broken = false;
        if let Some(sink) = self.terminal.as_ref().or(self.stdin.as_ref()) {
            while written < self.input.len() {
                match rustix::io::retry_on_intr(|| rustix::io::write(sink, &self.input[written..])) {
                    Ok(len) => written += len,
                    Err(Errno::WOULDBLOCK) => break,
                    Err(_) => {
                        broken = true;
                        break;
                    }
                }
            }
        } else {
            broken = true;
        }
        if broken || written == self.input.len() {
            self.input = Vec::new();
        } else {
            self.input.drain(..written);
        }
        if broken || self.closing && self.input.is_empty() {
            self.stdin = None;
        }
    }

    /// Waits for what can be done next. `read`: output is wanted.
    pub(crate) fn update(&mut self, read: bool, poller: &Poller) -> io::Result<()> {
        let output = if read { Interest::Read } else { Interest::Off };
        for pipe in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            pipe.want(poller, output)?;
        }
        let write = !self.input.is_empty();
        if let Some(stdin) = &mut self.stdin {
            stdin.want(poller, if write { Interest::Write } else { Interest::Off })?;
        }
        if let Some(terminal) = &mut self.terminal {
            // One that nobody has open reports a hang-up for as long as that lasts.
            let interest = match (read, write) {
                (true, _) if self.unopened => Interest::NewInput,
                (false, false) => Interest::Off,
                _ => Interest::of(read, write),
            };
            terminal.want(poller, interest)?;
        }
        Ok(())
    }
}

/// Our end, non-blocking, and the container's, which blocks.
fn output_pipe(token: Token) -> io::Result<(Watched, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    // Refused to a user with too many pipes; then it is as large as it is.
    let _ = fcntl_setpipe_size(read.as_fd(), OUTPUT_PIPE);
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((Watched::new(read, token), write))
}
