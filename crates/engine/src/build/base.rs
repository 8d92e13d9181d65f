//! Images that a build begins with.

use super::backend::Builder;
use crate::ImagePull;
use crate::operation::Reporter;
use gantry_image_builder::{Base, Config};
use gantry_image_store::{Image, ImageConfig};
use gantry_model::{Error, ErrorKind, Platform, Reference, Result};
use std::sync::Arc;

impl Builder {
    /// The image that a name means; pulled if it is not here, is for another platform, or the client wants the newest.
    pub(super) async fn find_base(&self, name: &str, platform: Option<&str>) -> Result<Arc<Image>> {
        let wanted = platform.map(str::parse::<Platform>).transpose()?;
        let fits = |image: &Image| {
            let document = &image.document;
            let offered = Platform::new(&document.os, &document.architecture, &document.variant);
            wanted.as_ref().is_none_or(|wanted| wanted.suitability(&offered).is_some())
        };
        if !self.request.pull {
            match self.engine.images.resolve(name) {
                Ok(image) if fits(&image) => return Ok(image),
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let reference = match Reference::parse(name) {
            Ok(reference) => reference.or_latest(),
            // An id that is not here cannot be pulled.
            Err(e) => return Err(Error::from(e)),
        };
        let pull = ImagePull {
            image: reference.to_string(),
            tag: String::new(),
            platform: platform.map(str::to_owned),
            auth: self.request.auth(reference.domain()),
        };
        self.engine.pull_within(pull, &self.pull_reporter()).await?;
        let image = self.engine.images.resolve(&reference.to_string())?;
        if !fits(&image) {
            let document = &image.document;
            return Err(Error::not_found(format!(
                "image with reference {name} was found but does not match the specified platform: wanted {}, actual: {}/{}",
                platform.unwrap_or_default(),
                document.os,
                document.architecture
            )));
        }
        Ok(image)
    }

    fn pull_reporter(&self) -> Reporter {
        self.reporter.clone()
    }
}

/// An image as the builder sees it.
pub(super) fn base(image: &Image) -> Result<Base> {
    Ok(Base {
        id: Some(image.id.to_string()),
        config: to_builder(&image.document.config)?,
        author: image.document.author.clone(),
        ..Base::default()
    })
}

/// Configurations are one thing on the wire, wherever they are kept.
fn to_builder(config: &ImageConfig) -> Result<Config> {
    let value = serde_json::to_value(config).map_err(|e| Error::internal(e.to_string()))?;
    serde_json::from_value(value).map_err(|e| Error::internal(format!("converting a configuration: {e}")))
}

/// The other way.
pub(super) fn to_store(config: &Config) -> Result<ImageConfig> {
    let value = serde_json::to_value(config).map_err(|e| Error::internal(e.to_string()))?;
    serde_json::from_value(value).map_err(|e| Error::internal(format!("converting a configuration: {e}")))
}
