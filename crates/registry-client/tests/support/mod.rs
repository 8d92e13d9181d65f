//! Servers that answer as a test wants, and remember what they were asked.

#![allow(dead_code)] // Each test file uses some of it.

use bytes::Bytes;
use futures_util::StreamExt;
use gantry_model::{Digest, Reference};
use gantry_registry_client::{Access, BlobBody, Client, Config, Credentials, Error, Repository};
use http::{HeaderMap, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// The request target, in whatever form it came.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    pub(crate) fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn authorization(&self) -> &str {
        self.header(header::AUTHORIZATION)
    }
}

pub(crate) type Reply = Response<Full<Bytes>>;

/// A reply with a status, headers and a body.
pub(crate) fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let mut builder = Response::builder().status(StatusCode::from_u16(status).unwrap());
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

/// A refusal in the registry's words.
pub(crate) fn refusal(status: u16, code: &str, message: &str, headers: &[(&str, &str)]) -> Reply {
    reply(status, headers, format!(r#"{{"errors":[{{"code":"{code}","message":"{message}","detail":{{}}}}]}}"#))
}

/// A server; it ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers every request with what `answer` returns.
    pub(crate) async fn new(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::over(|tcp| async { Some(tcp) }, answer).await
    }

    /// The same over what `wrap` makes of each connection.
    pub(crate) async fn over<S, F>(
        wrap: impl Fn(TcpStream) -> F + Send + 'static,
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, record) = (Arc::new(answer), seen.clone());
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let (wrapped, answer, record) = (wrap(tcp), answer.clone(), record.clone());
                tokio::spawn(async move {
                    let Some(io) = wrapped.await else { return };
                    let service = service_fn(|request: http::Request<Incoming>| {
                        let (answer, record) = (answer.clone(), record.clone());
                        async move {
                            let (head, body) = request.into_parts();
                            let body =
                                body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                            let (method, target) = (head.method, head.uri.to_string());
                            let seen = Seen { method, target, headers: head.headers, body };
                            record.lock().unwrap().push(seen.clone());
                            Ok::<_, Infallible>(answer(&seen))
                        }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(io), service).await;
                });
            }
        });
        Self { address, seen, task }
    }

    /// Reads a request's head and writes `bytes`, whatever they are, then hangs up.
    pub(crate) async fn raw(bytes: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(bytes);
        let task = tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let bytes = bytes.clone();
                tokio::spawn(async move {
                    read_head(&mut tcp).await;
                    let _ = tcp.write_all(&bytes).await;
                    let _ = tcp.shutdown().await;
                    // Closing with unread bytes would reset the connection before the client has read.
                    let _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await;
                });
            }
        });
        Self { address, seen: Arc::default(), task }
    }

    /// What was asked so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The targets of what was asked.
    pub(crate) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    /// A repository `a/b` of this server.
    pub(crate) fn repository(&self, credentials: &Credentials, access: Access) -> Repository {
        Client::new(Config::default()).repository(&self.reference(), credentials, access).unwrap()
    }

    /// The same, for reading by nobody in particular.
    pub(crate) fn anonymous(&self) -> Repository {
        self.repository(&Credentials::default(), Access::Pull)
    }

    pub(crate) fn reference(&self) -> Reference {
        Reference::parse(&format!("{}/a/b", self.address)).unwrap()
    }
}

/// Reads until the empty line; what a TLS client sends has none, and is read once.
async fn read_head(tcp: &mut TcpStream) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match tcp.read(&mut buffer).await {
            Ok(n) if n > 0 => head.extend_from_slice(&buffer[..n]),
            _ => return,
        }
        if head[0] == 0x16 {
            return;
        }
    }
}

/// A proxy that connects to `there` whoever is asked for; remembers the heads of what it was asked.
pub(crate) async fn tunnel(there: SocketAddr, answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>, Abort) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let record = heads.clone();
    let task = tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let record = record.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(near.read_u8().await.unwrap());
                }
                record.lock().unwrap().push(String::from_utf8(head).unwrap());
                near.write_all(answer.as_bytes()).await.unwrap();
                let mut far = TcpStream::connect(there).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (address, heads, Abort(task))
}

/// Ends a task with the test.
pub(crate) struct Abort(JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

/// Reads a body to its end.
pub(crate) async fn read(mut body: BlobBody) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(bytes) = body.next().await? {
        whole.extend_from_slice(&bytes);
    }
    Ok(whole)
}

/// A body to send, in pieces.
pub(crate) fn pieces(
    bytes: &'static [u8],
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures_util::stream::iter(bytes.chunks(7)).map(|piece| Ok(Bytes::from_static(piece)))
}

pub(crate) fn password() -> Credentials {
    Credentials { username: "u".into(), password: "p".into(), ..Credentials::default() }
}
