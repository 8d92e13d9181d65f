//! `POST /containers/{id}/resize`.

use crate::Engine;
use gantry_model::{Error, Result};
use gantry_shim_protocol::RequestBody;

impl Engine {
    /// Sets the size of the container's terminal.
    pub async fn container_resize(&self, name: &str, rows: u16, cols: u16) -> Result<()> {
        let container = self.find(name)?;
        let link =
            container.shim().ok_or_else(|| Error::conflict(format!("Container {} is not running", container.id)))?;
        link.perform(RequestBody::Resize { rows, cols }, &[]).await?;
        let (height, width) = (rows.to_string(), cols.to_string());
        self.container_event(&container, "resize", &[("height", &height), ("width", &width)]);
        Ok(())
    }
}
