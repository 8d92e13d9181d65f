//! Taking a container's network away.

use crate::manager::lock;
use crate::{Endpoint, Error, Manager, Proto, Result};
use gantry_linux::netlink::{Batch, Socket, conntrack, route};
use rustix::io::Errno;

impl Manager {
    /// Undoes [`allocate`](Self::allocate) and [`attach`](Self::attach); whatever is gone already is no error.
    /// Goes on after failures and reports them all.
    pub fn release(&self, endpoint: &Endpoint) -> Result<()> {
        let mut errors = Vec::new();
        if let Some(firewall) = self.firewall.as_ref().filter(|_| !endpoint.ports.is_empty()) {
            let mut socket = lock(&self.netfilter);
            if let Some(entry) = lock(&self.books).endpoints.get_mut(&endpoint.id) {
                entry.attached = false;
            }
            errors.extend(firewall.withdraw(&mut socket, endpoint).err());
            errors.extend(forget_flows(&mut socket, endpoint).err());
        }
        errors.extend(self.unplug(endpoint).err());
        // Last: from here on somebody else may get them. Only once, or it would take them from their next owner.
        let mut books = lock(&self.books);
        if books.endpoints.remove(&endpoint.id).is_some() {
            books.free(endpoint);
        }
        Error::gather(errors)
    }

    /// Cuts the link off the bridge, so that its addresses may be used again, and has it removed later.
    pub(crate) fn unplug(&self, endpoint: &Endpoint) -> Result<()> {
        let mut batch = Batch::new();
        route::disable_port(&mut batch, &endpoint.host_ifname);
        let outcome = lock(&self.links).transact(&mut batch);
        match outcome {
            // The usual case: the container's namespace has ended, and its link with it.
            Err(e) if e.errno() == Some(Errno::NODEV) => Ok(()),
            other => {
                self.sweeper.remove_later(endpoint.host_ifname.clone());
                other.map_err(|e| Error::kernel(format!("cut off link {}", endpoint.host_ifname))(e.into()))
            }
        }
    }
}

/// Datagrams have no end that connection tracking could see: a sender that goes on would be sent to the
/// address of a container that is gone, and not to the next one that publishes the port.
fn forget_flows(socket: &mut Socket, endpoint: &Endpoint) -> Result<()> {
    if !endpoint.ports.iter().any(|p| p.proto == Proto::Udp) {
        return Ok(());
    }
    conntrack::forget(socket, Proto::Udp.number(), |flow| flow.reply.source == endpoint.ip)
        .map(|_| ())
        .map_err(|e| Error::kernel("forget the container's flows")(e.into()))
}
