//! `POST /containers/{id}/pause` and `/unpause`: the cgroup freezer.

use crate::Engine;
use crate::container::Container;
use crate::health;
use gantry_model::{ContainerStatus, Error, Result};

impl Engine {
    /// Freezes every process of a container.
    pub async fn container_pause(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _verb = container.verbs.lock().await;
        let status = container.read().state.status;
        match status {
            ContainerStatus::Running => {}
            ContainerStatus::Paused => {
                return Err(Error::conflict(format!("Container {} is already paused", container.id)));
            }
            ContainerStatus::Restarting => {
                return Err(Error::conflict(format!(
                    "Container {} is restarting, wait until the container is running",
                    container.id
                )));
            }
            _ => return Err(Error::conflict(format!("Container {} is not running", container.id))),
        }
        // A probe would not end while it is frozen.
        container.monitor.stop();
        if let Err(e) = self.cgroups.cgroup(&self.cgroup_path(&container)).freeze() {
            self.arc().watch_health(&container);
            return Err(e.into());
        }
        {
            let mut record = container.write();
            record.state.status = ContainerStatus::Paused;
            health::cease(&mut record);
        }
        self.container_event(&container, "pause", &[]);
        self.store(&container).await
    }

    /// Lets them go on.
    pub async fn container_unpause(&self, name: &str) -> Result<()> {
        let container = self.find(name)?;
        let _verb = container.verbs.lock().await;
        if container.read().state.status != ContainerStatus::Paused {
            return Err(Error::conflict(format!("Container {} is not paused", container.id)));
        }
        self.thaw_if_paused(&container)?;
        self.arc().watch_health(&container);
        self.store(&container).await
    }

    /// A frozen process receives no signal but stays where it is: stop and kill thaw first.
    pub(crate) fn thaw_if_paused(&self, container: &Container) -> Result<()> {
        if container.read().state.status != ContainerStatus::Paused {
            return Ok(());
        }
        self.cgroups.cgroup(&self.cgroup_path(container)).thaw()?;
        let mut record = container.write();
        if record.state.status == ContainerStatus::Paused {
            record.state.status = ContainerStatus::Running;
        }
        drop(record);
        self.container_event(container, "unpause", &[]);
        Ok(())
    }
}
