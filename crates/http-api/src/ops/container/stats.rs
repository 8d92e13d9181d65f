//! `GET /containers/{id}/stats`.

use crate::{
    request::Call,
    respond,
    stream::{self, json_line},
    version::ApiVersion,
    wire::{Body, BodyError},
};
use bytes::Bytes;
use gantry_engine::{Stats, StatsOptions, StatsStream};
use gantry_model::Result;
use http::{HeaderValue, Response, StatusCode, header};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let options = StatsOptions {
        stream: call.query.bool_or("stream", true),
        one_shot: call.version >= ApiVersion::v1(41) && call.query.bool("one-shot"),
    };
    match call.engine.container_stats(call.name(), options).await? {
        Stats::Once(stats) => Ok(respond::json(StatusCode::OK, &stats)),
        Stats::Stream(samples) => {
            let mut response =
                Response::new(stream::endless(futures_util::stream::unfold(samples, next), call.stopped()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    }
}

async fn next(mut samples: StatsStream) -> Option<(std::result::Result<Bytes, BodyError>, StatsStream)> {
    let sample = samples.next().await?;
    Some((Ok(json_line(&sample)), samples))
}
