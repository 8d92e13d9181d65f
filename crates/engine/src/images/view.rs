//! An image in the shapes of the API.

use crate::inspect::STORAGE_DRIVER;
use gantry_api_types::image::Descriptor;
use gantry_api_types::{
    ContainerConfig, DriverData, Empty, HealthConfig, HistoryItem, ImageInspect, ImageMetadata, ImageSummary, RootFs,
};
use gantry_image_store::{HistoryEntry, Image, ImageConfig, ImageDocument};
use gantry_model::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A line of the list with these names; sizes and counts that take work are left at -1.
pub(super) fn summary(image: &Image, tags: Vec<String>, digests: Vec<String>) -> ImageSummary {
    ImageSummary {
        created: image.document.created.unix_seconds(),
        id: image.id.to_string(),
        labels: Some(image.document.config.labels.clone()),
        parent_id: parent(image),
        repo_digests: Some(digests),
        repo_tags: Some(tags),
        size: signed(image.size),
        descriptor: Some(descriptor(image)),
        ..ImageSummary::default()
    }
}

/// What the document says only to clients of older versions, who see a container's whole configuration.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Docker {
    config: Option<ContainerConfig>,
    container: String,
    container_config: Option<ContainerConfig>,
}

/// Everything about an image; `text` is its document and `layers` are its directories, the top first.
pub(super) fn inspect(image: &Image, text: &str, layers: &[PathBuf]) -> ImageInspect {
    let document = &image.document;
    // Written by whoever made the image: what does not fit is shown as it was understood here.
    let docker: Docker = serde_json::from_str(text).unwrap_or_default();
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        parent: parent(image),
        comment: comment(document).to_owned(),
        created: time(document.created),
        docker_version: document.docker_version.clone(),
        author: document.author.clone(),
        config: docker.config.or_else(|| Some(config(&document.config))),
        architecture: document.architecture.clone(),
        variant: document.variant.clone(),
        os: document.os.clone(),
        os_version: document.os_version.clone(),
        size: signed(image.size),
        graph_driver: graph_driver(layers),
        root_fs: RootFs {
            r#type: "layers".to_owned(),
            layers: image.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
        },
        metadata: ImageMetadata { last_tag_time: image.last_tagged.to_string() },
        descriptor: Some(descriptor(image)),
        manifests: None,
        container: docker.container,
        container_config: docker.container_config,
    }
}

fn parent(image: &Image) -> String {
    image.parent.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// What a registry would call the image: the index that it was chosen from, or its manifest.
fn descriptor(image: &Image) -> Descriptor {
    match &image.index {
        Some(index) => Descriptor {
            media_type: index.media_type.clone(),
            digest: index.digest.to_string(),
            size: signed(index.size),
            ..Descriptor::default()
        },
        None => manifest_descriptor(image),
    }
}

/// The manifest.
pub(super) fn manifest_descriptor(image: &Image) -> Descriptor {
    Descriptor {
        media_type: image.manifest_type.clone(),
        digest: image.manifest.to_string(),
        size: signed(image.manifest_size),
        ..Descriptor::default()
    }
}

/// What an image says of itself, or else of its last step.
fn comment(document: &ImageDocument) -> &str {
    match (document.comment.as_str(), document.history.last()) {
        ("", Some(step)) => &step.comment,
        (own, _) => own,
    }
}

/// A step of the history.
pub(super) fn history_item(entry: HistoryEntry) -> HistoryItem {
    HistoryItem {
        comment: entry.comment,
        created: entry.created.unix_seconds(),
        created_by: entry.created_by,
        id: entry.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
        size: signed(entry.size),
        tags: Some(entry.tags).filter(|tags| !tags.is_empty()),
    }
}

fn graph_driver(layers: &[PathBuf]) -> DriverData {
    let mut data = BTreeMap::new();
    if let Some((top, below)) = layers.split_first() {
        data.insert("UpperDir".to_owned(), top.display().to_string());
        if !below.is_empty() {
            let below: Vec<String> = below.iter().map(|layer| layer.display().to_string()).collect();
            data.insert("LowerDir".to_owned(), below.join(":"));
        }
    }
    DriverData { data: Some(data), name: STORAGE_DRIVER.to_owned() }
}

/// The image's configuration in the form of a container's.
#[expect(clippy::zero_sized_map_values, reason = "the API's sets are maps")]
fn config(image: &ImageConfig) -> ContainerConfig {
    let set = |keys: &mut dyn Iterator<Item = &String>| -> BTreeMap<String, Empty> {
        keys.map(|key| (key.clone(), Empty {})).collect()
    };
    let list = |words: &[String]| Some(words.to_vec()).filter(|words| !words.is_empty());
    ContainerConfig {
        user: image.user.clone(),
        exposed_ports: Some(set(&mut image.exposed_ports.keys())),
        env: list(&image.env),
        cmd: image.cmd.clone(),
        entrypoint: image.entrypoint.clone(),
        volumes: Some(set(&mut image.volumes.keys())).filter(|volumes| !volumes.is_empty()),
        working_dir: image.working_dir.clone(),
        labels: Some(image.labels.clone()).filter(|labels| !labels.is_empty()),
        stop_signal: image.stop_signal.clone(),
        stop_timeout: image.stop_timeout,
        on_build: list(&image.on_build),
        shell: list(&image.shell),
        args_escaped: image.args_escaped,
        healthcheck: image.healthcheck.as_ref().map(|health| HealthConfig {
            test: list(&health.test),
            interval: health.interval,
            timeout: health.timeout,
            start_period: health.start_period,
            start_interval: health.start_interval,
            retries: health.retries,
        }),
        ..ContainerConfig::default()
    }
}

fn time(time: Timestamp) -> String {
    if time.is_zero() { String::new() } else { time.to_string() }
}

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
