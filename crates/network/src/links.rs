//! Links on networks whose members do not reach each other.

use crate::firewall::LinkRule;
use crate::manager::lock;
use crate::{Endpoint, Manager, Proto, Result};
use gantry_model::Id;
use std::collections::HashSet;

impl Manager {
    /// Says whom a container may talk to, on which ports, although its network forbids it: all of it, in the place of
    /// what was said before. On networks whose members reach each other anyway it has no effect.
    pub fn allow_links(&self, from: &Endpoint, targets: &[(Endpoint, Vec<(u16, Proto)>)]) -> Result<()> {
        let mut wanted = HashSet::new();
        for (to, ports) in targets.iter().filter(|(to, _)| to.network == from.network) {
            let Some(((from, _), (to, _))) = from.ipv4.zip(to.ipv4) else { continue };
            wanted.extend(ports.iter().map(|(port, proto)| LinkRule { from, to, proto: *proto, port: *port }));
        }
        self.replace_links(from.container, wanted)
    }

    /// Forgets the links of a container.
    pub fn forget_links(&self, container: Id) -> Result<()> {
        self.replace_links(container, HashSet::new())
    }

    fn replace_links(&self, container: Id, wanted: HashSet<LinkRule>) -> Result<()> {
        let shared = &self.shared;
        let (gone, new): (Vec<_>, Vec<_>) = {
            let mut books = lock(&shared.books);
            let new: Vec<_> = wanted.iter().copied().collect();
            let old =
                if wanted.is_empty() { books.links.remove(&container) } else { books.links.insert(container, wanted) };
            let still = |rule: &LinkRule| books.links.values().any(|rules| rules.contains(rule));
            let gone = old.into_iter().flatten().filter(|rule| !still(rule)).collect();
            (gone, new)
        };
        if let Some(firewall) = shared.firewall.as_ref().filter(|_| !gone.is_empty()) {
            firewall.unlink(&mut lock(&shared.netfilter), &gone)?;
        }
        if new.is_empty() {
            return Ok(());
        }
        shared.change_firewall("add links to", |firewall, socket| firewall.link(socket, &new))
    }
}
