//! `POST /commit`: a container becomes an image.

use crate::Engine;
use crate::container::{Container, Record};
use crate::export::refuse_leaving;
use crate::own_layer::OwnLayer;
use crate::{create, version};
use gantry_api_types::ContainerConfig;
use gantry_image_store::{CommitOptions, ImageConfig, ImageId, Top, apply_changes, import_name};
use gantry_model::digest::Digest;
use gantry_model::{ContainerStatus, Error, Reference, Result};
use std::sync::Arc;

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    /// The container.
    pub container: String,
    /// The repository, or empty for an image without a name.
    pub repo: String,
    /// The tag in it.
    pub tag: String,
    /// A note.
    pub comment: String,
    /// By whom.
    pub author: String,
    /// Let no process of the container run while its files are read.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// The image's configuration, completed by the container's; the container's if absent.
    pub config: Option<ContainerConfig>,
}

impl Engine {
    /// Makes an image of a container; its id. Goes on to its end even if the client goes away: a frozen container
    /// must be thawed.
    pub async fn container_commit(&self, request: CommitRequest) -> Result<String> {
        if request.container.is_empty() {
            return Err(Error::invalid("invalid name or ID supplied: \"\""));
        }
        let container = self.find(&request.container)?;
        refuse_leaving(&container, "commit")?;
        // Whatever is wrong with the request is said before anything happens.
        let names = names(&request)?;
        let record = container.read().clone();
        let config = image_config(&request, &record)?;
        self.detached(move |engine| async move {
            let pause = request.pause;
            let work = {
                let (engine, container) = (engine.clone(), container.clone());
                move || engine.commit_files(&container, &record, &request, names, config)
            };
            if !pause {
                return blocking(work).await;
            }
            let _verb = container.verbs.lock().await;
            let frozen = Frozen::freeze(&engine, &container)?;
            let outcome = blocking(work).await;
            drop(frozen);
            outcome
        })
        .await
    }

    fn commit_files(
        &self,
        container: &Container,
        record: &Record,
        request: &CommitRequest,
        (name, reference): (Option<Reference>, String),
        config: ImageConfig,
    ) -> Result<String> {
        let layer = OwnLayer::open(self, container)?;
        let base: Digest = record.image.parse().map_err(|e| Error::internal(format!("{}: {e}", record.image)))?;
        let id = self.images.commit(CommitOptions {
            base: Some(ImageId::new(base)),
            top: Top::Upper(&layer.upper),
            skip: &|found, path| layer.is_ours(found, path),
            check: &|| refuse_leaving(container, "commit"),
            name,
            author: request.author.clone(),
            comment: request.comment.clone(),
            created: None,
            steps: Vec::new(),
            created_by: record.config.cmd.as_deref().unwrap_or_default().join(" "),
            engine_version: version::VERSION.to_owned(),
            container: record.id.to_string(),
            container_config: json(&record.config)?,
            config,
        })?;
        let id = id.to_string();
        if !reference.is_empty() {
            let labels = self.images.resolve(&id).ok().map(|image| image.document.config.labels.clone());
            self.image_event(&id, &reference, "tag", labels.as_ref());
        }
        let extra = [("comment", request.comment.as_str()), ("imageID", &id), ("imageRef", &reference)];
        self.container_event(container, "commit", &extra);
        Ok(id)
    }
}

/// The image's name, and how events say it: as it was asked for, without a default tag.
fn names(request: &CommitRequest) -> Result<(Option<Reference>, String)> {
    if request.repo.is_empty() {
        return Ok((None, String::new()));
    }
    let asked = Reference::parse(&request.repo)?;
    let asked = if request.tag.is_empty() { asked } else { asked.with_tag(&request.tag)? };
    Ok((import_name(&request.repo, &request.tag)?, asked.familiar()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("the engine failed: {e}")))?
}

/// A container whose processes stand still. The record does not say so: a daemon that dies meanwhile is followed by
/// one that finds a running container and thaws it.
struct Frozen<'a> {
    engine: &'a Engine,
    container: &'a Container,
}

impl<'a> Frozen<'a> {
    /// Freezes a container that runs; the verbs lock is held.
    fn freeze(engine: &'a Arc<Engine>, container: &'a Container) -> Result<Option<Self>> {
        if container.read().state.status != ContainerStatus::Running {
            return Ok(None);
        }
        let cgroup = engine.cgroups.cgroup(&engine.cgroup_path(container));
        if let Err(e) = cgroup.freeze() {
            // Some processes may stand still already.
            cgroup.thaw()?;
            return Err(e.into());
        }
        engine.container_event(container, "pause", &[]);
        Ok(Some(Self { engine, container }))
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.engine.cgroups.cgroup(&self.engine.cgroup_path(self.container)).thaw() {
            tracing::error!("container {}: {e}", self.container.id);
        }
        self.engine.container_event(self.container, "unpause", &[]);
    }
}

/// The client's configuration, or else the container's, changed by the instructions and completed by the container's.
fn image_config(request: &CommitRequest, record: &Record) -> Result<ImageConfig> {
    let own = request.config.as_ref().unwrap_or(&record.config);
    let changed = apply_changes(&request.changes, convert(own)?)?;
    let mut whole: ContainerConfig = convert(&changed)?;
    create::complete(&mut whole, &convert(&record.config)?);
    convert(&whole)
}

/// Containers' and images' configurations are one thing on the wire.
fn convert<T: serde::Serialize, U: serde::de::DeserializeOwned>(config: &T) -> Result<U> {
    serde_json::from_value(json(config)?).map_err(|e| Error::internal(format!("converting a configuration: {e}")))
}

fn json<T: serde::Serialize>(value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::internal(e.to_string()))
}
