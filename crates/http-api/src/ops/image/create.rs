//! `POST /images/create`: import. Pulling waits for the registry client.

use crate::{
    request::Call,
    stream::{self, ProgressSink},
    wire::Body,
};
use gantry_api_types::ProgressMessage;
use gantry_engine::ImageImport;
use gantry_model::{Error, Result};
use http::Response;
use std::sync::Arc;

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    let query = &call.query;
    if let Some(image) = query.non_empty("fromImage") {
        return Err(Error::not_implemented(format!(
            "cannot pull {image}: this engine cannot talk to registries yet; import or load the image instead"
        )));
    }
    match query.str("fromSrc") {
        "-" => {}
        "" => return Err(Error::invalid("one of fromImage and fromSrc must be given")),
        _ => {
            return Err(Error::not_implemented(
                "importing from a URL is not possible yet: download the archive and send it with fromSrc=-",
            ));
        }
    }
    let import = ImageImport {
        repo: query.str("repo").to_owned(),
        tag: query.str("tag").to_owned(),
        message: query.str("message").to_owned(),
        changes: query.all("changes"),
        platform: query.non_empty("platform"),
    };
    let engine = Arc::clone(&call.engine);
    stream::operation(call.take_body(), move |mut upload, sink: ProgressSink| {
        let id = engine.images().import(&mut upload, import)?;
        sink.send(&ProgressMessage { status: id, ..ProgressMessage::default() });
        Ok(())
    })
    .await
}
