//! Volumes.

use crate::version::ApiVersion;
use gantry_api_types::{Volume, VolumeListResponse};

/// By which volumes that nobody named can be told since 1.42.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// One volume as a version shows it.
pub(crate) fn one(version: ApiVersion, mut volume: Volume) -> Volume {
    if version < ApiVersion::v1(42)
        && let Some(labels) = &mut volume.labels
        && labels.remove(ANONYMOUS).is_some()
        && labels.is_empty()
    {
        volume.labels = None;
    }
    volume
}

/// A list of volumes as a version shows it.
pub(crate) fn list(version: ApiVersion, mut list: VolumeListResponse) -> VolumeListResponse {
    list.volumes = all(version, &list.volumes);
    list
}

/// Volumes as a version shows them.
pub(crate) fn all(version: ApiVersion, volumes: &[Volume]) -> Vec<Volume> {
    volumes.iter().map(|volume| one(version, volume.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_anonymous_volumes_is_new() {
        let labels = Some([(ANONYMOUS.to_owned(), String::new())].into());
        let volume = Volume { labels, ..Volume::default() };
        assert!(one(ApiVersion::v1(42), volume.clone()).labels.is_some());
        assert_eq!(one(ApiVersion::v1(41), volume).labels, None);
    }
}
