//! Volumes.

use crate::{request::Call, respond, wire::Body};
use gantry_api_types::VolumeCreateRequest;
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn list(call: Call) -> Result<Response<Body>> {
    let list = call.engine.volume_list(&call.query.filters()?).await?;
    Ok(respond::json(StatusCode::OK, &list))
}

pub(crate) async fn create(mut call: Call) -> Result<Response<Body>> {
    let request: VolumeCreateRequest = call.json().await?.unwrap_or_default();
    let volume = call.engine.volume_create(request).await?;
    Ok(respond::json(StatusCode::CREATED, &volume))
}

pub(crate) async fn inspect(call: Call) -> Result<Response<Body>> {
    let volume = call.engine.volume_inspect(call.name()).await?;
    Ok(respond::json(StatusCode::OK, &volume))
}

pub(crate) async fn remove(call: Call) -> Result<Response<Body>> {
    call.engine.volume_remove(call.name(), call.query.bool("force")).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

/// Until API 1.41 every unused volume is pruned; since 1.42 only anonymous ones, unless `all` says otherwise.
pub(crate) async fn prune(call: Call) -> Result<Response<Body>> {
    let mut filters = call.query.filters()?;
    if call.version < crate::version::ApiVersion::v1(42) {
        filters.0.insert("all".into(), ["true".to_owned()].into());
    }
    let report = call.engine.volume_prune(filters).await?;
    Ok(respond::json(StatusCode::OK, &report))
}
