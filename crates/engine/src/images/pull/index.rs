//! Which image of an index is meant.

use gantry_api_types::image::{Descriptor, Platform as OfferedPlatform};
use gantry_model::{Digest, Error, Platform, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Descriptor>>,
}

/// The images of an index.
pub(in crate::images) fn entries(bytes: &[u8]) -> Result<Vec<Descriptor>> {
    let index: Index =
        serde_json::from_slice(bytes).map_err(|e| Error::invalid(format!("the registry's index is not valid: {e}")))?;
    Ok(index.manifests.unwrap_or_default())
}

/// The digest of the manifest that fits best. An entry that names no platform fits any, after those that do.
pub(super) fn choose(bytes: &[u8], wanted: Option<&Platform>) -> Result<Digest> {
    let host = Platform::host();
    let wanted = wanted.unwrap_or(&host);
    let fitting = entries(bytes)?.into_iter().filter_map(|entry| {
        let rank = match &entry.platform {
            None => usize::MAX,
            Some(offered) => wanted.suitability(&platform(offered))?,
        };
        Some((rank, entry))
    });
    let Some((_, best)) = fitting.min_by_key(|(rank, _)| *rank) else {
        return Err(Error::not_found(format!("no matching manifest for {wanted} in the manifest list entries")));
    };
    best.digest.parse().map_err(|e| Error::invalid(format!("the registry's index names {:?}: {e}", best.digest)))
}

fn platform(offered: &OfferedPlatform) -> Platform {
    Platform::new(&offered.os, &offered.architecture, &offered.variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_fits_and_the_first_of_equals() {
        let digest = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
        let entry = |n: u8, platform: &str| format!(r#"{{"digest":"{}","size":1{platform}}}"#, digest(n));
        let on = |os: &str, arch: &str| format!(r#","platform":{{"os":"{os}","architecture":"{arch}"}}"#);
        let index = |entries: &[String]| format!(r#"{{"manifests":[{}]}}"#, entries.join(","));
        let text = index(&[
            entry(1, &on("unknown", "unknown")),
            entry(2, ""),
            entry(3, &on("linux", "386")),
            entry(4, &on("linux", "amd64")),
            entry(5, &on("linux", "amd64")),
            entry(6, &on("linux", "arm64")),
        ]);
        let pick = |text: &str, wanted: &str| {
            choose(text.as_bytes(), Some(&wanted.parse().unwrap())).map(|d| d.to_string()).map_err(|e| e.to_string())
        };
        assert_eq!(pick(&text, "linux/amd64"), Ok(digest(4)));
        assert_eq!(pick(&text, "linux/arm64"), Ok(digest(6)));
        assert_eq!(pick(&text, "linux/s390x"), Ok(digest(2)));
        let none = "no matching manifest for linux/arm/v7 in the manifest list entries".to_owned();
        assert_eq!(pick(&index(&[entry(4, &on("linux", "amd64"))]), "linux/arm"), Err(none));
        assert!(pick(r#"{"manifests":null}"#, "linux/amd64").is_err());
    }
}
