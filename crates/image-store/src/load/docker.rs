//! The table of contents of a Docker archive.

use super::{Described, MAX_MANIFEST, archive::Spooled, invalid, oci};
use crate::{ImageId, extract::clean};
use gantry_model::{Error, Platform, Reference, Result, error::Context};
use serde::Deserialize;

pub(super) const TABLE: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<String>,
}

pub(super) fn describe(archive: &Spooled, platform: Option<&Platform>) -> Result<Vec<Described>> {
    let table = archive.read_small(TABLE.as_bytes(), MAX_MANIFEST)?;
    if table.trim_ascii_start().starts_with(b"{") {
        // A list makes a Docker archive; a single manifest is what containers/image calls a directory.
        return oci::describe_directory(archive, &table, platform);
    }
    let items: Vec<Item> = serde_json::from_slice(&table).map_err(|e| invalid(format_args!("manifest.json: {e}")))?;
    let mut images: Vec<Described> = items.into_iter().map(describe_one).collect::<Result<_>>()?;
    oci::attach_manifests(archive, &mut images);
    Ok(images)
}

fn describe_one(item: Item) -> Result<Described> {
    let member = |name: &String| clean(name.as_bytes()).map_err(Error::from);
    let parent = item.parent.filter(|text| !text.is_empty()).map(|text| text.parse()).transpose();
    let name = |text: String| {
        let name = Reference::parse(&text).map_err(Error::from).context(format_args!("invalid tag {text:?}"))?;
        if name.tag().is_none() || name.digest().is_some() {
            return Err(Error::invalid(format!("invalid tag {text:?}")));
        }
        Ok(name)
    };
    Ok(Described {
        document: member(&item.config)?,
        layers: item.layers.unwrap_or_default().iter().map(member).collect::<Result<_>>()?,
        manifest: None,
        parent: parent.map_err(|e| invalid(format_args!("parent: {e}")))?.map(ImageId::new),
        names: item.repo_tags.unwrap_or_default().into_iter().map(name).collect::<Result<_>>()?,
    })
}
