//! WebSockets (RFC 6455) as far as attaching needs them: a stream of bytes each way, in messages whose limits mean nothing.
//!
//! Written here because it is small: a library would bring its own handshake, buffers for whole messages and a second
//! set of hash functions.

mod frame;
mod sha1;

use frame::{Opcode, Sent};
use gantry_model::{Error, Result};
use http::{HeaderMap, HeaderName, header};
use std::future::Future;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CHUNK: usize = 32 * 1024;
/// Pings that wait for their answer; a client that sends more does not need each answered.
const PINGS: usize = 4;
/// Status 1000: all is said.
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// Checks a client's handshake: the value of `Sec-WebSocket-Accept`.
pub(crate) fn accept(headers: &HeaderMap) -> Result<String> {
    let has = |name: HeaderName, token: &str| {
        headers
            .get_all(name)
            .iter()
            .any(|value| value.to_str().is_ok_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))))
    };
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(Error::invalid("not websocket protocol"));
    }
    if !has(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Error::invalid("missing or bad WebSocket Version"));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY).map(http::HeaderValue::as_bytes) {
        Some(key) if !key.is_empty() => Ok(base64(&sha1::digest(&[key, GUID.as_bytes()].concat()))),
        _ => Err(Error::invalid("mismatch challenge/response")),
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0usize, |bits, byte| bits << 8 | usize::from(*byte));
        for at in 0..4 {
            let digit = char::from(ALPHABET[bits >> (18 - 6 * at) & 63]);
            text.push(if at <= group.len() { digit } else { '=' });
        }
    }
    text
}

/// How the container's bytes are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages {
    /// As text, which they need not be; clients before API 1.28 want it so.
    pub(crate) text: bool,
    /// They come in Docker's frames, which messages do not have.
    pub(crate) framed: bool,
}

/// Runs `session` with the plain bytes of both directions, and ends with the closing handshake.
pub(crate) async fn run<C, F>(client: C, messages: Messages, session: impl FnOnce(DuplexStream) -> F)
where
    C: AsyncRead + AsyncWrite + Unpin + Send,
    F: Future<Output = ()> + Send,
{
    let (plain, theirs) = tokio::io::duplex(CHUNK);
    let (from_session, to_session) = tokio::io::split(plain);
    let (reader, writer) = tokio::io::split(client);
    let (ping, pings) = mpsc::channel(PINGS);
    let session = session(theirs);
    let output = write(from_session, writer, pings, messages);
    let input = read(reader, to_session, ping);
    tokio::pin!(session, output, input);
    let mut running = true;
    loop {
        tokio::select! {
            // Its end closes the output, which then says so to the client.
            () = &mut session, if running => running = false,
            done = &mut output => return log(done),
            // The client said that it is done and went away, or spoke nonsense.
            done = &mut input => return log(done),
        }
    }
}

fn log(done: io::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%error, "a WebSocket broke off");
    }
}

/// From the client to the session, until the client's connection ends.
async fn read<R: AsyncRead + Unpin>(
    mut client: R,
    mut session: WriteHalf<DuplexStream>,
    ping: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while let Some(head) = frame::read_head(&mut client).await? {
        let mut offset = 0;
        while offset < head.length {
            let size = usize::try_from(head.length - offset).unwrap_or(CHUNK).min(CHUNK);
            let n = client.read(&mut buffer[..size]).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            frame::unmask(&mut buffer[..n], head.mask, offset);
            offset += n as u64;
            match head.opcode {
                // A session that is over wants nothing more.
                Opcode::Data => drop(session.write_all(&buffer[..n]).await),
                Opcode::Ping if n as u64 == head.length => drop(ping.try_send(buffer[..n].to_vec())),
                Opcode::Ping | Opcode::Pong | Opcode::Close => {}
            }
        }
        match head.opcode {
            Opcode::Ping if head.length == 0 => drop(ping.try_send(Vec::new())),
            // It has nothing more to say and may listen to the rest.
            Opcode::Close => drop(session.shutdown().await),
            _ => {}
        }
    }
    Ok(())
}

/// From the session to the client, until the session ends.
async fn write<W: AsyncWrite + Unpin>(
    mut session: ReadHalf<DuplexStream>,
    mut client: W,
    mut pings: mpsc::Receiver<Vec<u8>>,
    messages: Messages,
) -> io::Result<()> {
    let kind = if messages.text { Sent::Text } else { Sent::Binary };
    let mut unframed = Unframed::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        tokio::select! {
            read = session.read(&mut buffer) => match read? {
                0 => break,
                n if messages.framed => {
                    for piece in unframed.pieces(&buffer[..n]) {
                        client.write_all(&frame::encode(kind, piece)).await?;
                    }
                }
                n => client.write_all(&frame::encode(kind, &buffer[..n])).await?,
            },
            Some(payload) = pings.recv() => client.write_all(&frame::encode(Sent::Pong, &payload)).await?,
        }
    }
    client.write_all(&frame::encode(Sent::Close, &NORMAL)).await?;
    client.shutdown().await
}

/// Takes the headers of Docker's frames out of a stream that comes in any pieces.
#[derive(Default)]
struct Unframed {
    head: Vec<u8>,
    left: usize,
}

impl Unframed {
    const HEADER: usize = 8;

    fn pieces<'b>(&mut self, mut bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = bytes.split_at((Self::HEADER - self.head.len()).min(bytes.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let [.., a, b, c, d] = self.head[..]
                    && self.head.len() == Self::HEADER
                {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.head.clear();
                }
                continue;
            }
            let (piece, rest) = bytes.split_at(self.left.min(bytes.len()));
            pieces.push(piece);
            self.left -= piece.len();
            bytes = rest;
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_of_the_specification() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(accept(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for missing in ["upgrade", "connection", "sec-websocket-version", "sec-websocket-key"] {
            let mut headers = headers.clone();
            headers.remove(missing);
            assert!(accept(&headers).is_err(), "{missing}");
        }
        assert_eq!((base64(b"a"), base64(b"ab"), base64(b"abc")), ("YQ==".into(), "YWI=".into(), "YWJj".into()));
    }

    #[test]
    fn frames_are_taken_out_at_any_split() {
        let stream =
            [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"one", &[2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2], b"tw"].concat();
        for cut in 0..=stream.len() {
            let mut unframed = Unframed::default();
            let mut text = unframed.pieces(&stream[..cut]).concat();
            text.extend(unframed.pieces(&stream[cut..]).concat());
            assert_eq!(text, b"onetw", "{cut}");
        }
    }

    #[tokio::test]
    async fn a_conversation() {
        let (mut client, server) = tokio::io::duplex(1024);
        let messages = Messages { text: false, framed: false };
        let served = tokio::spawn(run(server, messages, |mut stream| async move {
            let mut said = Vec::new();
            stream.read_to_end(&mut said).await.unwrap();
            stream.write_all(&said.to_ascii_uppercase()).await.unwrap();
        }));
        // A message in two pieces with a ping between them, and the end.
        for frame in [
            &[0x01, 0x82, 0, 0, 0, 0, b'a', b'b'][..],
            &[0x89, 0x81, 0, 0, 0, 0, b'p'],
            &[0x80, 0x81, 0, 0, 0, 0, b'c'],
        ] {
            client.write_all(frame).await.unwrap();
        }
        let mut pong = [0; 3];
        client.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0x8A, 1, b'p']);
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, [0x82, 3, b'A', b'B', b'C', 0x88, 2, 3, 0xE8]);
        served.await.unwrap();
    }
}
