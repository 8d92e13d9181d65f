//! Making connections: names to addresses, TCP, proxies, TLS.

use super::{
    failure::Failure,
    insecure::Insecure,
    proxy::{Proxies, Proxy},
    tls::Tls,
    url::Origin,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Docker's.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long an address has before the next is tried beside it (RFC 8305, and Go).
const HEAD_START: Duration = Duration::from_millis(300);

/// More addresses than this nobody waits for.
const MAX_ADDRESSES: usize = 8;

/// A byte stream of whatever layers.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Makes connections by the daemon's settings.
#[derive(Debug)]
pub(super) struct Dialler {
    pub(super) proxies: Proxies,
    pub(super) insecure: Insecure,
    pub(super) tls: Arc<Tls>,
    pub(super) user_agent: HeaderValue,
}

impl Dialler {
    /// Connects to `origin`, through a proxy if the settings say so.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<Box<dyn Io>, Failure> {
        let (io, insecure): (Box<dyn Io>, _) = if let Some(proxy) = self.proxies.on_the_way_to(origin) {
            (self.dial_through(proxy, origin).await?, self.insecure.names(origin))
        } else {
            let tcp = connect(origin).await?;
            // What counts is who is really spoken to, not what the name may mean the next time it is looked up.
            let insecure = self.insecure.names(origin) || tcp.peer_addr().is_ok_and(|a| self.insecure.has(a.ip()));
            (Box::new(tcp), insecure)
        };
        if !origin.https {
            return Ok(io);
        }
        Ok(Box::new(self.tls.connect(io, origin, insecure).await?))
    }

    async fn dial_through(&self, proxy: &Proxy, origin: &Origin) -> Result<Box<dyn Io>, Failure> {
        let say = |e: Failure| Failure::Proxy(e.to_string());
        let tcp = connect(&proxy.origin).await.map_err(say)?;
        let io: Box<dyn Io> = if proxy.origin.https {
            Box::new(self.tls.connect(tcp, &proxy.origin, self.insecure.names(&proxy.origin)).await.map_err(say)?)
        } else {
            Box::new(tcp)
        };
        if !origin.https {
            return Ok(io);
        }
        timeout(CONNECT_TIMEOUT, self.tunnel(io, proxy, origin))
            .await
            .unwrap_or_else(|_| Err(Failure::Proxy("i/o timeout".to_owned())))
    }

    /// `CONNECT`
    async fn tunnel(&self, io: Box<dyn Io>, proxy: &Proxy, origin: &Origin) -> Result<Box<dyn Io>, Failure> {
        let say = |e: hyper::Error| Failure::Proxy(Failure::from_hyper(&e).to_string());
        let (mut sender, connection) =
            super::http1().handshake::<_, Empty<Bytes>>(TokioIo::new(io)).await.map_err(say)?;
        tokio::spawn(connection.with_upgrades());
        let mut request = Request::builder()
            .method(Method::CONNECT)
            .uri(origin.address())
            .header(header::HOST, origin.address())
            .header(header::USER_AGENT, &self.user_agent)
            .body(Empty::new())
            .map_err(|e| Failure::Proxy(e.to_string()))?;
        if let Some(authorization) = &proxy.authorization {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        let response = sender.send_request(request).await.map_err(say)?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(Failure::Proxy(status.canonical_reason().unwrap_or(status.as_str()).to_owned()));
        }
        Ok(Box::new(TokioIo::new(hyper::upgrade::on(response).await.map_err(say)?)))
    }

    /// Whether plain HTTP may be spoken with `origin`.
    pub(super) async fn may_be_plain(&self, origin: &Origin) -> bool {
        if self.insecure.names(origin) {
            return true;
        }
        // Behind a proxy names may mean nothing here, and looking them up may take until a timeout.
        self.proxies.on_the_way_to(origin).is_none()
            && resolve(origin).await.is_ok_and(|addresses| addresses.iter().any(|a| self.insecure.has(a.ip())))
    }
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = origin.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, origin.port)]);
    }
    let lookup = tokio::net::lookup_host((origin.host.as_str(), origin.port));
    let found = timeout(CONNECT_TIMEOUT, lookup).await;
    let found: Vec<_> = found.ok().and_then(Result::ok).into_iter().flatten().take(64).collect();
    if found.is_empty() {
        return Err(Failure::Resolve(origin.host.clone()));
    }
    Ok(alternated(found))
}

/// Takes turns between the two families, beginning with that of the first address: that of a broken network costs a
/// head start, not a timeout.
fn alternated(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut ours, mut theirs): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|a| a.is_ipv4() == first_is_v4);
    let mut ordered = Vec::new();
    while ordered.len() < MAX_ADDRESSES && !(ours.is_empty() && theirs.is_empty()) {
        ordered.extend(ours.pop_front());
        ordered.extend(theirs.pop_front());
    }
    ordered
}

/// Calls the addresses, each a little after the one before, and takes the first that answers.
async fn connect(origin: &Origin) -> Result<TcpStream, Failure> {
    let mut waiting: VecDeque<_> = resolve(origin).await?.into();
    let mut calls = FuturesUnordered::new();
    let mut first_failure = None;
    loop {
        let more = !waiting.is_empty();
        tokio::select! {
            biased;
            Some(result) = calls.next(), if !calls.is_empty() => match result {
                Ok(stream) => return Ok(stream),
                Err(failure) => {
                    first_failure.get_or_insert(failure);
                }
            },
            () = sleep(HEAD_START), if more && !calls.is_empty() => {}
            () = std::future::ready(()), if calls.is_empty() => {}
        }
        match waiting.pop_front() {
            Some(address) => calls.push(call(address)),
            None if calls.is_empty() => {
                return Err(first_failure.unwrap_or_else(|| Failure::Resolve(origin.host.clone())));
            }
            None => {}
        }
    }
}

async fn call(address: SocketAddr) -> Result<TcpStream, Failure> {
    let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Err(_) => return Err(Failure::ConnectTimeout(address.to_string())),
        Ok(Err(e)) => return Err(Failure::connect(address.to_string(), &e)),
        Ok(Ok(stream)) => stream,
    };
    // A connection works without these as well.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
    let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE);
    let _ = rustix::net::sockopt::set_tcp_keepintvl(&stream, KEEPALIVE);
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::alternated;

    #[test]
    fn families_take_turns() {
        let parse = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<_>>();
        let given = parse(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"]);
        assert_eq!(alternated(given), parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]));
    }
}
