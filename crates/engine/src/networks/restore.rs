//! What a starting daemon makes of the networks of running containers.

use super::connect::network_namespace;
use super::members::Attached;
use crate::Engine;
use crate::container::{Container, Record};
use gantry_model::Result;
use gantry_network::Attachment;
use std::os::fd::AsFd;
use std::sync::Arc;

/// What a container that runs is attached to: what its run's file says, as far as its record agrees. A connect that
/// was cut short has not happened, and a disconnect has.
pub(crate) fn agreed(engine: &Engine, record: &Record, mut attached: Attached) -> (Attached, bool) {
    let before = attached.members.len();
    attached
        .members
        .retain(|member| record.networks.contains_key(&member.name) && engine.networks.get(&member.network).is_some());
    let differs = before != attached.members.len();
    (attached, differs)
}

impl Attached {
    /// For the network room.
    pub(crate) fn attachment(&self) -> Attachment {
        let endpoints = self.members.iter().map(|member| member.endpoint.clone()).collect();
        Attachment { endpoints, published: self.published.clone() }
    }
}

impl Engine {
    /// Brings the namespaces of containers whose connect or disconnect was cut short in line with their records. The
    /// links of networks that they are not on are gone by now.
    pub(crate) async fn finish_memberships(&self, containers: Vec<Arc<Container>>) {
        for container in containers {
            let (engine, target) = (self.arc(), container.clone());
            if let Err(e) = crate::blocking(move || engine.finish_membership(&target)).await {
                tracing::warn!("container {}: its networks: {e}", container.id);
            }
        }
    }

    fn finish_membership(&self, container: &Container) -> Result<()> {
        let record = container.read().clone();
        let mut attached = record.attached.clone();
        let netns = network_namespace(&record)?;
        self.network.configure(netns.as_fd(), &attached.layout())?;
        self.move_ports(record.id, &mut attached)?;
        container.write().attached = attached.clone();
        self.write_run_file(container, &attached)
    }
}
