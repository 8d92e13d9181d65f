//! `GET /system/df`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::{shape, version::ApiVersion};
use gantry_api_types::DiskUsage;
use gantry_model::Error;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let wanted = call.query.all("type");
    if let Some(unknown) =
        wanted.iter().find(|t| !matches!(t.as_str(), "container" | "image" | "volume" | "build-cache"))
    {
        return Err(Error::invalid(format!("unknown object type: {unknown}")));
    }
    let mut usage = call.engine.disk_usage().await?;
    if call.version >= ApiVersion::v1(42) && !wanted.is_empty() {
        keep(&mut usage, &wanted);
    }
    Ok(respond::json(StatusCode::OK, &shape::system::disk_usage(call.version, &usage)))
}

/// Drops the kinds that were not asked for.
fn keep(usage: &mut DiskUsage, wanted: &[String]) {
    let asked = |kind: &str| wanted.iter().any(|w| w == kind);
    if !asked("container") {
        usage.containers = None;
    }
    if !asked("image") {
        usage.images = None;
        usage.layers_size = None;
    }
    if !asked("volume") {
        usage.volumes = None;
    }
    if !asked("build-cache") {
        usage.build_cache = None;
    }
}
