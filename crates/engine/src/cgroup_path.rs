//! Where a container's cgroup is.

use crate::Engine;
use crate::container::{Container, Record};
use gantry_model::Id;

impl Engine {
    /// Path below each hierarchy, with a leading slash.
    pub(crate) fn cgroup_path(&self, container: &Container) -> String {
        self.record_cgroup_path(&container.read())
    }

    /// `<parent>/<id>`: the client's parent, else the configured one, else the engine's own.
    pub(crate) fn record_cgroup_path(&self, record: &Record) -> String {
        match record.host_config.cgroup_parent.trim_matches('/') {
            "" => self.default_cgroup_path(&record.id),
            parent => format!("/{parent}/{}", record.id),
        }
    }

    /// The path when the client has named no parent.
    pub(crate) fn default_cgroup_path(&self, id: &Id) -> String {
        let own = match self.config.instance.as_str() {
            "" => "gantry".to_owned(),
            instance => format!("gantry-{instance}"),
        };
        let parent = self.config.cgroup_parent.as_deref().map_or("", |p| p.trim_matches('/'));
        format!("/{}/{id}", if parent.is_empty() { own.as_str() } else { parent })
    }
}
