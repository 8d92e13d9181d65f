//! `GET /containers/{id}/changes`.

use crate::{request::Call, stream, wire::Body};
use gantry_model::{Error, Result};
use http::{HeaderValue, Response, header};
use std::sync::Arc;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let engine = Arc::clone(&call.engine);
    let name = call.name().to_owned();
    // Piece by piece: a container may have millions of them.
    let body = stream::download(move |out| {
        let mut first = true;
        engine.container_changes(&name, &mut |change| {
            out.write_all(if std::mem::take(&mut first) { b"[" } else { b"," })?;
            serde_json::to_writer(&mut *out, &change).map_err(|e| Error::internal(e.to_string()))
        })?;
        out.write_all(if first { b"null\n" } else { b"]\n" })?;
        Ok(())
    });
    let mut response = Response::new(body.await?);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
