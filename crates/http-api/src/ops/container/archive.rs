//! `HEAD`, `GET` and `PUT /containers/{id}/archive`.

use crate::{
    request::Call,
    respond,
    stream::{self, Upload},
    wire::Body,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_engine::{ExtractOptions, PathStat};
use gantry_model::{Error, Result};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use std::sync::Arc;

const PATH_STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");

pub(crate) async fn head(call: Call) -> Result<Response<Body>> {
    let path = path(&call)?;
    let engine = Arc::clone(&call.engine);
    let name = call.name().to_owned();
    let stat = super::blocking(move || Ok(engine.container_archive(&name, &path)?.stat)).await?;
    let mut response = respond::empty(StatusCode::OK);
    response.headers_mut().insert(PATH_STAT, stat_header(&stat)?);
    Ok(response)
}

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let path = path(&call)?;
    let engine = Arc::clone(&call.engine);
    let name = call.name().to_owned();
    let source = super::blocking(move || engine.container_archive(&name, &path)).await?;
    let stat = stat_header(&source.stat)?;
    let engine = Arc::clone(&call.engine);
    let mut response = Response::new(stream::download(move |out| engine.write_archive(&source, out)).await?);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    response.headers_mut().insert(PATH_STAT, stat);
    Ok(response)
}

pub(crate) async fn put(mut call: Call) -> Result<Response<Body>> {
    let path = path(&call)?;
    let options = ExtractOptions {
        no_overwrite_dir_non_dir: call.query.bool("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.bool("copyUIDGID"),
    };
    let engine = Arc::clone(&call.engine);
    let name = call.name().to_owned();
    // Dropped with this call when the client goes away, which ends the extraction.
    let (mut upload, _feeding) = Upload::new(call.take_body());
    super::blocking(move || engine.container_extract(&name, &path, options, &mut upload)).await?;
    Ok(respond::empty(StatusCode::OK))
}

fn path(call: &Call) -> Result<String> {
    // The missing space is Docker's.
    call.query.non_empty("path").ok_or_else(|| Error::invalid("bad parameter: pathcannot be empty"))
}

fn stat_header(stat: &PathStat) -> Result<HeaderValue> {
    let json = serde_json::to_vec(stat).map_err(|e| Error::internal(e.to_string()))?;
    HeaderValue::try_from(STANDARD.encode(json)).map_err(|e| Error::internal(e.to_string()))
}
