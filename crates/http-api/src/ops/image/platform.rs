//! `platform` and `platforms` of newer versions: OCI platforms in JSON, one in each value.

use crate::{request::Call, version::ApiVersion};
use gantry_api_types::{go_json, image::Platform as Written};
use gantry_model::{Error, Platform, Result};

/// `platform`; older versions than `since` do not know it.
pub(crate) fn one(call: &Call, since: ApiVersion) -> Result<Option<Platform>> {
    match call.query.non_empty("platform") {
        Some(text) if call.version >= since => parse(&text).map(Some),
        _ => Ok(None),
    }
}

/// `platforms`, which may come repeatedly.
pub(super) fn several(call: &Call, since: ApiVersion) -> Result<Vec<Platform>> {
    if call.version < since {
        return Ok(Vec::new());
    }
    call.query.all("platforms").iter().map(|text| parse(text)).collect()
}

fn parse(text: &str) -> Result<Platform> {
    let document = go_json::parse(text.as_bytes());
    let written = document.and_then(|document| document.decode::<Written>());
    let Written { os, architecture, variant, os_version, os_features } =
        written.map_err(|e| Error::invalid(format!("failed to parse platform: {e}")))?.unwrap_or_default();
    let optional = !variant.is_empty() || !os_version.is_empty() || os_features.is_some_and(|all| !all.is_empty());
    if os.is_empty() && architecture.is_empty() && optional {
        return Err(Error::invalid("optional platform fields provided, but OS and Architecture are missing"));
    }
    if os.is_empty() || architecture.is_empty() {
        return Err(Error::invalid("both OS and Architecture must be provided"));
    }
    Ok(Platform::new(&os, &architecture, &variant))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn dockers_rules() {
        let shown = |text: &str| parse(text).map_or_else(|e| e.to_string(), |platform| platform.to_string());
        assert_eq!(shown(r#"{"os": "linux", "architecture": "arm", "variant": "v6"}"#), "linux/arm/v6");
        assert_eq!(shown(r#"{"os": "linux"}"#), "both OS and Architecture must be provided");
        assert_eq!(shown("{}"), "both OS and Architecture must be provided");
        assert!(shown(r#"{"variant": "v6"}"#).starts_with("optional platform fields provided"));
        assert!(shown("linux/arm").starts_with("failed to parse platform: "));
    }
}
