//! From the client to the container.

use super::DetachKeys;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const CHUNK: usize = 32 * 1024;

/// How the client's direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed its side.
    Closed,
    /// The client typed the detach sequence.
    Detached,
}

/// What happens to the client's bytes.
#[derive(Debug)]
pub(crate) struct Input<W> {
    /// Where they go; `None` discards them.
    pub(crate) sink: Option<W>,
    /// Only with a terminal: the sequence to look for.
    pub(crate) detach: Option<DetachKeys>,
}

/// Copies until the client closes its side or detaches. The sink is shut down at the client's end of
/// file. A sink that fails (the process closed its stdin) turns the rest into waste, as a shell's pipe would.
pub(crate) async fn pump_input<R, W>(mut client: R, mut input: Input<W>) -> io::Result<End>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; CHUNK];
    let mut filtered = Vec::new();
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            if let Some(sink) = &mut input.sink {
                // The process may be gone already.
                drop(sink.shutdown().await);
            }
            return Ok(End::Closed);
        }
        let (bytes, detached) = match &mut input.detach {
            Some(keys) => {
                filtered.clear();
                let detached = keys.filter(&buffer[..n], &mut filtered);
                (filtered.as_slice(), detached)
            }
            None => (&buffer[..n], false),
        };
        if let Some(sink) = &mut input.sink
            && sink.write_all(bytes).await.is_err()
        {
            input.sink = None;
        }
        if detached {
            return Ok(End::Detached);
        }
    }
}
