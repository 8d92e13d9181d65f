//! `POST /images/{name}/tag`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{Response, StatusCode};

use super::blocking;

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let (repo, tag) = (call.query.str("repo").to_owned(), call.query.str("tag").to_owned());
    blocking(&call.engine, move |engine| engine.images().tag(&name, &repo, &tag)).await?;
    Ok(respond::empty(StatusCode::CREATED))
}
