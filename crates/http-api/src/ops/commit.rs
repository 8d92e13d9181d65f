//! `POST /commit`.

use crate::{errors::bad_json, request::Call, respond, wire::Body};
use gantry_api_types::{ContainerConfig, go_json};
use gantry_engine::CommitRequest;
use gantry_model::Result;
use http::{Response, StatusCode};

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let bytes = call.json_bytes().await?;
    let config: Option<ContainerConfig> = match bytes.as_ref() {
        [] => None,
        bytes => go_json::from_slice(bytes).map_err(|e| bad_json(&e))?,
    };
    let query = &call.query;
    let request = CommitRequest {
        container: query.str("container").to_owned(),
        repo: query.str("repo").to_owned(),
        tag: query.str("tag").to_owned(),
        comment: query.str("comment").to_owned(),
        author: query.str("author").to_owned(),
        pause: query.str("pause").is_empty() || query.bool("pause"),
        changes: query.all("changes"),
        config,
    };
    let id = call.engine.container_commit(request).await?;
    Ok(respond::json(StatusCode::CREATED, &serde_json::json!({ "Id": id })))
}
