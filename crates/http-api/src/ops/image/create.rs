//! `POST /images/create`: pull and import.

use crate::{
    registry_auth,
    request::Call,
    stream::{self, ProgressSink},
    version::ApiVersion,
    wire::Body,
};
use gantry_api_types::ProgressMessage;
use gantry_engine::{ImageImport, ImagePull};
use gantry_model::{Error, Result};
use http::Response;
use std::sync::Arc;

pub(crate) async fn post(call: Call) -> Result<Response<Body>> {
    let query = &call.query;
    let platform = query.non_empty("platform").filter(|_| call.version >= ApiVersion::v1(32));
    if let Some(image) = query.non_empty("fromImage") {
        let auth = registry_auth::header(&call).unwrap_or_default();
        let pull = ImagePull { image, tag: query.str("tag").to_owned(), platform, auth };
        return stream::reported(call.engine.image_pull(pull)?, call.stopped()).await;
    }
    let import = ImageImport {
        repo: query.str("repo").to_owned(),
        tag: query.str("tag").to_owned(),
        message: query.str("message").to_owned(),
        changes: query.all("changes"),
        platform,
    };
    match query.str("fromSrc") {
        "-" => import_body(call, import).await,
        "" => Err(Error::invalid("one of fromImage and fromSrc must be given")),
        url => {
            let import = call.engine.image_import_from(url, import);
            stream::reported(import, call.stopped()).await
        }
    }
}

async fn import_body(mut call: Call, import: ImageImport) -> Result<Response<Body>> {
    let engine = Arc::clone(&call.engine);
    stream::operation(call.take_body(), move |mut upload, sink: ProgressSink| {
        let id = engine.images().import(&mut upload, import)?;
        sink.send(&ProgressMessage { status: id, ..ProgressMessage::default() });
        Ok(())
    })
    .await
}
