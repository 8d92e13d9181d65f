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
        errors.extend(delete_links(&mut lock(&self.links), &[endpoint.host_ifname.as_str()]).err());
        // Last: from here on somebody else may get them. Only once, or it would take them from their next owner.
        let mut books = lock(&self.books);
        if books.endpoints.remove(&endpoint.id).is_some() {
            books.free(endpoint);
        }
        Error::gather(errors)
    }
}

/// Removes links by name; those that are gone are fine.
pub(crate) fn delete_links(socket: &mut Socket, names: &[&str]) -> Result<()> {
    /// The answers to one batch must fit into the socket's receive buffer.
    const CHUNK: usize = 64;
    let mut errors = Vec::new();
    for chunk in names.chunks(CHUNK) {
        let mut batch = Batch::new();
        for name in chunk {
            route::delete_link(&mut batch, name);
        }
        let refusals = socket.exchange(&mut batch).map_err(|e| Error::kernel("remove links".to_owned())(e.into()))?;
        errors.extend(
            refusals
                .into_iter()
                .filter(|r| r.errno != Errno::NODEV)
                .map(|r| Error::kernel(format!("remove link {}", chunk.get(r.index).unwrap_or(&"")))(r.errno.into())),
        );
    }
    Error::gather(errors)
}

/// Datagrams have no end that connection tracking could see: a sender that goes on would be sent to the
/// address of a container that is gone, and not to the next one that publishes the port.
fn forget_flows(socket: &mut Socket, endpoint: &Endpoint) -> Result<()> {
    if !endpoint.ports.iter().any(|p| p.proto == Proto::Udp) {
        return Ok(());
    }
    conntrack::forget(socket, |flow| flow.proto == Proto::Udp.number() && flow.reply.source == endpoint.ip)
        .map(|_| ())
        .map_err(|e| Error::kernel("forget the container's flows")(e.into()))
}
