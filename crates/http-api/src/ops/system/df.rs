//! `GET /system/df`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use crate::{shape, version::ApiVersion};
use gantry_engine::DiskUsageOptions;
use gantry_model::Error;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let mut wanted = DiskUsageOptions::ALL;
    if call.version >= ApiVersion::v1(42) && call.query.has("type") {
        wanted = DiskUsageOptions::default();
        for kind in call.query.all("type") {
            match kind.as_str() {
                "container" => wanted.containers = true,
                "image" => wanted.images = true,
                "volume" => wanted.volumes = true,
                "build-cache" => wanted.build_cache = true,
                unknown => return Err(Error::invalid(format!("unknown object type: {unknown}"))),
            }
        }
    }
    let usage = call.engine.disk_usage(wanted).await?;
    Ok(respond::json(StatusCode::OK, &shape::system::disk_usage(call.version, &usage)))
}
