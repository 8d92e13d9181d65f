//! Networks.

use crate::version::ApiVersion;
use crate::{request::Call, respond, shape, wire::Body};
use gantry_api_types::{NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest};
use gantry_model::go::parse_bool;
use gantry_model::{Error, Result};
use http::{Response, StatusCode};

/// Until API 1.27 the list had the networks' members.
pub(crate) async fn list(call: Call) -> Result<Response<Body>> {
    let detailed = call.version < ApiVersion::v1(28);
    let networks = call.engine.network_list(call.query.filters()?, detailed).await?;
    Ok(respond::json(StatusCode::OK, &shape::network::networks(call.version, &networks)))
}

pub(crate) async fn inspect(call: Call) -> Result<Response<Body>> {
    // What it adds are a swarm's services, of which there are none; but Docker looks at it.
    let verbose = call.query.str("verbose");
    if !verbose.is_empty() && parse_bool(verbose).is_none() {
        return Err(Error::invalid(format!(
            "invalid value for verbose: {verbose}: strconv.ParseBool: parsing {verbose:?}: invalid syntax"
        )));
    }
    let network = call.engine.network_inspect(call.name(), call.query.str("scope")).await?;
    Ok(respond::json(StatusCode::OK, &shape::network::network(call.version, &network)))
}

pub(crate) async fn create(mut call: Call) -> Result<Response<Body>> {
    let mut request: NetworkCreateRequest = call.json().await?.unwrap_or_default();
    shape::network::adapt(call.version, &mut request);
    let made = call.engine.network_create(request).await?;
    Ok(respond::json(StatusCode::CREATED, &made))
}

pub(crate) async fn remove(call: Call) -> Result<Response<Body>> {
    call.engine.network_remove(call.name()).await?;
    Ok(respond::empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn prune(call: Call) -> Result<Response<Body>> {
    let report = call.engine.network_prune(call.query.filters()?).await?;
    Ok(respond::json(StatusCode::OK, &report))
}

pub(crate) async fn connect(mut call: Call) -> Result<Response<Body>> {
    let mut request: NetworkConnectRequest = call.json().await?.unwrap_or_default();
    if let Some(settings) = &mut request.endpoint_config {
        shape::network::adapt_endpoint(call.version, settings);
    }
    call.engine.network_connect(call.name(), request).await?;
    Ok(respond::empty(StatusCode::OK))
}

pub(crate) async fn disconnect(mut call: Call) -> Result<Response<Body>> {
    let request: NetworkDisconnectRequest = call.json().await?.unwrap_or_default();
    call.engine.network_disconnect(call.name(), request).await?;
    Ok(respond::empty(StatusCode::OK))
}
