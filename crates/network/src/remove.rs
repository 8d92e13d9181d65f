//! Removing networks.

use crate::books::{Made, Network};
use crate::firewall::NetworkRules;
use crate::manager::{Shared, lock};
use crate::sweeper::delete_links;
use crate::{Driver, Error, Manager, Result, default_bridge};
use gantry_model::Id;

impl Manager {
    /// Removes a network that nobody is on. One that is gone is no error. What cannot be removed, the next
    /// [`restore`](Self::restore) tries again.
    pub fn remove(&self, id: &Id) -> Result<()> {
        let shared = &self.shared;
        let _making = lock(&shared.making);
        let network = {
            let mut books = lock(&shared.books);
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
        errors.extend(self.delete_own_link(network).err());
        Error::gather(errors)
    }

    fn delete_own_link(&self, network: &Network) -> Result<()> {
        let mut socket = lock(&self.links);
        let name = match (&network.made, &network.spec.driver) {
            (Made::Bridge(bridge), _) if bridge.owned => &bridge.name,
            (_, Driver::Macvlan(options)) => &options.parent,
            (_, Driver::Ipvlan(options)) => &options.parent,
            (_, Driver::Bridge(_)) => return Ok(()),
        };
        // An interface of that name that was there before us, or has taken the place of ours, is not ours.
        let alias = format!("{}{}", self.config.alias_prefix(), network.spec.id);
        match default_bridge::link(&mut socket, name)? {
            Some(link) if link.alias.as_deref() == Some(&*alias) => delete_links(&mut socket, &[name]),
            _ => Ok(()),
        }
    }
}
