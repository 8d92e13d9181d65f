//! Removing networks.

use crate::books::Network;
use crate::firewall::NetworkRules;
use crate::manager::{Shared, lock};
use crate::{Driver, Error, Manager, NetworkSpec, Result, default_bridge};
use gantry_linux::netlink::{Protocol, Socket, unlist_link};
use gantry_model::Id;
use rustix::io::Errno;

impl Manager {
    /// Removes a network that nobody is on. One that is gone is no error. What cannot be removed, the next
    /// [`restore`](Self::restore) tries again.
    pub fn remove(&self, id: &Id) -> Result<()> {
        let shared = &self.shared;
        let _making = lock(&shared.making);
        let network = {
            let mut books = lock(&shared.books);
            books.absent.remove(id);
            let Some(network) = books.networks.get(id) else { return Ok(()) };
            if books.endpoints.values().any(|e| e.network == *id) {
                return Err(Error::ActiveEndpoints { name: network.spec.name.clone(), id: *id });
            }
            let Some(network) = books.networks.remove(id) else { return Ok(()) };
            network
        };
        let unmade = shared.unmake(&network);
        if let Err(e) = shared.meet_docker() {
            tracing::warn!("a rule is left in Docker's chain: {e}");
        }
        unmade
    }
}

impl Shared {
    /// Removes what of a network is in the kernel; it is out of the books already.
    pub(crate) fn unmake(&self, network: &Network) -> Result<()> {
        let mut errors = Vec::new();
        if let Some((firewall, rules)) = self.firewall.as_ref().zip(NetworkRules::of(&network.spec)) {
            errors.extend(firewall.remove_network(&mut lock(&self.netfilter), &rules).err());
        }
        errors.extend(self.delete_own_link(&network.spec).err());
        Error::gather(errors)
    }

    /// Removes the bridge, VLAN or dummy of a network. An interface of that name that was there before, or has taken
    /// the place of ours, is not ours.
    pub(crate) fn delete_own_link(&self, spec: &NetworkSpec) -> Result<()> {
        let name = match &spec.driver {
            Driver::Bridge(options) => &options.ifname,
            Driver::Macvlan(options) => &options.parent,
            Driver::Ipvlan(options) => &options.parent,
            Driver::Remote { .. } => return Ok(()),
        };
        let alias = format!("{}{}", self.config.alias_prefix(), spec.id);
        let found = default_bridge::link(&mut lock(&self.links), name)?;
        let Some(link) = found.filter(|link| link.alias.as_deref() == Some(&*alias)) else { return Ok(()) };
        let socket = Socket::open(Protocol::Route).map_err(Error::kernel("open a netlink socket"))?;
        match unlist_link(socket, link.index) {
            Err(e) if e.errno() != Some(Errno::NODEV) => Err(Error::kernel(format!("remove link {name}"))(e.into())),
            _ => Ok(()),
        }
    }
}
