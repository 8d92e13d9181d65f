//! `POST /images/create?fromImage=`: images from a registry.

mod find;
pub(super) mod index;
mod layers;
pub(super) mod media;

use super::lines;
use crate::operation::{Operation, Reporter};
use crate::transfer::Later;
use crate::{Engine, blocking};
use find::Found;
use gantry_api_types::AuthConfig;
use gantry_image_store::{Arrival, ImageId};
use gantry_model::{Digest, Error, Platform, Reference, Result};
use gantry_registry_client::{Access, Repository};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters of a pull, as the client wrote them.
#[derive(Debug, Clone, Default)]
pub struct ImagePull {
    /// A name, perhaps with tag or digest.
    pub image: String,
    /// A tag or a digest, or empty.
    pub tag: String,
    /// `os[/arch[/variant]]`.
    pub platform: Option<String>,
    /// Who asks.
    pub auth: AuthConfig,
}

/// A pull on its way.
struct Pull {
    engine: Arc<Engine>,
    repository: Repository,
    /// What was asked for. Without a tag it means all of them.
    reference: Reference,
    /// The platform that was asked for.
    platform: Option<Platform>,
    /// How the client called the image.
    image: String,
}

impl Engine {
    /// Begins to pull an image, or all images of a repository. What fails before the first line is the request's
    /// failure.
    pub fn image_pull(&self, request: ImagePull) -> Result<Operation> {
        let pull = self.pull(request)?;
        Ok(Operation::start(|reporter| async move { pull.run(&reporter).await }))
    }

    /// Pulls an image as a part of something else.
    pub(crate) async fn pull_within(&self, request: ImagePull, reporter: &Reporter) -> Result<()> {
        self.pull(request)?.run(reporter).await
    }

    fn pull(&self, request: ImagePull) -> Result<Pull> {
        let reference = reference(&request.image, &request.tag)?;
        if reference.familiar_name() == "scratch" {
            return Err(Error::forbidden("'scratch' is a reserved name"));
        }
        let platform = request.platform.as_deref().map(str::parse).transpose()?;
        let credentials = super::login::credentials(&request.auth);
        let repository = self.registry.repository(&reference, &credentials, Access::Pull)?;
        Ok(Pull { engine: self.arc(), repository, reference, platform, image: request.image })
    }
}

/// What a name and a tag mean together. The tag may be a digest; a name may end in a colon, for clients that mean all
/// tags by that.
fn reference(image: &str, tag: &str) -> Result<Reference> {
    let named = Reference::parse(image.strip_suffix(':').unwrap_or(image))?;
    if tag.is_empty() {
        return Ok(named);
    }
    match (tag.parse::<Digest>(), named.digest()) {
        (Ok(digest), _) => Ok(named.with_digest(digest)),
        (Err(_), None) => Ok(named.with_tag(tag)?),
        (Err(_), Some(digest)) => Ok(Reference::parse(&format!("{}@{digest}", named.with_tag(tag)?))?),
    }
}

impl Pull {
    async fn run(self, reporter: &Reporter) -> Result<()> {
        let mut newer = false;
        if self.reference.is_name_only() {
            for tag in self.repository.tags().await? {
                reporter.room().await;
                newer |= self.one(&self.reference.with_tag(&tag)?, reporter).await?;
            }
        } else {
            newer = self.one(&self.reference, reporter).await?;
        }
        let what = if newer { "Downloaded newer image" } else { "Image is up to date" };
        reporter.tell(lines::message(format!("Status: {what} for {}", self.reference.familiar())));
        self.warn_of_platform(reporter);
        self.event();
        Ok(())
    }

    /// Pulls one image; whether that changed anything here.
    async fn one(&self, reference: &Reference, reporter: &Reporter) -> Result<bool> {
        let found = self.find(reference).await?;
        let id = match (reference.digest(), reference.tag()) {
            (None, Some(tag)) => tag.to_owned(),
            _ => reference.familiar(),
        };
        reporter.tell(lines::headline(&id, format!("Pulling from {}", reference.path())));
        let digest = found.digest.clone();
        let arrival = self.arrival(found).await?;
        let mut names = vec![reference.with_digest(digest.clone())];
        if reference.digest().is_none() {
            names.insert(0, reference.clone());
        }
        let newer = self.complete(arrival, names, reporter).await?;
        reporter.tell(lines::message(format!("Digest: {digest}")));
        Ok(newer)
    }

    /// Begins the image in the store, with everything but its layers.
    async fn arrival(&self, found: Found) -> Result<Arrival> {
        let incoming = self.documents(found).await?;
        let store = self.engine.images.clone();
        blocking(move || store.arrival(incoming)).await
    }

    /// Fetches the layers that are not here and gives the image its names.
    async fn complete(&self, arrival: Arrival, names: Vec<Reference>, reporter: &Reporter) -> Result<bool> {
        let mut arrival = Later::new(arrival);
        let id = arrival.id().clone();
        let named = names.iter().all(|name| self.is_named(name, &id));
        if named && arrival.layers().iter().all(|layer| layer.present) {
            return Ok(false);
        }
        // Of an image that is here, its layers are no news.
        if arrival.layers().iter().any(|layer| !layer.present) || self.engine.images.get(&id).is_none() {
            self.layers(&mut arrival, reporter).await?;
        }
        let committed = blocking(move || arrival.take().commit(&names)).await?;
        Ok(committed.new || !named)
    }

    fn is_named(&self, name: &Reference, id: &ImageId) -> bool {
        self.engine.images.resolve(&name.to_string()).is_ok_and(|image| image.id == *id)
    }

    /// A single image is pulled whatever platform it is for, but not in silence.
    fn warn_of_platform(&self, reporter: &Reporter) {
        let Some(wanted) = &self.platform else { return };
        let Ok(image) = self.engine.images.resolve(&self.reference.to_string()) else { return };
        let document = &image.document;
        let actual = Platform::new(&document.os, &document.architecture, &document.variant);
        if wanted.suitability(&actual).is_none() {
            reporter.tell(lines::message(format!(
                "WARNING: image with reference {} was found but does not match the specified platform: wanted {wanted}, \
                 actual: {actual}",
                self.image
            )));
        }
    }

    fn event(&self) {
        let image = self.engine.images.resolve(&self.reference.to_string()).ok();
        let labels: Option<&BTreeMap<String, String>> = image.as_ref().map(|image| &image.document.config.labels);
        let (id, name) = (self.reference.familiar(), self.reference.familiar_name());
        self.engine.image_event(&id, &name, "pull", labels);
    }
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn names_and_tags() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let parse = |image: &str, tag: &str| reference(image, tag).map(|r| r.familiar()).map_err(|e| e.to_string());
        assert_eq!(parse("a", ""), Ok("a".into()));
        assert_eq!(parse("a:", ""), Ok("a".into()));
        assert_eq!(parse("a:x", "y"), Ok("a:y".into()));
        assert_eq!(parse("a:x", &digest), Ok(format!("a@{digest}")));
        assert_eq!(parse(&format!("a@{digest}"), "x"), Ok(format!("a:x@{digest}")));
        assert_eq!(parse("a", "sha256:abc"), Err("invalid tag format".into()));
        assert_eq!(parse("a", "b:c"), Err("invalid tag format".into()));
        assert_eq!(parse("a//b", "x"), Err("invalid reference format".into()));
    }
}
