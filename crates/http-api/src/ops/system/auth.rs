//! `POST /auth`.

use crate::{registry_auth, request::Call, respond, wire::Body};
use gantry_api_types::AuthConfig;
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let auth: AuthConfig = call.json().await?.unwrap_or_default();
    let login = call.engine.registry_login(&registry_auth::with_pair(auth)).await?;
    Ok(respond::json(StatusCode::OK, &login))
}
