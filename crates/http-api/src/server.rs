//! From a connection's requests to the handlers.

use crate::{
    errors,
    ops::{self, Conversation},
    query::{Query, check_escapes},
    request::{Call, RequestBody},
    respond,
    router::{self, VersionedPath},
    routes,
    version::ApiVersion,
    wire::{self, Answer, Body, Peer, Service},
};
use bytes::Bytes;
use gantry_engine::Engine;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::watch;

/// What `Server` says; the form `name/version (os)` is what clients take apart.
const SERVER: &str = concat!("Gantry/", env!("CARGO_PKG_VERSION"), " (linux)");

/// Answers the Docker Engine API for an engine.
#[derive(Debug, Clone)]
pub struct Server {
    engine: Arc<Engine>,
}

impl Server {
    /// A server for `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// Serves one connection until it ends. When `shutdown` turns true, an idle connection ends at
    /// once and a busy one after its current answer. Dropping the future breaks everything off.
    pub async fn serve_connection<IO>(&self, io: IO, shutdown: watch::Receiver<bool>)
    where
        IO: Peer,
    {
        wire::serve(io, self, shutdown).await;
    }

    /// Finds what is common to both kinds of requests; the error is the answer.
    fn prepare<B>(&self, request: Request<B>) -> Result<(Call, Method, String, B), Box<Response<Body>>> {
        let (parts, body) = request.into_parts();
        let VersionedPath { version: text, path } = router::split_version(parts.uri.path());
        let version = match text {
            None => ApiVersion::MAX,
            Some(text) => {
                let version = ApiVersion::parse(text).ok_or_else(|| Box::new(page_not_found()))?;
                if let Some(refusal) = version.refusal(text) {
                    return Err(Box::new(self.with_headers(respond::error(StatusCode::BAD_REQUEST, &refusal))));
                }
                version
            }
        };
        let query = check_escapes(path)
            .and_then(|()| Query::parse(parts.uri.query().unwrap_or_default()))
            .map_err(|e| Box::new(self.with_headers(errors::respond(&e))))?;
        let call = Call {
            engine: Arc::clone(&self.engine),
            version,
            captures: Vec::new(),
            query,
            headers: parts.headers,
            stopping: parts.extensions.get().cloned(),
            body: RequestBody::Whole(Bytes::new()),
        };
        Ok((call, parts.method, path.to_owned(), body))
    }

    fn with_headers(&self, mut response: Response<Body>) -> Response<Body> {
        response.headers_mut().extend(identity(self.engine.is_experimental()));
        response
    }
}

impl Service for Server {
    type Session = Conversation;

    fn takes_over(method: &str, path: &str) -> bool {
        let path = router::split_version(path).path;
        ops::TAKEOVERS.iter().any(|(m, pattern, _)| m == method && router::captures(pattern, path).is_some())
    }

    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut call, method, path, body) = match self.prepare(request) {
            Ok(prepared) => prepared,
            Err(answer) => return *answer,
        };
        let Some((route, captures)) = router::find(routes::ROUTES, call.version, &method, &path) else {
            return page_not_found();
        };
        call.captures = captures;
        call.body = RequestBody::Incoming(body);
        let answer = (route.handler)(call).await.unwrap_or_else(|e| errors::respond(&e));
        self.with_headers(answer)
    }

    async fn take_over(&self, request: Request<Bytes>) -> Answer<Conversation> {
        let (mut call, method, path, body) = match self.prepare(request) {
            Ok(prepared) => prepared,
            Err(answer) => return Answer::Respond(*answer),
        };
        for (_, pattern, handler) in ops::TAKEOVERS.iter().filter(|(m, ..)| *m == method) {
            if let Some(captures) = router::captures(pattern, &path) {
                call.captures = captures;
                call.body = RequestBody::Whole(body);
                return match handler(call).await {
                    Ok(Answer::Respond(response)) => Answer::Respond(self.with_headers(response)),
                    Ok(take @ Answer::Take { .. }) => take,
                    Err(e) => Answer::Respond(self.with_headers(errors::respond(&e))),
                };
            }
        }
        Answer::Respond(page_not_found())
    }
}

/// Docker's answer to paths and methods it does not know, without the usual headers.
fn page_not_found() -> Response<Body> {
    respond::error(StatusCode::NOT_FOUND, "page not found")
}

/// The headers that clients learn the engine from.
pub(crate) fn identity(experimental: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("api-version", HeaderValue::from_static("1.51"));
    headers.insert("docker-experimental", HeaderValue::from_static(if experimental { "true" } else { "false" }));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(SERVER));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_the_newest_version() {
        assert_eq!(identity(false)["api-version"].to_str().unwrap(), ApiVersion::MAX.to_string());
    }

    #[test]
    fn what_may_take_the_connection_over() {
        for (method, path, expected) in [
            ("POST", "/exec/1a/start", true),
            ("POST", "/v1.35/exec/1a/start", true),
            ("POST", "/v1.24/containers/a%2Fb/attach", true),
            ("GET", "/v1.41/containers/a/attach/ws", true),
            ("POST", "/containers/a/attach/ws", false),
            ("GET", "/exec/1a/start", false),
            ("POST", "/exec/1a/resize", false),
            ("POST", "/containers/attach", false),
            ("POST", "/containers//attach", false),
        ] {
            assert_eq!(Server::takes_over(method, path), expected, "{method} {path}");
        }
    }
}
