//! `GET /images/json`.

use super::{Images, glob, view};
use crate::filters::Filters;
use gantry_api_types::ImageSummary;
use gantry_image_store::{Image, ImageId};
use gantry_model::{Reference, Result};
use std::cmp::Reverse;

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];

/// Query parameters of the list.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Intermediate images too.
    pub all: bool,
    /// Count the bytes shared with other images, and the containers.
    pub shared_size: bool,
    /// Which images.
    pub filters: Filters,
}

impl Images<'_> {
    /// The images that match, the newest first.
    #[expect(clippy::needless_pass_by_value, reason = "callers on another thread give it away")]
    pub fn list(self, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        let ImageListOptions { all: intermediate, shared_size, filters } = &options;
        filters.accept_only(FILTERS)?;
        let dangling = filters.boolean("dangling")?;
        let bound = |key: &str| {
            let times = filters.get(key).map(|name| Ok(self.engine.images.resolve(name)?.document.created));
            times.collect::<Result<Vec<_>>>()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let until = crate::until::parse(filters)?;
        let all = self.engine.images.list();
        let shared = shared_size.then(|| view::shared_sizes(&all));
        let mut shown = Vec::new();
        for image in &all {
            let created = image.document.created;
            let labels = &image.document.config.labels;
            let fits = before.iter().all(|bound| created < *bound)
                && since.iter().all(|bound| created > *bound)
                && until.is_none_or(|until| created < until)
                && filters.match_labels("label", labels)
                && !(filters.has("label!") && filters.match_labels("label!", labels));
            if !fits || !self.is_shown(image, dangling, *intermediate) {
                continue;
            }
            let mut summary = view::summary(image);
            if !keep_references(&mut summary, filters) {
                continue;
            }
            if let Some(bytes) = shared.as_ref().and_then(|shared| shared.get(&summary.id)) {
                summary.shared_size = *bytes;
                summary.containers = self.containers_on(&image.id);
            }
            shown.push(summary);
        }
        shown.sort_by_key(|summary| Reverse(summary.created));
        Ok(shown)
    }

    fn containers_on(self, id: &ImageId) -> i64 {
        let containers = self.engine.containers.all();
        containers.iter().filter(|c| c.read().image == id.as_str()).count() as i64
    }

    /// An image without a name is shown if nothing was made from it, or with `all`.
    fn is_shown(self, image: &Image, dangling: Option<bool>, all: bool) -> bool {
        let unnamed = image.is_unnamed();
        let head = !unnamed || !self.engine.images.has_children(&image.id);
        (all || head) && dangling.is_none_or(|dangling| dangling == (unnamed && head))
    }
}

/// Leaves only the names that a `reference` filter asks for; false when there are none.
fn keep_references(summary: &mut ImageSummary, filters: &Filters) -> bool {
    if !filters.has("reference") {
        return true;
    }
    let wanted = |name: &String| filters.get("reference").any(|pattern| matches_reference(pattern, name));
    let mut any = false;
    for names in [&mut summary.repo_tags, &mut summary.repo_digests].into_iter().flatten() {
        names.retain(wanted);
        any |= !names.is_empty();
    }
    any
}

/// Against the short form, with or without tag, or against the full form.
fn matches_reference(pattern: &str, name: &str) -> bool {
    let Ok(reference) = Reference::parse(name) else { return false };
    [reference.familiar(), reference.familiar_name(), reference.name(), reference.to_string()]
        .iter()
        .any(|form| glob::matches(pattern, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (pattern, name, wanted) in [
            ("busybox", "busybox:1", true),
            ("busybox:1", "busybox:1", true),
            ("busybox:2", "busybox:1", false),
            ("busy*", "busybox:1", true),
            ("*/busybox", "team/busybox:1", true),
            ("busybox", "team/busybox:1", false),
        ] {
            assert_eq!(matches_reference(pattern, name), wanted, "{pattern} {name}");
        }
    }

    #[test]
    fn only_the_matching_names_are_shown() {
        let mut filters = Filters::default();
        filters.0.insert("reference".into(), ["a:*".to_owned()].into());
        let tags = Some(vec!["a:1".to_owned(), "b:1".to_owned()]);
        let mut summary = ImageSummary { repo_tags: tags, ..ImageSummary::default() };
        assert!(keep_references(&mut summary, &filters));
        assert_eq!(summary.repo_tags.unwrap(), ["a:1"]);
        assert!(!keep_references(&mut ImageSummary::default(), &filters));
    }
}
