//! One call, one connection, one bounded answer.

use crate::address::Address;
use crate::error::{PluginError, Result};
use crate::registry::Patience;
use crate::tls;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// What the protocol's version 1.2 asks for.
const ACCEPT: &str = "application/vnd.docker.plugins.v1.2+json";
/// A list of ten thousand volumes has a tenth of this.
const MAX_ANSWER: usize = 8 << 20;
/// What of a plugin's words becomes part of an error.
const MAX_MESSAGE: usize = 4 << 10;
const MAX_HEADERS: usize = 64 << 10;
const CONNECT: Duration = Duration::from_secs(10);
/// Docker tries for so long to reach a plugin that is not there.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// The envelope of every answer.
#[derive(Deserialize, Default)]
struct Envelope {
    #[serde(rename = "Err", alias = "err", default)]
    err: Option<String>,
}

/// Calls `method` of the plugin at `address`.
pub(crate) async fn call<A: Serialize, R: DeserializeOwned>(
    address: &Address,
    method: &str,
    arguments: &A,
    limit: Duration,
    patience: Patience,
) -> Result<R> {
    let body = serde_json::to_vec(arguments).map_err(|e| answer(method, e.to_string()))?;
    let bytes = with_retries(address, method, body.into(), limit, patience).await?;
    // Some plugins answer calls that have nothing to tell with nothing.
    let bytes = if bytes.iter().all(u8::is_ascii_whitespace) { Bytes::from_static(b"{}") } else { bytes };
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|e| answer(method, e.to_string()))?;
    match envelope.err.filter(|e| !e.is_empty()) {
        Some(words) => Err(PluginError::Refused(shortened(&words))),
        None => serde_json::from_slice(&bytes).map_err(|e| answer(method, e.to_string())),
    }
}

/// Only what never reached the plugin is tried again: nobody knows what became of the rest.
async fn with_retries(
    address: &Address,
    method: &str,
    body: Bytes,
    limit: Duration,
    patience: Patience,
) -> Result<Bytes> {
    let begun = Instant::now();
    let mut pause = Duration::from_secs(1);
    loop {
        let unreachable = |reason: String| PluginError::Unreachable { url: address.url(method), reason };
        match connect(address).await {
            Ok(io) => {
                let exchanged = tokio::time::timeout(limit, exchange(io, address, method, body)).await;
                let timeout = || Err(unreachable("net/http: request canceled (Client.Timeout exceeded)".to_owned()));
                return exchanged.unwrap_or_else(|_| timeout());
            }
            Err(reason) if patience == Patience::Brief || begun.elapsed() + pause >= RETRY_FOR => {
                return Err(unreachable(reason));
            }
            Err(reason) => tracing::warn!("plugin: {}: {reason}, trying again", address.url(method)),
        }
        // Nothing tells when somebody begins to listen.
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

async fn connect(address: &Address) -> Result<Box<dyn Io>, String> {
    let dial = async {
        match address {
            Address::Unix(path) => {
                let say = |e: io::Error| format!("dial unix {}: connect: {}", path.display(), plain(&e));
                Ok::<Box<dyn Io>, String>(Box::new(UnixStream::connect(path).await.map_err(say)?))
            }
            Address::Tcp { authority, tls } => {
                let say = |e: io::Error| format!("dial tcp {authority}: {}", plain(&e));
                let tcp = TcpStream::connect(authority).await.map_err(say)?;
                let io: Box<dyn Io> = match tls.clone() {
                    None => Box::new(tcp),
                    Some(options) => Box::new(tls::connect(tcp, authority, options).await?),
                };
                Ok(io)
            }
        }
    };
    tokio::time::timeout(CONNECT, dial).await.unwrap_or_else(|_| Err(format!("dial {}: i/o timeout", address.host())))
}

/// Go's words: no number, small letters.
fn plain(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_ascii_lowercase()
}

async fn exchange(io: Box<dyn Io>, address: &Address, method: &str, body: Bytes) -> Result<Bytes> {
    let broken = |e: hyper::Error| PluginError::Unreachable { url: address.url(method), reason: e.to_string() };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEADERS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(broken)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{method}"))
        .header(header::HOST, address.host())
        .header(header::ACCEPT, ACCEPT)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|e| answer(method, e.to_string()))?;
    let talk = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let bytes = body.map_err(|e| match e.downcast_ref::<LengthLimitError>() {
            Some(_) => answer(method, format!("the answer is longer than {MAX_ANSWER} bytes")),
            None => PluginError::Unreachable { url: address.url(method), reason: e.to_string() },
        })?;
        Ok((status, bytes.to_bytes()))
    };
    // The connection is driven here: what it waits for ends with the call.
    tokio::pin!(talk);
    let mut connection = std::pin::pin!(connection);
    let (status, bytes) = tokio::select! {
        done = &mut talk => done?,
        _ = &mut connection => talk.await?,
    };
    if status == StatusCode::OK {
        return Ok(bytes);
    }
    let envelope = serde_json::from_slice::<Envelope>(&bytes).unwrap_or_default();
    let words = envelope.err.filter(|e| !e.is_empty()).unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned());
    Err(PluginError::Status { method: method.to_owned(), status: status.as_u16(), message: shortened(words.trim()) })
}

fn answer(method: &str, reason: String) -> PluginError {
    PluginError::Answer { method: method.to_owned(), reason }
}

fn shortened(words: &str) -> String {
    words.chars().take(MAX_MESSAGE).collect()
}
