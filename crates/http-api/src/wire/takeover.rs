//! Requests that take the connection over (attach, exec start): read, answered and left to a session
//! without hyper, because the older form of them answers a plain `200 OK` without any framing and then
//! talks both ways, which no HTTP library allows.

use super::{Body, HangUp, Peer, Service, Session, Stopping, front::Front, head::MAX_HEADERS, rewound::Rewound};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use std::{io, time::Duration};
use time::{OffsetDateTime, macros::format_description};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// The bodies of such requests are a few options.
const MAX_BODY: usize = 1024 * 1024;

/// How long a session's output waits for the client to have read the head.
const HEAD_READ: Duration = Duration::from_secs(1);

/// The ways to say that the connection is no longer HTTP's.
#[derive(Debug, Clone)]
pub(crate) enum Switch {
    /// Docker's older one: a plain `200 OK`, and then bytes without an end.
    Raw {
        /// Of the stream that follows.
        content_type: &'static str,
    },
    /// `101 UPGRADED`, for clients that asked for it.
    Upgrade {
        /// Of the stream that follows.
        content_type: &'static str,
    },
    /// A WebSocket's.
    WebSocket {
        /// The proof that its handshake was understood.
        accept: String,
    },
}

/// The answer to a request that may take the connection over.
pub(crate) enum Answer<S> {
    /// An ordinary answer after all; the connection goes on.
    Respond(Response<Body>),
    /// The connection now belongs to `session`.
    Take {
        /// How the client is told.
        switch: Switch,
        /// Further headers.
        headers: HeaderMap,
        /// Talks to the client from here.
        session: S,
    },
}

/// Serves the request whose head `front` holds back. Gives the connection back when it goes on.
pub(super) async fn serve<IO, S>(mut front: Front<IO>, service: &S, stopping: &Stopping) -> Option<Front<IO>>
where
    IO: Peer,
    S: Service,
{
    let mut request = parse(&front.takeover_head()?)?;
    let keep_alive = keeps_alive(&request);
    if request.headers().get(header::EXPECT).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        front.writer().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let answer = match front.takeover_body(MAX_BODY).await {
        Ok(body) => {
            *request.body_mut() = body.freeze();
            service.take_over(request).await
        }
        Err(e) => {
            let status = match e.kind() {
                io::ErrorKind::FileTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                io::ErrorKind::InvalidData => StatusCode::BAD_REQUEST,
                _ => return None,
            };
            respond(front.writer(), crate::respond::error(status, "cannot read the request's body"), false)
                .await
                .ok()?;
            return None;
        }
    };
    match answer {
        Answer::Respond(response) => {
            respond(front.writer(), response, keep_alive).await.ok()?;
            keep_alive.then_some(front)
        }
        Answer::Take { switch, headers, session } => {
            let head = session_head(&switch, &headers);
            let (unread, mut io) = front.into_raw();
            io.write_all(&head).await.ok()?;
            io.flush().await.ok()?;
            // docker-py and others read the head through a buffer which they then forget, with all
            // output that came along. Docker's execs start too slowly for that to be seen.
            let _ = tokio::time::timeout(HEAD_READ, io.has_read()).await;
            let hang_up = HangUp::of(&io);
            let mut client = Rewound::new(unread, io);
            tokio::select! {
                () = session.run(&mut client, hang_up) => {}
                () = stopping.clone().stopped() => {}
            }
            // The client may be gone; there is nobody to tell.
            let _ = client.shutdown().await;
            None
        }
    }
}

/// Builds the request; `None` cannot happen for a head that the front has summarised.
fn parse(head: &[u8]) -> Option<Request<Bytes>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(head).ok()?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request = Request::builder().method(parsed.method?).uri(parsed.path?).version(version);
    for header in parsed.headers.iter() {
        request = request.header(header.name, header.value);
    }
    request.body(Bytes::new()).ok()
}

fn keeps_alive(request: &Request<Bytes>) -> bool {
    let says =
        |token: &str| {
            request.headers().get_all(header::CONNECTION).iter().any(|value| {
                value.to_str().is_ok_and(|v| v.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
            })
        };
    if request.version() == Version::HTTP_10 { says("keep-alive") } else { !says("close") }
}

/// Docker's heads, word for word: old clients compare them.
fn session_head(switch: &Switch, headers: &HeaderMap) -> BytesMut {
    let mut head = BytesMut::new();
    let start = match switch {
        Switch::Raw { content_type } => format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n"),
        Switch::Upgrade { content_type } => {
            format!("HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n")
        }
        Switch::WebSocket { accept } => format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n"
        ),
    };
    head.put_slice(start.as_bytes());
    put_headers(&mut head, headers);
    head.put_slice(b"\r\n");
    head
}

async fn respond<W: AsyncWrite + Unpin>(writer: &mut W, response: Response<Body>, keep_alive: bool) -> io::Result<()> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut out = BytesMut::new();
    let reason = parts.status.canonical_reason().unwrap_or_default();
    out.put_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).as_bytes());
    put_headers(&mut out, &parts.headers);
    let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        out.put_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    if !keep_alive {
        out.put_slice(b"Connection: close\r\n");
    }
    let date =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    if let Ok(date) = OffsetDateTime::now_utc().format(&date) {
        out.put_slice(format!("Date: {date}\r\n").as_bytes());
    }
    out.put_slice(b"\r\n");
    out.put_slice(&body);
    writer.write_all(&out).await?;
    writer.flush().await
}

/// Headers with the capitals that Go writes.
fn put_headers(out: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        let mut start = true;
        for byte in name.as_str().bytes() {
            out.put_u8(if start { byte.to_ascii_uppercase() } else { byte });
            start = byte == b'-';
        }
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
}
