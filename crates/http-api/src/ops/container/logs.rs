//! `GET /containers/{id}/logs`.

use crate::{
    ops::{MULTIPLEXED_STREAM, RAW_STREAM},
    request::Call,
    stream,
    version::ApiVersion,
    wire::Body,
};
use gantry_engine::{LogStream, LogsOptions};
use gantry_model::{Error, Result};
use http::{HeaderValue, Response, header};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let query = &call.query;
    let (stdout, stderr) = (query.bool("stdout"), query.bool("stderr"));
    if !(stdout || stderr) {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    let options = LogsOptions {
        follow: query.bool("follow"),
        stdout,
        stderr,
        since: query.time("since")?,
        until: query.time("until")?,
        timestamps: query.bool("timestamps"),
        details: query.bool("details"),
        // Docker takes everything that is no number for "all".
        tail: query.str("tail").parse().ok(),
    };
    let log = call.engine.container_logs(call.name(), options).await?;
    // Older clients know from the container's Tty what comes.
    let content_type = match (call.version >= ApiVersion::v1(42), log.is_tty()) {
        (true, false) => MULTIPLEXED_STREAM,
        _ => RAW_STREAM,
    };
    let mut response = Response::new(stream::endless(futures_util::stream::unfold(log, next), call.stopped()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

async fn next(mut log: LogStream) -> Option<(std::result::Result<bytes::Bytes, crate::wire::BodyError>, LogStream)> {
    let piece = log.next().await?;
    Some((piece.map_err(Into::into), log))
}
