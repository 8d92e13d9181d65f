//! From what a client calls an image to the image.

use crate::{Image, ImageId, ImageStore, state::State};
use gantry_model::{AnyReference, Error, Reference, Result, error::Context};
use std::sync::Arc;

impl ImageStore {
    /// The image that `name` means: a reference (the tag `latest` where it has none), a full id, or the beginning of
    /// one, each with or without `sha256:`.
    pub fn resolve(&self, name: &str) -> Result<Arc<Image>> {
        resolve(&self.inner.read_state(), name)
    }

    /// The image with this id.
    pub fn get(&self, id: &ImageId) -> Option<Arc<Image>> {
        self.inner.read_state().get(id).map(|known| known.image.clone())
    }
}

pub(crate) fn resolve(state: &State, name: &str) -> Result<Arc<Image>> {
    match AnyReference::parse(name).map_err(Error::from)? {
        AnyReference::Digest(digest) => {
            let shown = digest.to_string();
            let known = state.get(&ImageId::new(digest)).map(|known| known.image.clone());
            known.ok_or_else(|| no_such_image(&shown))
        }
        AnyReference::Named(reference) => {
            let reference = reference.or_latest();
            if let Some(known) = named(state, &reference) {
                return Ok(known);
            }
            by_id_prefix(state, name)?.ok_or_else(|| no_such_image(&reference.familiar()))
        }
    }
}

fn named(state: &State, reference: &Reference) -> Option<Arc<Image>> {
    let found = state.references.get(reference);
    // `name:tag@digest` means the digest; the tag is only for the reader.
    let found = found.or_else(|| {
        let digest = reference.digest()?;
        let by_digest = |r: &Reference| r.digest() == Some(digest) && r.name() == reference.name();
        state.references.iter().find(|(name, _)| by_digest(name)).map(|(_, record)| record)
    });
    found.and_then(|record| state.get(&record.image)).map(|known| known.image.clone())
}

/// The image whose id begins so.
pub(crate) fn by_id_prefix(state: &State, text: &str) -> Result<Option<Arc<Image>>> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    let mut found = state.by_prefix(digits);
    if found.len() > 1 {
        return Err(Error::not_found(format!("No such image: {text}: several image ids begin with this")));
    }
    Ok(found.pop())
}

pub(crate) fn no_such_image(shown: &str) -> Error {
    Error::not_found(format!("No such image: {shown}"))
}

/// The name for an imported image from the `repo` and `tag` of the request; `None` leaves it without.
///
/// `tag` alone may be a whole name: `?fromSrc=-&tag=hello:latest` means an image called `hello:latest`.
pub fn import_name(repo: &str, tag: &str) -> Result<Option<Reference>> {
    let name = match (repo, tag) {
        ("", "") => return Ok(None),
        ("", whole) => Reference::parse(whole)?,
        (repo, "") => Reference::parse(repo)?,
        (repo, tag) => {
            let repo = Reference::parse(repo)?;
            if repo.digest().is_some() {
                return Err(digest_refused());
            }
            repo.with_tag(tag)?
        }
    };
    if name.digest().is_some() {
        return Err(digest_refused());
    }
    check_taggable(&name)?;
    Ok(Some(name.or_latest()))
}

fn digest_refused() -> Error {
    Error::invalid("cannot import digest reference")
}

/// A repository called like a digest algorithm would make `sha256:…` ambiguous.
pub(crate) fn check_taggable(name: &Reference) -> Result<()> {
    if name.familiar_name() == "sha256" {
        let refused = Error::invalid("refusing to create an ambiguous tag using digest algorithm as name");
        return Err(refused).context("invalid reference");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::import_name;

    #[test]
    fn names_of_imports() {
        let name =
            |repo: &str, tag: &str| import_name(repo, tag).map(|n| n.map(|n| n.familiar())).map_err(|e| e.to_string());
        assert_eq!(name("", ""), Ok(None));
        assert_eq!(name("", "hello:latest"), Ok(Some("hello:latest".into())));
        assert_eq!(name("a", ""), Ok(Some("a:latest".into())));
        assert_eq!(name("a:q", "w"), Ok(Some("a:w".into())));
        assert_eq!(name("a", "b:c"), Err("invalid tag format".into()));
        assert_eq!(name(&format!("a@sha256:{}", "a".repeat(64)), ""), Err("cannot import digest reference".into()));
        assert!(name("sha256", "x").is_err());
    }
}
