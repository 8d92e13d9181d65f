//! Giving a place on a network back.

use crate::manager::lock;
use crate::{Endpoint, Error, Manager, Result};
use gantry_linux::netlink::{Batch, route};
use rustix::io::Errno;

impl Manager {
    /// Undoes [`allocate`](Self::allocate) and [`attach`](Self::attach); whatever is gone already is no error. The
    /// container's ports are another matter: [`close_ports`](Self::close_ports) comes first.
    pub fn release(&self, endpoint: &Endpoint) -> Result<()> {
        let unplugged = self.unplug(endpoint);
        // Last: from here on somebody else may get them. Only once, or it would take them from their next owner.
        let mut books = lock(&self.shared.books);
        if books.endpoints.remove(&endpoint.id).is_some() {
            books.free(endpoint);
        }
        unplugged
    }

    /// Cuts the link off the bridge, so that its addresses may be used again, and has it removed later.
    pub(crate) fn unplug(&self, endpoint: &Endpoint) -> Result<()> {
        if endpoint.host_ifname.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        route::disable_port(&mut batch, &endpoint.host_ifname);
        let outcome = lock(&self.shared.links).transact(&mut batch);
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
