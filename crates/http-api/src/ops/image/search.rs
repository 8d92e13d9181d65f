//! `GET /images/search`.

use crate::{registry_auth, request::Call, respond, wire::Body};
use gantry_engine::ImageSearch;
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let search = ImageSearch {
        term: call.query.str("term").to_owned(),
        limit: call.query.int("limit")?,
        filters: call.query.filters()?,
        auth: registry_auth::header(&call).unwrap_or_default(),
    };
    Ok(respond::json(StatusCode::OK, &call.engine.image_search(search).await?))
}
