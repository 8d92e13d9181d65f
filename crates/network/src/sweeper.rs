//! Removing links that nobody waits for.

use crate::{Error, Result};
use gantry_linux::netlink::{Batch, Socket, route};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A container's link normally ends with its network namespace, and the kernel does that in the background
/// for many at a time. Only those that are still there after this long are removed from here.
const GRACE: Duration = Duration::from_secs(1);

/// A thread that removes links a while after it was told to. Removing one takes the kernel 30 ms, during parts of
/// which nobody else can make or change links: too much for the path of a container's start or removal.
///
/// Nothing is lost if the daemon ends meanwhile: what is left, `restore` finds.
#[derive(Debug)]
pub(crate) struct Sweeper {
    names: Sender<String>,
}

impl Sweeper {
    /// Starts the thread, which ends with the value returned.
    pub(crate) fn start(socket: Socket) -> Result<Self> {
        let (names, receiver) = channel();
        thread::Builder::new()
            .name("link-sweeper".to_owned())
            .spawn(move || sweep(socket, &receiver))
            .map_err(Error::kernel("start a thread"))?;
        Ok(Self { names })
    }

    /// Removes the link in a while, if it is still there then.
    pub(crate) fn remove_later(&self, name: String) {
        // The thread ends only after this sender, so that somebody always listens.
        let _ = self.names.send(name);
    }
}

fn sweep(mut socket: Socket, receiver: &Receiver<String>) {
    let mut waiting: VecDeque<(Instant, String)> = VecDeque::new();
    loop {
        let next = match waiting.front() {
            Some((due, _)) => receiver.recv_timeout(due.saturating_duration_since(Instant::now())),
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match next {
            Ok(name) => waiting.push_back((Instant::now() + GRACE, name)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                let due = waiting.partition_point(|(due, _)| *due <= now);
                let names: Vec<_> = waiting.drain(..due).map(|(_, name)| name).collect();
                if let Err(e) = delete_links(&mut socket, &names) {
                    tracing::warn!("links are left behind until the next start: {e}");
                }
            }
        }
    }
}

/// Removes links by name, all at once; those that are gone are fine.
pub(crate) fn delete_links(socket: &mut Socket, names: &[impl AsRef<str>]) -> Result<()> {
    /// The answers to one batch must fit into the socket's receive buffer.
    const CHUNK: usize = 64;
    /// The group of links that are to be removed; "gant" in ASCII. Whoever finds a link in it may remove it.
    const DOOMED: u32 = 0x6761_6e74;
    let mut errors = Vec::new();
    let mut found = false;
    for chunk in names.chunks(CHUNK) {
        let mut batch = Batch::new();
        for name in chunk {
            route::set_group(&mut batch, name.as_ref(), DOOMED);
        }
        let refusals = socket.exchange(&mut batch).map_err(|e| Error::kernel("remove links")(e.into()))?;
        found |= refusals.len() < chunk.len();
        for refusal in refusals.into_iter().filter(|r| r.errno != Errno::NODEV) {
            let name = chunk.get(refusal.index).map_or("", AsRef::as_ref);
            errors.push(Error::kernel(format!("remove link {name}"))(refusal.errno.into()));
        }
    }
    if found {
        let mut batch = Batch::new();
        route::delete_group(&mut batch, DOOMED);
        match socket.transact(&mut batch) {
            Err(e) if e.errno() != Some(Errno::NODEV) => errors.push(Error::kernel("remove links")(e.into())),
            _ => {}
        }
    }
    Error::gather(errors)
}
