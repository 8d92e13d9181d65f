//! One request, one answer: connections, proxies, TLS and time limits. Redirects, credentials and second attempts are
//! the callers'.

mod body;
mod dial;
pub(crate) mod failure;
mod insecure;
mod pool;
mod proxy;
mod roots;
mod tls;
pub(crate) mod url;

pub(crate) use body::Body;
pub use failure::Failure;
pub(crate) use failure::SourceFailed;
pub(crate) use url::{Origin, Url};

use crate::Config;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::{body::Body as _, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long a registry may think about a small request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long it may take to receive nothing, or to finish a blob that was sent: it copies and digests gigabytes then.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

const MAX_HEADERS: usize = 64 << 10;

/// The largest piece in which a body is read; a connection needs no more memory than this.
const READ_BUFFER: usize = 256 << 10;

/// A request's body.
pub(crate) type Payload = UnsyncBoxBody<Bytes, SourceFailed>;

/// No body.
pub(crate) fn nothing() -> Payload {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A small body.
pub(crate) fn bytes(bytes: Bytes) -> Payload {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// Counts what was sent of a payload that takes its time.
    pub(crate) sent: Option<Arc<AtomicU64>>,
}

impl Call {
    /// A request without a body.
    pub(crate) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), payload: nothing(), sent: None }
    }
}

/// An answer, of which the body is still on its way.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Where it came from, after redirects.
    pub(crate) url: Url,
}

impl Answer {
    /// A header's text, if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends requests by the daemon's settings.
#[derive(Debug)]
pub(crate) struct Transport {
    dialler: dial::Dialler,
    pool: Arc<pool::Pool>,
}

impl Transport {
    pub(crate) fn new(config: &Config) -> Self {
        let user_agent = HeaderValue::try_from(&config.user_agent).unwrap_or(HeaderValue::from_static("gantry"));
        Self {
            dialler: dial::Dialler {
                proxies: proxy::Proxies::new(&config.http_proxy, &config.https_proxy, &config.no_proxy),
                insecure: insecure::Insecure::new(&config.insecure),
                tls: Arc::new(tls::Tls::new(config.certs_dirs.clone())),
                user_agent,
            },
            pool: Arc::default(),
        }
    }

    /// Whether plain HTTP may be spoken with `origin`.
    pub(crate) async fn may_be_plain(&self, origin: &Origin) -> bool {
        self.dialler.may_be_plain(origin).await
    }

    /// Sends one request and waits for the head of the answer.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Answer, Failure> {
        let (url, sent) = (call.url.clone(), call.sent.clone());
        let mut request = self.request(call)?;
        // A connection that waited may have been closed meanwhile. hyper gives a request back that was never sent.
        while let Some(sender) = self.pool.take(&url.origin) {
            match self.send(sender, request, &url, sent.as_ref()).await {
                Ok(answer) => return Ok(answer),
                Err((failure, None)) => return Err(failure),
                Err((_, Some(unsent))) => request = unsent,
            }
        }
        let io = self.dialler.dial(&url.origin).await?;
        let (sender, connection) = http1().handshake(TokioIo::new(io)).await.map_err(|e| Failure::from_hyper(&e))?;
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!("a connection to a registry ended: {e}");
            }
        });
        self.send(sender, request, &url, sent.as_ref()).await.map_err(|(failure, _)| failure)
    }

    fn request(&self, call: Call) -> Result<Request<Payload>, Failure> {
        let invalid = |e: http::Error| Failure::Malformed(e.to_string());
        let origin = &call.url.origin;
        let proxy = self.dialler.proxies.on_the_way_to(origin).filter(|_| !origin.https);
        let uri = if proxy.is_some() { format!("{origin}{}", call.url.target) } else { call.url.target.clone() };
        let (empty, method) = (call.payload.is_end_stream(), call.method.clone());
        let mut request = Request::new(call.payload);
        *request.method_mut() = call.method;
        *request.uri_mut() = Uri::try_from(uri).map_err(|e| invalid(e.into()))?;
        *request.headers_mut() = call.headers;
        let headers = request.headers_mut();
        let host = HeaderValue::try_from(origin.authority()).map_err(|e| invalid(e.into()))?;
        headers.insert(header::HOST, host);
        headers.insert(header::USER_AGENT, self.dialler.user_agent.clone());
        // Without a body hyper sends no length, and some servers answer that with 411.
        if empty && matches!(method, Method::POST | Method::PUT) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if let Some(authorization) = proxy.and_then(|proxy| proxy.authorization.clone()) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization);
        }
        Ok(request)
    }

    async fn send(
        &self,
        mut sender: http1::SendRequest<Payload>,
        request: Request<Payload>,
        url: &Url,
        sent: Option<&Arc<AtomicU64>>,
    ) -> Result<Answer, (Failure, Option<Request<Payload>>)> {
        if let Err(e) = sender.ready().await {
            return Err((Failure::from_hyper(&e), Some(request)));
        }
        let response = match patiently(sender.try_send_request(request), sent).await {
            None => return Err((Failure::HeaderTimeout, None)),
            Some(Err(mut e)) => {
                let unsent = e.take_message();
                return Err((Failure::from_hyper(e.error()), unsent));
            }
            Some(Ok(response)) => response,
        };
        let (head, incoming) = response.into_parts();
        let connection = body::Connection { pool: self.pool.clone(), origin: url.origin.clone(), sender };
        let body = Body::new(incoming, connection);
        Ok(Answer { status: head.status, headers: head.headers, body, url: url.clone() })
    }
}

/// Waits for an answer: a while, and as long as bytes go out.
async fn patiently<F: Future>(answer: F, sent: Option<&Arc<AtomicU64>>) -> Option<F::Output> {
    let mut answer = std::pin::pin!(answer);
    let Some(sent) = sent else {
        return tokio::time::timeout(HEADER_TIMEOUT, answer).await.ok();
    };
    loop {
        let before = sent.load(Ordering::Relaxed);
        match tokio::time::timeout(UPLOAD_TIMEOUT, &mut answer).await {
            Ok(answer) => return Some(answer),
            Err(_) if sent.load(Ordering::Relaxed) != before => {}
            Err(_) => return None,
        }
    }
}

/// How connections are made; every one has the same bounds.
fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(READ_BUFFER).max_header_size(MAX_HEADERS);
    builder
}
