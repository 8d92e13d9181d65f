//! Volumes, of the local driver and of plugins: as clients see them, and what runs have of them.

mod create;
mod drivers;
pub(crate) mod fills;
mod local_mount;
mod prune;
mod remove;
mod runs;
mod show;
mod usage;

pub(crate) use local_mount::HostDirectory;
pub(crate) use runs::{Runs, Source, Sources, Viewing};

use crate::Engine;
use crate::container::Container;
use std::collections::HashSet;
use std::sync::Arc;

/// The label of volumes that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

impl Engine {
    /// Ids of the containers that have the volume mounted, running or not.
    pub(crate) fn volume_users(&self, name: &str) -> Vec<String> {
        let uses = |c: &Arc<Container>| c.read().mounts.iter().any(|m| m.r#type == "volume" && m.name == name);
        self.containers.all().iter().filter(|c| uses(c)).map(|c| c.id.to_string()).collect()
    }

    /// The names of all volumes that containers have.
    fn used_volumes(&self) -> HashSet<String> {
        let containers = self.containers.all();
        let names = containers.iter().flat_map(|c| {
            let record = c.read();
            record.mounts.iter().filter(|m| m.r#type == "volume").map(|m| m.name.clone()).collect::<Vec<_>>()
        });
        names.collect()
    }
}
