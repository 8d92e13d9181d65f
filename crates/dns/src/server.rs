//! The name server of all containers.

use crate::budget::{Budget, Share};
use crate::names::{Names, Place};
use crate::opener::Opener;
use crate::sandbox::{MOST_CONNECTIONS, MOST_FORWARDED, Sandbox};
use crate::view::View;
use crate::{Error, Result, listen, tcp, udp};
use gantry_model::Id;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::{JoinHandle, JoinSet};

/// The most descriptors that questions under way take in all.
const ALL_FORWARDED: usize = 4096;
const ALL_CONNECTIONS: usize = 512;

/// The name servers of a daemon's containers. Its methods are called inside a tokio runtime.
#[derive(Debug)]
pub struct Server {
    names: Arc<RwLock<Names>>,
    opener: Arc<Opener>,
    forwarded: Arc<Budget>,
    connections: Arc<Budget>,
    served: Mutex<HashMap<Id, Served>>,
}

#[derive(Debug)]
struct Served {
    sandbox: Arc<Sandbox>,
    task: JoinHandle<()>,
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl Server {
    /// A server that serves nobody yet. Nothing is opened before it does.
    pub fn new() -> Self {
        // Forwarding must not take the descriptors that everything else lives on.
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let descriptors = descriptors.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        Self {
            names: Arc::default(),
            opener: Arc::default(),
            forwarded: Budget::new(ALL_FORWARDED.min(descriptors / 4)),
            connections: Budget::new(ALL_CONNECTIONS.min(descriptors / 16)),
            served: Mutex::default(),
        }
    }

    /// A running container has these places on networks from now on, and no others. One that ends has none.
    pub fn place(&self, container: Id, places: Vec<Place>) {
        self.names.write().unwrap_or_else(PoisonError::into_inner).place(container, places);
    }

    /// Serves a container from now on, whose network namespace is given. If it was served before, by this daemon or an
    /// earlier one, that ends. The namespace lives at least until [`Server::stop`].
    pub async fn serve(&self, container: Id, netns: OwnedFd, view: View) -> Result<()> {
        if let Some(earlier) = self.take(&container) {
            earlier.task.abort();
            // Its sockets are closed when the task is gone, and not before.
            drop(earlier.task.await);
        }
        let opened = tokio::task::spawn_blocking(move || listen::open(&container, netns.as_fd())).await;
        let sockets = opened.map_err(|e| Error::Sockets(io::Error::other(e)))??;
        let udp = UdpSocket::from_std(sockets.udp.into()).map_err(Error::Sockets)?;
        let tcp = TcpListener::from_std(sockets.tcp.into()).map_err(Error::Sockets)?;
        let shares = [Share::new(&self.forwarded, MOST_FORWARDED), Share::new(&self.connections, MOST_CONNECTIONS)];
        let sandbox = Arc::new(Sandbox::new(container, udp, self.names.clone(), self.opener.clone(), shares, view));
        let task = tokio::spawn(attend(sandbox.clone(), tcp));
        let served = Served { sandbox, task };
        if let Some(earlier) = self.served().insert(container, served) {
            earlier.task.abort();
        }
        Ok(())
    }

    /// A container that is served sees something else from now on. Whether it is served.
    pub fn update(&self, container: &Id, view: View) -> bool {
        let served = self.served();
        let found = served.get(container);
        if let Some(found) = found {
            found.sandbox.set_view(view);
        }
        found.is_some()
    }

    /// A container is served no more, and nothing of its network namespace is held.
    pub fn stop(&self, container: &Id) {
        if let Some(served) = self.take(container) {
            served.task.abort();
        }
    }

    fn take(&self, container: &Id) -> Option<Served> {
        self.served().remove(container)
    }

    fn served(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for (_, served) in self.served().drain() {
            served.task.abort();
        }
    }
}

/// Answers one container. What is under way ends with it.
async fn attend(sandbox: Arc<Sandbox>, listener: TcpListener) {
    let mut tasks = JoinSet::new();
    tasks.spawn(tcp::attend(sandbox.clone(), listener));
    loop {
        tokio::select! {
            ready = sandbox.udp.readable() => match ready {
                Ok(()) => udp::answer_all(&sandbox, &mut tasks),
                Err(e) => return tracing::error!("container {}: its name server: {e}", sandbox.id),
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}
