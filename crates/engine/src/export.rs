//! `GET /containers/{id}/export`.

use crate::Engine;
use crate::archive::View;
use crate::container::Container;
use gantry_image_store::pack::{Form, pack};
use gantry_model::{ContainerStatus, Error, Result};
use std::io::Write;
use std::sync::Arc;

/// A container that is ready to be exported.
#[derive(Debug)]
pub struct Export {
    container: Arc<Container>,
    view: View,
}

impl Engine {
    /// Looks at the container's root file system. Blocks.
    pub fn container_export(&self, name: &str) -> Result<Export> {
        let container = self.find(name)?;
        refuse_leaving(&container, "export")?;
        let view = View::of_root(self, &container)?;
        Ok(Export { container, view })
    }

    /// Writes it as an archive, without what is mounted in it.
    pub fn write_export(&self, export: &Export, out: &mut dyn Write) -> Result<()> {
        self.container_event(&export.container, "export", &[]);
        pack(&export.view.root, Form::Tree, export.view.ids.as_ref(), &|_, _| false, out)?;
        Ok(())
    }
}

/// Neither can be done to a container that is going away.
pub(crate) fn refuse_leaving(container: &Container, verb: &str) -> Result<()> {
    let how = match container.read().state.status {
        ContainerStatus::Dead => "Dead",
        ContainerStatus::Removing => "being removed",
        _ => return Ok(()),
    };
    Err(Error::conflict(format!("You cannot {verb} container {} which is {how}", container.id)))
}
