//! Questions that come by connections: two bytes of length, then the message, one after the other.

use crate::forward;
use crate::message::refusal;
use crate::opener::Transport;
use crate::respond::{Response, respond};
use crate::sandbox::Sandbox;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a connection may be without a question.
const IDLE: Duration = Duration::from_secs(10);
/// How long a message may take from its first byte to its last.
const TRANSFER: Duration = Duration::from_secs(5);
/// How long nothing is accepted after an accept has failed, which it does when there are no more descriptors.
const RECOVERY: Duration = Duration::from_millis(100);

/// Accepts connections and serves them. They end with it.
pub(crate) async fn attend(sandbox: Arc<Sandbox>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => begin(&sandbox, &mut tasks, stream),
                Err(e) => {
                    tracing::debug!("container {}: its name server: {e}", sandbox.id);
                    tokio::time::sleep(RECOVERY).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// Serves a connection, unless there are too many: closing it tells the client so.
fn begin(sandbox: &Arc<Sandbox>, tasks: &mut JoinSet<()>, stream: TcpStream) {
    let Some(permit) = sandbox.connections.take() else {
        return sandbox.complain("connections to its name server");
    };
    let sandbox = sandbox.clone();
    tasks.spawn(async move {
        let _permit = permit;
        if let Err(e) = serve(&sandbox, stream).await {
            tracing::debug!("container {}: a connection to its name server: {e}", sandbox.id);
        }
    });
}

async fn serve(sandbox: &Sandbox, mut stream: TcpStream) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        let Ok(len) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
        let len = match len {
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        };
        let bytes = timeout(TRANSFER, read(&mut stream, len)).await??;
        match respond(sandbox, &bytes, Some(usize::from(u16::MAX)), &mut out) {
            Response::Silence => continue,
            Response::Ready => {}
            Response::Forward(sight, question) => {
                let permit = match forward::turn(sandbox) {
                    Some(turn) => turn.come().await,
                    None => None,
                };
                out = match permit {
                    Some(_permit) => forward::ask(sandbox, &sight, bytes.into(), question, Transport::Tcp).await,
                    None => refusal(&bytes),
                };
            }
        }
        timeout(TRANSFER, write(&mut stream, &out)).await??;
    }
}

/// Reads a message. Memory is taken for what has come and not for what was announced.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin), len: u16) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(len.into()).read_to_end(&mut bytes).await?;
    if bytes.len() < len.into() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Writes a message, with its length in the same packet.
pub(crate) async fn write(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let bytes = [&len.to_be_bytes()[..], message].concat();
    stream.write_all(&bytes).await
}
