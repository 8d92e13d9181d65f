//! Volumes.

use crate::{request::Call, respond, shape, version::ApiVersion, wire::Body};
use gantry_api_types::VolumeCreateRequest;
use gantry_model::{Error, Result};
use http::{Response, StatusCode};

/// Volumes of a swarm, and the difference between named and anonymous ones, came with it.
const CLUSTER_VOLUMES: ApiVersion = ApiVersion::v1(42);

pub(crate) async fn list(call: Call) -> Result<Response<Body>> {
    let list = call.engine.volume_list(&call.query.filters()?).await?;
    Ok(respond::json(StatusCode::OK, &shape::volume::list(call.version, list)))
}

pub(crate) async fn create(mut call: Call) -> Result<Response<Body>> {
    let mut request: VolumeCreateRequest = call.json().await?.unwrap_or_default();
    if call.version < CLUSTER_VOLUMES {
        request.cluster_volume_spec = None;
    }
    let volume = call.engine.volume_create(request).await?;
    Ok(respond::json(StatusCode::CREATED, &shape::volume::one(call.version, volume)))
}

pub(crate) async fn inspect(call: Call) -> Result<Response<Body>> {
    let volume = call.engine.volume_inspect(call.name()).await?;
    Ok(respond::json(StatusCode::OK, &shape::volume::one(call.version, volume)))
}

/// For volumes of a swarm, of which this node is no part; Docker looks at nothing else before it says so.
pub(crate) async fn update(_: Call) -> Result<Response<Body>> {
    Err(Error::unavailable("volume update only valid for cluster volumes, but swarm is unavailable"))
}

pub(crate) async fn remove(call: Call) -> Result<Response<Body>> {
    call.engine.volume_remove(call.name(), call.query.bool("force")).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Until API 1.41 every unused volume is pruned; since 1.42 only anonymous ones, unless `all` says otherwise.
pub(crate) async fn prune(call: Call) -> Result<Response<Body>> {
    let mut filters = call.query.filters()?;
    if call.version < CLUSTER_VOLUMES {
        filters.0.insert("all".into(), ["true".to_owned()].into());
    }
    let report = call.engine.volume_prune(filters).await?;
    Ok(respond::json(StatusCode::OK, &report))
}
