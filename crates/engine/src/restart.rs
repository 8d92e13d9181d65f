//! `POST /containers/{id}/restart`.

use crate::Engine;
use crate::stop::StopOptions;
use gantry_model::{ErrorKind, Result};

impl Engine {
    /// Stops the container if it runs, and starts it.
    pub async fn container_restart(&self, name: &str, options: StopOptions) -> Result<()> {
        let container = self.find(name)?;
        self.detached(move |engine| async move {
            let _verb = container.verbs.lock().await;
            container.keep.store(true, std::sync::atomic::Ordering::Relaxed);
            let restarted = async {
                if container.read().state.status.is_live() {
                    engine.stop_live(&container, &options).await?;
                }
                match engine.start_by_client(&container).await {
                    Err(e) if e.kind() == ErrorKind::NotModified => Ok(()),
                    other => other,
                }
            }
            .await;
            container.keep.store(false, std::sync::atomic::Ordering::Relaxed);
            restarted?;
            engine.container_event(&container, "restart", &[]);
            Ok(())
        })
        .await
    }
}
