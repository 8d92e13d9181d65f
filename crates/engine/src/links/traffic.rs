//! What links let through on a default bridge whose members do not reach each other (`--icc=false`): the ports that
//! their targets expose, from the moment both run.

use super::Link;
use crate::Engine;
use crate::container::Container;
use crate::network_view;
use gantry_model::Id;
use gantry_network::{Endpoint, Proto};
use std::sync::Arc;

impl Engine {
    /// Whether links have traffic to let through that would not pass anyway.
    fn links_matter(&self) -> bool {
        !self.config.network.icc
    }

    /// Says whom a container may talk to by its links as they are now. Blocks.
    pub(crate) fn open_links(&self, id: Id, links: &[Link], own: Option<&Endpoint>) {
        let Some(own) = own.filter(|_| self.links_matter() && !links.is_empty()) else { return };
        let targets: Vec<(Endpoint, Vec<(u16, Proto)>)> = links
            .iter()
            .filter_map(|link| {
                let target = self.containers.get(&link.target)?;
                let record = target.read();
                Some((record.attached.bridge()?.clone(), network_view::exposed(&record).into_iter().collect()))
            })
            .collect();
        if let Err(e) = self.network.allow_links(own, &targets) {
            tracing::warn!("container {id}: its links: {e}");
        }
    }

    /// The same for a container that runs.
    pub(crate) fn reopen_links(&self, container: &Container) {
        let (links, own) = {
            let record = container.read();
            (record.links.clone(), record.attached.bridge().cloned())
        };
        match own {
            Some(_) if links.is_empty() => self.close_links(container.id),
            own => self.open_links(container.id, &links, own.as_ref()),
        }
    }

    /// A container has got another address or has none any more: whoever has a link to it must not talk to whoever gets
    /// the one of old. Blocks.
    pub(crate) fn reopen_links_to(&self, target: Id) {
        if !self.links_matter() {
            return;
        }
        for parent in self.containers.all() {
            let linked = parent.read().links.iter().any(|link| link.target == target);
            if linked {
                self.reopen_links(&parent);
            }
        }
    }

    /// A container has ended. Its own links go, and those to it lead nowhere.
    pub(crate) async fn links_ended(self: &Arc<Self>, container: &Container) {
        if !self.links_matter() {
            return;
        }
        let (engine, id) = (self.clone(), container.id);
        let done = tokio::task::spawn_blocking(move || {
            engine.close_links(id);
            engine.reopen_links_to(id);
        });
        drop(done.await);
    }

    fn close_links(&self, id: Id) {
        if !self.links_matter() {
            return;
        }
        if let Err(e) = self.network.forget_links(id) {
            tracing::warn!("container {id}: its links: {e}");
        }
    }
}
