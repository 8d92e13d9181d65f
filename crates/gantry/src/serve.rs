//! From listening sockets to requests: accepts, limits, and lets go at the end.

use std::sync::Arc;
use std::time::Duration;

use gantry_engine::Engine;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use crate::listen::{Accepted, Listener};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// The accepting tasks and the connections they made.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    acceptors: JoinSet<()>,
}

impl Server {
    /// Begins to accept on every socket.
    pub(crate) fn start(engine: Arc<Engine>, sockets: Vec<(Listener, String)>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let api = gantry_http_api::Server::new(engine);
        let mut acceptors = JoinSet::new();
        for (listener, name) in sockets {
            info!("API listen on {name}");
            acceptors.spawn(accept(listener, api.clone(), stopped.clone()));
        }
        Self { stop, acceptors }
    }

    /// Closes the sockets and waits until the requests under way are answered, or patience ends.
    pub(crate) async fn drain(mut self, patience: Option<Duration>) {
        // No receiver is left when every acceptor has ended already.
        let _ = self.stop.send(true);
        let ended = async { while self.acceptors.join_next().await.is_some() {} };
        match patience {
            None => ended.await,
            Some(patience) => {
                if tokio::time::timeout(patience, ended).await.is_err() {
                    warn!("requests were still under way after {} seconds and are cut off", patience.as_secs());
                }
            }
        }
    }
}

async fn accept(listener: Listener, api: gantry_http_api::Server, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => {
                    connections.spawn(converse(accepted, api.clone(), stopped.clone()));
                }
                Err(error) => {
                    // Descriptors or memory ran out: the next accept would fail the same way at
                    // once, and the kernel tells nobody when it would not.
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopped.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn converse(accepted: Accepted, api: gantry_http_api::Server, stopped: watch::Receiver<bool>) {
    let connection = match tokio::time::timeout(HANDSHAKE, accepted.establish()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            debug!("TLS handshake took too long");
            return;
        }
    };
    api.serve_connection(connection, stopped).await;
}
