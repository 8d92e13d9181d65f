//! Asking other servers: the bytes that came go on, the bytes that come back return.

mod exchange;

use crate::budget::{Permit, Place};
use crate::message::{Rcode, refuse, truncate};
use crate::opener::Transport;
use crate::respond::Question;
use crate::sandbox::{Sandbox, Sight};
use crate::view::{ServerAddress, Upstream};
use exchange::{Outcome, exchange};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Servers that are asked at most, as in resolv.conf(5).
const MOST_SERVERS: usize = 3;

/// The servers that a container's questions go to.
#[derive(Debug)]
pub(crate) struct Servers {
    all: Vec<Server>,
    begin: Instant,
}

#[derive(Debug)]
struct Server {
    address: ServerAddress,
    /// Milliseconds after the beginning until which it is asked last, because it has kept silent.
    avoided_until: AtomicU64,
}

impl Servers {
    pub(crate) fn new(upstream: &Upstream) -> Self {
        let servers = upstream.servers.iter().take(MOST_SERVERS);
        let server = |address: &ServerAddress| Server { address: *address, avoided_until: AtomicU64::new(0) };
        Self { all: servers.map(server).collect(), begin: Instant::now() }
    }

    /// In the order in which to ask them.
    fn in_order(&self) -> Vec<&Server> {
        let now = self.now();
        let mut servers: Vec<_> = self.all.iter().collect();
        servers.sort_by_key(|server| server.avoided_until.load(Relaxed) > now);
        servers
    }

    fn now(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    /// A server that does not answer must not cost each question its patience. One that takes no connections may
    /// still answer datagrams.
    fn avoid(&self, server: &Server, transport: Transport) {
        const PERIOD: Duration = Duration::from_secs(30);
        if transport == Transport::Tcp {
            return;
        }
        server.avoided_until.store(self.now() + PERIOD.as_millis() as u64, Relaxed);
    }
}

/// A question's turn, which has come or will.
pub(crate) enum Turn {
    Now(Permit),
    Later(Place),
}

/// A turn for one more question, unless there are far too many.
pub(crate) fn turn(sandbox: &Sandbox) -> Option<Turn> {
    if let Some(permit) = sandbox.forwarded.take() {
        return Some(Turn::Now(permit));
    }
    sandbox.complain("questions to other servers");
    sandbox.forwarded.queue().map(Turn::Later)
}

impl Turn {
    /// Waits for it, as long as Docker does.
    pub(crate) async fn come(self) -> Option<Permit> {
        const PATIENCE: Duration = Duration::from_secs(4);
        match self {
            Self::Now(permit) => Some(permit),
            Self::Later(place) => place.wait(PATIENCE).await,
        }
    }
}

/// Asks the servers in turn; the answer has the client's id and a size that it takes.
pub(crate) async fn ask(
    sandbox: &Sandbox,
    sight: &Sight,
    query: Box<[u8]>,
    question: Question,
    transport: Transport,
) -> Vec<u8> {
    let mut asked = query.clone();
    for server in sight.servers.in_order() {
        // An id that nobody can guess, and by the socket a port, too: what answers them saw the question.
        if getrandom::fill(&mut asked[..2]).is_err() {
            break;
        }
        match exchange(sandbox, &server.address, &asked, question.end, transport).await {
            Ok(Outcome::Answer(mut reply)) => {
                reply[..2].copy_from_slice(&query[..2]);
                if reply.len() > question.limit {
                    truncate(&mut reply, question.end);
                }
                return reply;
            }
            Ok(Outcome::Failure) => {}
            Ok(Outcome::Silence) => sight.servers.avoid(server, transport),
            Err(e) => {
                tracing::debug!("container {}: name server {}: {e}", sandbox.id, server.address.address);
                sight.servers.avoid(server, transport);
            }
        }
    }
    let mut reply = Vec::new();
    refuse(&query, Rcode::ServerFailure, &mut reply);
    // With the question, or some clients take it for somebody else's.
    reply[5] = 1;
    reply.extend_from_slice(&query[12..question.end]);
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_servers_are_asked_last() {
        let address = |last: u8| ServerAddress { address: ([10, 0, 0, last], 53).into(), from_host: false };
        let upstream = Upstream { servers: (1..=4).map(address).collect(), forward: true, ndots: false };
        let servers = Servers::new(&upstream);
        let order = || servers.in_order().iter().map(|s| s.address).collect::<Vec<_>>();
        assert_eq!(order(), [address(1), address(2), address(3)]);
        servers.avoid(&servers.all[0], Transport::Tcp);
        assert_eq!(order(), [address(1), address(2), address(3)]);
        servers.avoid(&servers.all[0], Transport::Udp);
        assert_eq!(order(), [address(2), address(3), address(1)]);
        servers.all[0].avoided_until.store(0, Relaxed);
        assert_eq!(order(), [address(1), address(2), address(3)]);
    }
}
