//! A client's hijacked connection, tied to a container or an exec.

use super::{DetachKeys, End, Input, pump_input};
use crate::Engine;
use crate::container::Container;
use crate::exec::ExecRun;
use crate::logs::LogStream;
use gantry_model::Result;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

const CHUNK: usize = 64 * 1024;

/// An attachment that is ready to copy bytes. Dropping it detaches.
#[derive(Debug)]
pub struct AttachSession {
    pub(crate) tty: bool,
    pub(crate) kind: Kind,
}

/// What the client is attached to.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A container's init process, through its shim.
    Container {
        engine: Arc<Engine>,
        container: Arc<Container>,
        /// The log so far (`logs=1`), sent first.
        replay: Option<Box<LogStream>>,
        /// The live stream (`stream=1`).
        live: Option<UnixStream>,
        /// Forward the client's input.
        stdin: bool,
        /// Detach sequence; with a terminal only.
        detach: Option<DetachKeys>,
    },
    /// An exec, which is started by [`AttachSession::run`].
    Exec(Box<ExecRun>),
}

impl AttachSession {
    /// Whether the stream is raw; otherwise it is multiplexed.
    pub const fn is_tty(&self) -> bool {
        self.tty
    }

    /// Copies both ways until the process' output ends, the client goes away or detaches. Shuts the
    /// client's write side down at the end. `gone` is ready when a client that has said everything does not listen
    /// any more, either, which nothing else would tell while there is no output.
    pub async fn run<C: AsyncRead + AsyncWrite + Unpin>(self, client: C, gone: impl Future<Output = ()>) -> Result<()> {
        match self.kind {
            Kind::Exec(exec) => exec.run(client, gone).await,
            Kind::Container { engine, container, replay, live, stdin, detach } => {
                let (reader, mut writer) = tokio::io::split(client);
                if let Some(replay) = replay {
                    send_log(*replay, &mut writer).await?;
                }
                if let Some(live) = live {
                    let end = copy(live, reader, &mut writer, stdin, detach, gone).await?;
                    if end == End::Detached {
                        engine.container_event(&container, "detach", &[]);
                    }
                }
                drop(writer.shutdown().await);
                Ok(())
            }
        }
    }
}

async fn send_log<W: AsyncWrite + Unpin>(mut log: LogStream, client: &mut W) -> Result<()> {
    while let Some(bytes) = log.next().await {
        client.write_all(&bytes?).await?;
    }
    Ok(())
}

async fn copy<R, W>(
    live: UnixStream,
    reader: R,
    writer: &mut W,
    stdin: bool,
    detach: Option<DetachKeys>,
    gone: impl Future<Output = ()>,
) -> std::io::Result<End>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let (mut from, to) = live.into_split();
    let input = pump_input(reader, Input { sink: stdin.then_some(to), detach });
    let output = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = from.read(&mut buffer).await?;
            if n == 0 {
                return Ok(End::Closed);
            }
            writer.write_all(&buffer[..n]).await?;
        }
    };
    tokio::pin!(input, output, gone);
    let mut input_open = true;
    loop {
        tokio::select! {
            end = &mut output => return end,
            () = &mut gone, if !input_open => return Ok(End::Closed),
            end = &mut input, if input_open => match end {
                // A client that has said everything still listens.
                Ok(End::Closed) => input_open = false,
                other => return other,
            },
        }
    }
}
