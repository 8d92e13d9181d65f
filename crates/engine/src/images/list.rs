//! `GET /images/json`.

use super::reference_filter::References;
use super::sizes::shared_sizes;
use super::{Images, view};
use crate::filters::Filters;
use gantry_api_types::ImageSummary;
use gantry_image_store::{Image, ImageId};
use gantry_model::{Result, Timestamp};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

const FILTERS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];

/// Query parameters of the list.
#[derive(Debug, Clone, Default)]
pub struct ImageListOptions {
    /// Intermediate images too.
    pub all: bool,
    /// Count the bytes shared with other images.
    pub shared_size: bool,
    /// Count the containers.
    pub containers: bool,
    /// Tell about each image's manifests, and count the containers.
    pub manifests: bool,
    /// Which images.
    pub filters: Filters,
}

impl Images<'_> {
    /// The images that match, the newest first.
    #[expect(clippy::needless_pass_by_value, reason = "callers on another thread give it away")]
    pub fn list(self, options: ImageListOptions) -> Result<Vec<ImageSummary>> {
        let filters = &options.filters;
        filters.accept_only(FILTERS)?;
        let dangling = filters.boolean("dangling")?;
        let window = self.window(filters)?;
        let references = References::parse(filters)?;
        // One reading of the store: what follows must fit together.
        let all = self.engine.images.list();
        let parents: HashSet<&ImageId> = all.iter().filter_map(|image| image.parent.as_ref()).collect();
        let shared = options.shared_size.then(|| shared_sizes(&all));
        let users = (options.containers || options.manifests).then(|| self.containers_by_image());

        let mut shown = Vec::new();
        for image in &all {
            if !window.contains(image.document.created)
                || !filters.select_labels(&image.document.config.labels)
                || !is_shown(image, parents.contains(&image.id), dangling, options.all)
            {
                continue;
            }
            let Some((tags, digests)) = references.select(image) else { continue };
            let mut summary = view::summary(image, tags, digests);
            if let Some(shared) = &shared {
                summary.shared_size = shared.get(&image.id).copied().unwrap_or(0);
            }
            if let Some(users) = &users {
                let ids = users.get(image.id.as_str()).map_or(&[][..], Vec::as_slice);
                summary.containers = ids.len() as i64;
                if options.manifests {
                    summary.manifests = Some(self.manifests(image, ids));
                }
            }
            shown.push(summary);
        }
        shown.sort_by_key(|summary| Reverse(summary.created));
        Ok(shown)
    }

    /// Between which moments an image must have been made.
    fn window(self, filters: &Filters) -> Result<Window> {
        let times = |key: &str| -> Result<Vec<Timestamp>> {
            filters.get(key).map(|name| Ok(self.engine.images.resolve(name)?.document.created)).collect()
        };
        let mut before = times("before")?;
        before.extend(crate::until::parse_all(filters)?);
        Ok(Window { before: before.into_iter().min(), since: times("since")?.into_iter().max() })
    }

    /// The ids of the containers made from each image.
    pub(super) fn containers_by_image(self) -> HashMap<String, Vec<String>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for container in self.engine.containers.all() {
            let record = container.read();
            users.entry(record.image.clone()).or_default().push(record.id.to_string());
        }
        users
    }
}

/// Both ends are open.
#[derive(Debug, Default)]
struct Window {
    before: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Window {
    fn contains(&self, created: Timestamp) -> bool {
        self.before.is_none_or(|before| created < before) && self.since.is_none_or(|since| created > since)
    }
}

/// An image without a name is shown if nothing was made from it, or with `all`. Dangling is what has no tag: a name by
/// digest alone does not change that.
fn is_shown(image: &Arc<Image>, has_children: bool, dangling: Option<bool>, all: bool) -> bool {
    match dangling {
        Some(true) => image.repo_tags.is_empty() && !has_children,
        Some(false) => !image.is_unnamed(),
        None => all || !image.is_unnamed() || !has_children,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open() {
        let at = |n: i128| Timestamp::from_unix_nanos(n);
        let window = Window { before: Some(at(10)), since: Some(at(5)) };
        let inside: Vec<i128> = (0..15).filter(|n| window.contains(at(*n))).collect();
        assert_eq!(inside, [6, 7, 8, 9]);
        assert!(Window::default().contains(Timestamp::ZERO));
    }
}
