//! Requests to one registry, wherever it is: mirrors, `https`, `http`; redirects; credentials.

use crate::{
    Error, Result,
    auth::{Authenticator, Grant},
    retry,
    transport::{self, Answer, Call, Transport, Url},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// As many as Go follows.
const MAX_REDIRECTS: usize = 10;

/// A stale token, the newer one of another request that is stale too, and a fresh one.
const MAX_GRANTS: usize = 3;

/// One address of a registry.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) base: Url,
    /// Any failure of a mirror means to ask the next place.
    pub(crate) mirror: bool,
    pub(crate) auth: Authenticator,
    answered: AtomicBool,
}

impl Place {
    pub(crate) fn new(base: Url, mirror: bool, auth: Authenticator) -> Self {
        Self { base, mirror, auth, answered: AtomicBool::new(false) }
    }
}

/// A registry and what was learnt about it. It is asked at the first of its places that answers, from then on only
/// there.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) transport: Arc<Transport>,
    /// Never empty.
    places: Vec<Place>,
    current: AtomicUsize,
    /// What Docker asks first, and so names when nobody answers.
    ping: &'static str,
}

/// What to ask for; can be sent any number of times.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Bytes,
    /// The further repository that the token has to be for.
    pub(crate) from: Option<&'a str>,
    /// Whether to send it again when the connection breaks or the registry says "not now".
    pub(crate) again: bool,
    /// Whether the answer is verified by its digest, so that plain HTTP may carry it.
    pub(crate) verified: bool,
}

/// Where to ask.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A path and query at whichever place is current.
    Path(String),
    /// A URL that the registry named.
    Url(Url),
}

impl Request<'_> {
    /// A small request without a body.
    pub(crate) fn new(method: Method, target: Target) -> Self {
        Self {
            method,
            target,
            headers: HeaderMap::new(),
            content: Bytes::new(),
            from: None,
            again: true,
            verified: false,
        }
    }

    fn url(&self, place: &Place) -> Url {
        match &self.target {
            Target::Path(path) => place.base.with_target(path),
            Target::Url(url) => url.clone(),
        }
    }

    fn call(&self, url: &Url) -> Call {
        let mut call = Call::new(self.method.clone(), url.clone());
        call.headers.clone_from(&self.headers);
        if !self.content.is_empty() {
            call.payload = transport::bytes(self.content.clone());
        }
        call
    }
}

impl Session {
    pub(crate) fn new(transport: Arc<Transport>, places: Vec<Place>, ping: &'static str) -> Self {
        Self { transport, places, current: AtomicUsize::new(0), ping }
    }

    /// The place that is asked now.
    pub(crate) fn place(&self) -> &Place {
        &self.places[self.current.load(Ordering::Acquire).min(self.places.len() - 1)]
    }

