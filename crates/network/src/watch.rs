//! Hearing of it when somebody changes Gantry's table, and putting it right.

use crate::manager::{Shared, lock};
use crate::{Error, Result, neighbours};
use gantry_linux::netlink::nft::{self, Where};
use gantry_linux::netlink::{Heard, Monitor};
use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread;

/// A thread that puts the table back as soon as it is flushed or removed, as `nft flush ruleset` and the reloads
/// of firewall managers do. It ends with this value.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: OwnedFd,
}

impl Watch {
    /// Starts the thread. `own_port` is the socket's by which Gantry changes the table itself.
    pub(crate) fn start(shared: &Arc<Shared>, own_port: u32) -> Result<Self> {
        let monitor = Monitor::of_nftables().map_err(Error::kernel("listen to nftables"))?;
        let eventfd = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = eventfd().map_err(|e| Error::kernel("make an eventfd")(e.into()))?;
        let stopped = stop.try_clone().map_err(Error::kernel("copy a descriptor"))?;
        let shared = Arc::downgrade(shared);
        thread::Builder::new()
            .name("firewall-watch".to_owned())
            .spawn(move || watch(monitor, &stopped, &shared, own_port))
            .map_err(Error::kernel("start a thread"))?;
        Ok(Self { stop })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // An eventfd's counter can be written to once at least.
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

fn watch(mut monitor: Monitor, stop: &OwnedFd, shared: &Weak<Shared>, own_port: u32) {
    let Some(table) = shared.upgrade().and_then(|s| s.firewall.as_ref().map(|f| f.table().to_owned())) else { return };
    loop {
        let (mut touched, mut docker) = (false, false);
        let heard = monitor.wait(stop.as_fd(), |message| {
            // What the administrator writes into the chain that is there for it is nobody else's business.
            let is_ours = |chain: Option<&str>| chain != Some(crate::firewall::USER);
            if message.port != own_port {
                touched |= nft::changed(message, Where::inet(&table)).is_some_and(is_ours);
                docker |=
                    neighbours::TABLES.iter().any(|at| nft::changed(message, *at).is_some_and(neighbours::concerns));
            }
        });
        match heard {
            Ok(Heard::Stop) => return,
            Ok(Heard::TooMuch) => (touched, docker) = (true, true),
            Ok(Heard::Messages) => {}
            Err(e) => return tracing::error!("changes of the firewall are not noticed any more: {e}"),
        }
        let Some(shared) = shared.upgrade() else { return };
        shared.follow_bridge_netfilter();
        if touched && let Err(e) = shared.repair() {
            tracing::error!("the firewall was changed by somebody else and could not be put right: {e}");
        }
        if docker && let Err(e) = shared.meet_docker() {
            tracing::warn!("Docker's firewall may be in the way of containers: {e}");
        }
    }
}

impl Shared {
    /// Makes the table what it should be.
    fn repair(&self) -> Result<()> {
        let Some(firewall) = &self.firewall else { return Ok(()) };
        let mut socket = lock(&self.netfilter);
        let content = {
            let books = lock(&self.books);
            if books.closed {
                return Ok(());
            }
            books.firewall_content()
        };
        tracing::warn!(table = firewall.table(), "somebody changed the nftables table; it is put right");
        firewall.rebuild(&mut socket, &content)
    }
}
