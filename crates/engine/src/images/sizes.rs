//! Bytes that images share.

use gantry_image_store::{Image, ImageId};
use gantry_model::Digest;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Bytes of each image's layers that other images have too. A layer is stored once for all images that have it,
/// whatever lies below it, so it is told by the digest of its archive.
pub(super) fn shared_sizes(images: &[Arc<Image>]) -> HashMap<ImageId, i64> {
    let mut users: HashMap<&Digest, usize> = HashMap::new();
    for image in images {
        let distinct: HashSet<&Digest> = image.layers.iter().map(|layer| &layer.diff_id).collect();
        for layer in distinct {
            *users.entry(layer).or_default() += 1;
        }
    }
    let shared = |image: &Arc<Image>| {
        let shared = image.layers.iter().filter(|layer| users.get(&layer.diff_id).is_some_and(|users| *users > 1));
        (image.id.clone(), super::view::signed(shared.map(|layer| layer.size).sum()))
    };
    images.iter().map(shared).collect()
}
