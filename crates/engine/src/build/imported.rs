//! Images of other builds as a cache: a step whose line is in such an image's history, upon the same layers, has that
//! image's layer as its result.

use super::backend::Builder;
use super::base::to_store;
use super::files::image_id;
use crate::{Engine, blocking, version};
use gantry_image_builder::{Config, Step};
use gantry_image_store::{CommitOptions, Image, Layer, Top};
use gantry_model::{Error, Result, Timestamp};

/// What of a step its result says.
struct Wanted {
    parent: Option<String>,
    created_by: String,
    author: String,
    config: Config,
    created: Option<Timestamp>,
}

/// The image that comes of a step, by what the client's cache images say.
pub(super) async fn step(builder: &Builder, step: &Step) -> Option<String> {
    let (engine, sources) = (builder.engine.clone(), builder.request.cache_from.clone());
    let wanted = Wanted {
        parent: step.parent.clone(),
        created_by: step.created_by.clone(),
        author: step.author.clone(),
        config: step.config.clone(),
        created: step.created,
    };
    let found = blocking(move || find(&engine, &sources, &wanted)).await;
    found.unwrap_or_else(|e| {
        tracing::warn!("an image for the build cache: {e}");
        None
    })
}

fn find(engine: &Engine, sources: &[String], wanted: &Wanted) -> Result<Option<String>> {
    let parent = match &wanted.parent {
        Some(parent) => engine.images.get(&image_id(parent)?),
        None => None,
    };
    for source in sources {
        let Ok(image) = engine.images.resolve(source) else { continue };
        let Some(top) = next(&image, parent.as_deref(), &wanted.created_by) else { continue };
        return make(engine, wanted, top).map(Some);
    }
    Ok(None)
}

/// What an image has on top of another one, if its history goes on with this line after that one's.
fn next(image: &Image, parent: Option<&Image>, created_by: &str) -> Option<Top<'static>> {
    let before = parent.map(|parent| &parent.document.history[..]).unwrap_or_default();
    let below: &[Layer] = parent.map(|parent| &parent.layers[..]).unwrap_or_default();
    let history = &image.document.history;
    let step = history.get(before.len()).filter(|step| step.created_by == created_by)?;
    let same_history =
        history.iter().zip(before).all(|(a, b)| a.created_by == b.created_by && a.empty_layer == b.empty_layer);
    let same_layers =
        image.layers.len() >= below.len() && image.layers.iter().zip(below).all(|(a, b)| a.diff_id == b.diff_id);
    if !same_history || !same_layers {
        return None;
    }
    if step.empty_layer {
        return Some(Top::Nothing);
    }
    image.layers.get(below.len()).cloned().map(Top::Layer)
}

/// A step's parent with the last layer of another image on it, which says the same of itself there.
pub(super) fn graft(engine: &Engine, step: Step, image: &str) -> Result<Option<String>> {
    let Some(image) = engine.images.get(&image_id(image)?) else { return Ok(None) };
    let Some(last) = image.document.history.last() else { return Ok(None) };
    let top = match image.layers.last() {
        _ if last.empty_layer => Top::Nothing,
        Some(layer) => Top::Layer(layer.clone()),
        None => return Ok(None),
    };
    let wanted = Wanted {
        parent: step.parent,
        created_by: last.created_by.clone(),
        author: step.author,
        config: step.config,
        created: step.created,
    };
    make(engine, &wanted, top).map(Some)
}

fn make(engine: &Engine, wanted: &Wanted, top: Top<'_>) -> Result<String> {
    let id = engine.images.commit(CommitOptions {
        base: wanted.parent.as_deref().map(image_id).transpose()?,
        top,
        skip: &|_, _| false,
        check: &|| Ok::<_, Error>(()),
        name: None,
        author: wanted.author.clone(),
        comment: String::new(),
        created: wanted.created,
        steps: Vec::new(),
        created_by: wanted.created_by.clone(),
        engine_version: version::VERSION.to_owned(),
        container: String::new(),
        container_config: serde_json::Value::Null,
        config: to_store(&wanted.config)?,
    })?;
    Ok(id.to_string())
}
