//! `POST /images/load`.

use super::{Images, lines};
use gantry_api_types::ProgressMessage;
use gantry_image_store::Progress;
use gantry_model::{Platform, Result};
use std::io::Read;

impl Images<'_> {
    /// Loads the images of an archive, telling what was loaded and, unless `quiet`, how far each layer is.
    pub fn load(
        self,
        body: &mut dyn Read,
        platform: Option<&Platform>,
        quiet: bool,
        tell: &mut dyn FnMut(ProgressMessage),
    ) -> Result<()> {
        let loaded = self.engine.images.load(body, platform, &mut |progress| {
            if let Some(message) = message(progress, quiet) {
                tell(message);
            }
        })?;
        for image in loaded {
            if image.names.is_empty() {
                tell(line(format!("Loaded image ID: {}\n", image.id)));
            }
            for name in &image.names {
                tell(line(format!("Loaded image: {}\n", name.familiar())));
            }
            let id = image.id.as_str();
            self.event(id, id, "load");
        }
        Ok(())
    }
}

fn line(stream: String) -> ProgressMessage {
    ProgressMessage { stream, ..ProgressMessage::default() }
}

fn message(progress: Progress, quiet: bool) -> Option<ProgressMessage> {
    match progress {
        Progress::Layer { id, done, total } if !quiet => Some(lines::measure(&id, "Loading layer", done, total)),
        Progress::Moved(moved) => Some(line(format!(
            "The image {} already exists, renaming the old one with ID {} to empty string\n",
            moved.reference.familiar(),
            moved.from
        ))),
        _ => None,
    }
}
