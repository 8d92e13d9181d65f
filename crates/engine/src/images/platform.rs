//! The parameter `platform`: the variant of an image that a client means.

use crate::create::image_os;
use gantry_image_store::Image;
use gantry_model::{Error, Platform, Result};

/// What an image runs on.
pub(super) fn of(image: &Image) -> Platform {
    Platform::new(image_os(image), &image.document.architecture, &image.document.variant)
}

/// An image has one platform here, so another one is not there.
pub(super) fn require(image: &Image, name: &str, wanted: Option<&Platform>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let actual = of(image);
    if wanted.suitability(&actual).is_some() {
        return Ok(());
    }
    Err(Error::not_found(format!(
        "image with reference {name} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
    )))
}
