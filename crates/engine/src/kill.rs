//! `POST /containers/{id}/kill`.

use crate::{Engine, restart_policy};
use gantry_model::signal::{self, SIGKILL, SIGTERM};
use gantry_model::{ContainerStatus, Error, Result};

impl Engine {
    /// Sends a signal to the container's init process; waits for its end after SIGKILL.
    pub async fn container_kill(&self, name: &str, wanted: Option<&str>) -> Result<()> {
        let number = wanted.filter(|s| !s.is_empty()).map_or(Ok(SIGKILL), signal::parse)?;
        let container = self.find(name)?;
        let status = container.read().state.status;
        if !status.is_live() && status != ContainerStatus::Restarting {
            let id = container.id;
            return Err(Error::conflict(format!("Cannot kill container: {name}: Container {id} is not running")));
        }
        self.detached(move |engine| async move {
            let ends_it = {
                let record = container.read();
                number == SIGKILL || number == signal::parse(&record.config.stop_signal).unwrap_or(SIGTERM)
            };
            // Between two runs there is nobody to signal: it stays down. The lock, for the next run may be beginning.
            if ends_it && container.read().state.status == ContainerStatus::Restarting {
                let _verb = container.verbs.lock().await;
                if container.read().state.status == ContainerStatus::Restarting {
                    return engine.cancel_scheduled(&container).await;
                }
            }
            // No verbs lock: a kill must get through to a container that is being stopped with patience.
            let durable = {
                let mut record = container.write();
                // Only a signal that is meant to end it stands in the way of the restart policy.
                record.state.manually_stopped |= ends_it;
                ends_it && restart_policy::has_policy(&record)
            };
            if durable {
                engine.store(&container).await?;
            }
            if number == SIGKILL {
                engine.kill_and_wait(&container).await
            } else {
                engine.send_signal(&container, number).await
            }
        })
        .await
    }
}
