//! `GET /events`.

use crate::{
    request::Call,
    stream::{self, json_line},
    wire::{Body, BodyError},
};
use bytes::Bytes;
use gantry_engine::{EventStream, EventsOptions};
use gantry_model::Result;
use http::{HeaderValue, Response, header};

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let options = EventsOptions {
        since: call.query.non_empty("since"),
        until: call.query.non_empty("until"),
        filters: call.query.filters()?,
    };
    let events = call.engine.events(options)?;
    let mut response = Response::new(stream::endless(futures_util::stream::unfold(events, next), call.stopped()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn next(mut events: EventStream) -> Option<(std::result::Result<Bytes, BodyError>, EventStream)> {
    let event = events.next().await?;
    Some((event.map(|event| json_line(&event)).map_err(Into::into), events))
}
