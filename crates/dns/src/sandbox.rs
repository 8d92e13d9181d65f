//! One container that is served.

use crate::budget::Share;
use crate::forward::Servers;
use crate::names::Names;
use crate::opener::Opener;
use crate::view::View;
use gantry_model::Id;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

/// Questions that a container may have under way with other servers, as in Docker.
pub(crate) const MOST_FORWARDED: usize = 1024;
/// TCP connections that it may have to its name server.
pub(crate) const MOST_CONNECTIONS: usize = 64;

/// A container, as its server's tasks see it.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) id: Id,
    /// Where questions come from, and the way back into the namespace.
    pub(crate) udp: Arc<UdpSocket>,
    pub(crate) names: Arc<RwLock<Names>>,
    pub(crate) opener: Arc<Opener>,
    pub(crate) forwarded: Share,
    pub(crate) connections: Share,
    sight: RwLock<Arc<Sight>>,
    complaints: Complaints,
}

/// What a container sees at the moment.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) view: View,
    pub(crate) servers: Servers,
}

impl Sandbox {
    pub(crate) fn new(
        id: Id,
        udp: UdpSocket,
        names: Arc<RwLock<Names>>,
        opener: Arc<Opener>,
        [forwarded, connections]: [Share; 2],
        view: View,
    ) -> Self {
        Self {
            id,
            udp: Arc::new(udp),
            names,
            opener,
            forwarded,
            connections,
            sight: RwLock::new(Arc::new(Sight::new(view))),
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn sight(&self) -> Arc<Sight> {
        self.sight.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_view(&self, view: View) {
        *self.sight.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Sight::new(view));
    }

    /// Says in the log that the container asks too much, but not each time.
    pub(crate) fn complain(&self, about: &str) {
        if self.complaints.is_due() {
            tracing::warn!("container {}: too many {about} at a time", self.id);
        }
    }
}

impl Sight {
    fn new(view: View) -> Self {
        let servers = Servers::new(&view.upstream);
        Self { view, servers }
    }
}

/// Keeps a container that floods from filling the log.
#[derive(Debug)]
struct Complaints {
    begin: Instant,
    /// Milliseconds after the beginning before which nothing is said.
    quiet_until: AtomicU64,
}

impl Default for Complaints {
    fn default() -> Self {
        Self { begin: Instant::now(), quiet_until: AtomicU64::new(0) }
    }
}

impl Complaints {
    fn is_due(&self) -> bool {
        const PAUSE: Duration = Duration::from_secs(60);
        let now = self.begin.elapsed().as_millis() as u64;
        let due = now >= self.quiet_until.load(Relaxed);
        if due {
            self.quiet_until.store(now + PAUSE.as_millis() as u64, Relaxed);
        }
        due
    }
}
