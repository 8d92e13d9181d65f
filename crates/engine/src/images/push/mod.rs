//! `POST /images/{name}/push`: images to a registry.

mod blob;
mod gzip;
mod layers;
mod manifest;
mod places;

pub(crate) use places::Places;

use super::lines;
use crate::operation::{Operation, Reporter};
use crate::{Engine, blocking};
use bytes::Bytes;
use gantry_api_types::{AuthConfig, ProgressDetail, ProgressMessage};
use gantry_image_store::Image;
use gantry_model::{Digest, Error, Platform, Reference, Result};
use gantry_registry_client::{Access, Repository, Which};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters of a push, as the client wrote them.
#[derive(Debug, Clone, Default)]
pub struct ImagePush {
    /// A name, perhaps with a tag.
    pub image: String,
    /// A tag; empty means that of the name, or all.
    pub tag: String,
    /// Who asks.
    pub auth: AuthConfig,
    /// The platform that the image must be for.
    pub platform: Option<Platform>,
}

/// A push on its way.
struct Push {
    engine: Arc<Engine>,
    repository: Repository,
    /// What was asked for. Without a tag it means all of them.
    reference: Reference,
}

/// What programs read of a pushed image.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Pushed<'a> {
    tag: &'a str,
    digest: &'a Digest,
    size: usize,
}

impl Engine {
    /// Begins to push an image, or all images of a repository.
    pub fn image_push(&self, request: &ImagePush) -> Result<Operation> {
        let named = Reference::parse(&request.image)?;
        let reference = match (request.tag.as_str(), named.digest()) {
            ("", _) | (_, Some(_)) => named,
            (tag, None) => named.with_tag(tag)?,
        };
        let credentials = super::login::credentials(&request.auth);
        let repository = self.registry.repository(&reference, &credentials, Access::Push)?;
        let push = Push { engine: self.arc(), repository, reference };
        if request.platform.is_some() {
            for (_, image) in push.wanted()? {
                super::platform::require(&image, &request.image, request.platform.as_ref())?;
            }
        }
        Ok(Operation::start(|reporter| async move { push.run(&reporter).await }))
    }
}

impl Push {
    async fn run(self, reporter: &Reporter) -> Result<()> {
        reporter.tell(lines::message(format!("The push refers to repository [{}]", self.reference.name())));
        if self.reference.digest().is_some() {
            return Err(Error::invalid("cannot push a digest reference"));
        }
        for (tag, image) in self.wanted()? {
            reporter.room().await;
            self.one(&tag, &image, reporter).await?;
        }
        let image = self.engine.images.resolve(&self.reference.to_string()).ok();
        let labels: Option<&BTreeMap<String, String>> = image.as_ref().map(|image| &image.document.config.labels);
        let (id, name) = (self.reference.familiar(), self.reference.familiar_name());
        self.engine.image_event(&id, &name, "push", labels);
        Ok(())
    }

    /// The tags to push, and what they mean.
    fn wanted(&self) -> Result<Vec<(String, Arc<Image>)>> {
        let name = self.reference.familiar_name();
        let images = self.engine.images.list();
        let names = images.iter().flat_map(|image| {
            let names =
                image.repo_tags.iter().chain(&image.repo_digests).filter_map(|name| Reference::parse(name).ok());
            names.map(move |name| (name, image))
        });
        let ours: Vec<_> = names.filter(|(reference, _)| reference.familiar_name() == name).collect();
        if ours.is_empty() {
            return Err(Error::not_found(format!("An image does not exist locally with the tag: {name}")));
        }
        let tagged = ours.into_iter().filter_map(|(name, image)| Some((name.tag()?.to_owned(), image.clone())));
        let mut wanted: Vec<_> =
            tagged.filter(|(tag, _)| self.reference.tag().is_none_or(|wanted| wanted == tag)).collect();
        if wanted.is_empty() && self.reference.tag().is_some() {
            return Err(Error::not_found(format!("tag does not exist: {}", self.reference.familiar())));
        }
        wanted.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(wanted)
    }

    /// Pushes one image under one tag.
    async fn one(&self, tag: &str, image: &Arc<Image>, reporter: &Reporter) -> Result<()> {
        let (store, id) = (self.engine.images.clone(), image.id.clone());
        let stored = blocking(move || store.manifest_of(&id)).await?;
        let sent = self.layers(image, &stored, reporter).await?;
        self.stored_blob(&stored.config.digest, stored.config.size, lines::Meter::silent()).await?;
        let (media_type, bytes) = manifest::with_layers(&stored, &sent)?;
        let size = bytes.len();
        let digest = self.repository.put_manifest(Which::Tag(tag), &media_type, Bytes::from(bytes)).await?;
        let (store, id, name) =
            (self.engine.images.clone(), image.id.clone(), self.reference.with_digest(digest.clone()));
        // The image may have been removed meanwhile. What was pushed is pushed.
        if let Err(e) = blocking(move || store.add_digest_name(&id, &name)).await {
            tracing::info!("image {}: its new digest is not noted: {e}", image.id);
        }
        reporter.tell(lines::message(format!("{tag}: digest: {digest} size: {size}")));
        let aux = serde_json::to_value(Pushed { tag, digest: &digest, size }).ok();
        let progress_detail = Some(ProgressDetail::default());
        reporter.tell(ProgressMessage { progress_detail, aux, ..ProgressMessage::default() });
        Ok(())
    }
}
