//! The events the engine publishes, with Docker's attributes.

use super::Kind;
use crate::Engine;
use crate::container::{Container, Record};
use crate::networks::Network;
use gantry_api_types::MountPoint;
use std::collections::BTreeMap;

impl Engine {
    /// A container's event: its labels, image and name, and `extra`.
    pub(crate) fn container_event(&self, container: &Container, action: &str, extra: &[(&str, &str)]) {
        let (id, attributes) = {
            let record = container.read();
            (record.id.to_string(), container_attributes(&record, extra))
        };
        self.events.publish(Kind::Container, action, &id, attributes);
    }

    /// `mount` of every volume when the container starts, `unmount` when it ends.
    pub(crate) fn volume_mount_events(&self, container: &Container, mounted: bool) {
        let (id, mounts) = {
            let record = container.read();
            (record.id.to_string(), record.mounts.clone())
        };
        for mount in mounts.iter().filter(|m| m.r#type == "volume") {
            let action = if mounted { "mount" } else { "unmount" };
            self.events.publish(Kind::Volume, action, &mount.name, volume_attributes(&id, mount, mounted));
        }
    }

    /// `create` or `destroy` of a volume.
    pub(crate) fn volume_event(&self, name: &str, driver: &str, action: &str) {
        self.events.publish(Kind::Volume, action, name, attributes(&[("driver", driver)]));
    }

    /// `create` or `destroy` of a network, `connect` or `disconnect` of a container.
    pub(crate) fn network_event(&self, network: &Network, action: &str, container: Option<&str>) {
        let mut attributes = attributes(&[("name", network.name.as_str()), ("type", network.driver.as_str())]);
        attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
        self.events.publish(Kind::Network, action, &network.id.to_string(), attributes);
    }

    /// The engine's own event.
    pub(crate) fn daemon_event(&self, action: &str, mut attributes: BTreeMap<String, String>) {
        attributes.insert("name".to_owned(), crate::host::name());
        self.events.publish(Kind::Daemon, action, &self.id, attributes);
    }

    /// The end of a prune of things of this kind.
    pub(crate) fn prune_event(&self, kind: &str, reclaimed: u64) {
        let kind = match kind {
            "volume" => Kind::Volume,
            "image" => Kind::Image,
            "network" => Kind::Network,
            "builder" => Kind::Builder,
            _ => Kind::Container,
        };
        self.events.publish(kind, "prune", "", attributes(&[("reclaimed", &reclaimed.to_string())]));
    }

    /// An image's event; `name` is the reference or id that the client used.
    pub(crate) fn image_event(&self, id: &str, name: &str, action: &str, labels: Option<&BTreeMap<String, String>>) {
        let mut attributes = labels.cloned().unwrap_or_default();
        if !name.is_empty() {
            attributes.insert("name".to_owned(), name.to_owned());
        }
        self.events.publish(Kind::Image, action, id, attributes);
    }
}

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn container_attributes(record: &Record, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = record.config.labels.clone().unwrap_or_default();
    all.extend(attributes(extra));
    all.insert("image".to_owned(), record.config.image.clone());
    all.insert("name".to_owned(), record.name.clone());
    all
}

fn volume_attributes(container: &str, mount: &MountPoint, mounted: bool) -> BTreeMap<String, String> {
    let mut all = attributes(&[("container", container), ("driver", &mount.driver)]);
    if mounted {
        all.extend(attributes(&[
            ("destination", &mount.destination),
            ("propagation", &mount.propagation),
            ("read/write", if mount.rw { "true" } else { "false" }),
        ]));
    }
    all
}
