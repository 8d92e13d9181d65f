//! The signals a daemon lives by.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// SIGTERM, SIGINT: finish; the number is for the exit status of an impatient end.
    Stop(i32),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals, caught from the moment this exists.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
}

impl Signals {
    /// Catches them. SIGPIPE is ignored by Rust's start-up already.
    pub(crate) fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    /// The next thing asked for.
    pub(crate) async fn next(&mut self) -> Ask {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Ask::Stop(15),
                _ = self.int.recv() => return Ask::Stop(2),
                _ = self.hup.recv() => return Ask::Reload,
                // dockerd dumps its goroutines; tools send this to any daemon, so it must not kill.
                _ = self.usr1.recv() => tracing::info!("SIGUSR1: Gantry has no stacks to dump"),
            }
        }
    }
}