    /// Sends a request to the registry. Every answer is one, whatever its status.
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Result<Answer> {
        loop {
            let index = self.current.load(Ordering::Acquire);
            let place = &self.places[index];
            let result = if request.again {
                retry::small(|| self.ask_at(place, request)).await
            } else {
                self.ask_at(place, request).await
            };
            if !self.may_advance(index, &result).await {
                return result;
            }
            let _ = self.current.compare_exchange(index, index + 1, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Whether the next place is worth asking after this.
    async fn may_advance(&self, index: usize, result: &Result<Answer>) -> bool {
        let Some(next) = self.places.get(index + 1) else {
            return false;
        };
        let place = &self.places[index];
        // A registry that was reached without TLS once may have learnt it. Servers with TLS answer plain HTTP with
        // 400, or hang up.
        let was_plain = next.base.origin.https && !place.mirror && !place.base.origin.https;
        match result {
            Ok(answer) if was_plain => answer.status == StatusCode::BAD_REQUEST,
            Err(Error::NoAnswer { .. }) if was_plain && !place.answered.load(Ordering::Relaxed) => true,
            Ok(answer) => place.mirror && !answer.status.is_success(),
            Err(_) if place.mirror => true,
            Err(Error::NoAnswer { failure, .. }) if !place.answered.load(Ordering::Relaxed) => {
                failure.before_any_answer() && self.transport.may_be_plain(&next.base.origin).await
            }
            Err(_) => false,
        }
    }

    async fn ask_at(&self, place: &Place, request: &Request<'_>) -> Result<Answer> {
        let url = request.url(place);
        let say = |e: Error| Error::NoToken { request: wording(&request.method, &url), source: Box::new(e) };
        let (transport, from) = (&*self.transport, request.from);
        let mut grant = place.auth.grant(transport, &place.base, from).await.map_err(say)?;
        let mut tries = 0;
        loop {
            let answer = self.follow(place, request, url.clone(), grant.as_ref()).await?;
            tries += 1;
            // Only the registry itself is told who we are.
            if answer.status != StatusCode::UNAUTHORIZED
                || answer.url.origin != place.base.origin
                || tries == MAX_GRANTS
            {
                return Ok(answer);
            }
            let better = place.auth.answer(transport, &place.base, &answer.headers, from, grant.as_ref()).await;
            match better.map_err(say)? {
                Some(better) => grant = Some(better),
                None => return Ok(answer),
            }
            // Reading the refusal to its end keeps the connection.
            answer.body.beginning().await;
        }
    }

    /// Sends a request and follows redirects, on which the credentials stay at home.
    async fn follow(
        &self,
        place: &Place,
        request: &Request<'_>,
        mut url: Url,
        grant: Option<&Grant>,
    ) -> Result<Answer> {
        let stop = |url: &Url, why: String| Error::Redirect { request: wording(&request.method, url), why };
        let mut visited = Vec::new();
        loop {
            let mut call = request.call(&url);
            if let Some(grant) = grant
                && url.origin == place.base.origin
            {
                call.headers.insert(header::AUTHORIZATION, grant.header.clone());
            }
            let answer = self.exchange(place, call).await?;
            let Some(location) = redirection(&answer, &request.method) else {
                return Ok(answer);
            };
            let next = url.join(&location).map_err(|e| stop(&url, e))?;
            if url.origin.https && !next.origin.https && !request.verified {
                return Err(stop(&url, format!("refusing to be redirected from https to {next}")));
            }
            visited.push(std::mem::replace(&mut url, next));
            if visited.contains(&url) {
                return Err(stop(&url, "redirect loop".to_owned()));
            }
            if visited.len() > MAX_REDIRECTS {
                return Err(stop(&url, format!("stopped after {MAX_REDIRECTS} redirects")));
            }
            answer.body.beginning().await;
        }
    }

    /// Sends one request to a place, or to where it sent us.
    pub(crate) async fn exchange(&self, place: &Place, call: Call) -> Result<Answer> {
        let (method, url) = (call.method.clone(), call.url.clone());
        match self.transport.exchange(call).await {
            Ok(answer) => {
                if url.origin == place.base.origin {
                    place.answered.store(true, Ordering::Relaxed);
                }
                Ok(answer)
            }
            Err(failure) if url.origin == place.base.origin && !place.answered.load(Ordering::Relaxed) => {
                let request = wording(&Method::GET, &place.base.with_target(self.ping));
                Err(Error::NoAnswer { request, failure })
            }
            Err(failure) => Err(Error::NoAnswer { request: wording(&method, &url), failure }),
        }
    }
}

/// Where the answer sends us, if the request can be sent there.
fn redirection(answer: &Answer, method: &Method) -> Option<String> {
    let reading = matches!(*method, Method::GET | Method::HEAD);
    let follows = match answer.status.as_u16() {
        301..=303 => reading,
        307 | 308 => true,
        _ => false,
    };
    let location = answer.headers.get(header::LOCATION).filter(|_| follows)?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// A request as Go words it: `Get "https://host/path"`.
pub(crate) fn wording(method: &Method, url: &Url) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{} \"{url}\"", rest.to_ascii_lowercase())
}
