//! Networks.

use crate::{request::Call, respond, shape, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn list(call: Call) -> Result<Response<Body>> {
    let networks = call.engine.network_list(call.query.filters()?).await?;
    Ok(respond::json(StatusCode::OK, &shape::network::networks(call.version, &networks)))
}

pub(crate) async fn inspect(call: Call) -> Result<Response<Body>> {
    let network = call.engine.network_inspect(call.name()).await?;
    Ok(respond::json(StatusCode::OK, &shape::network::network(call.version, &network)))
}
