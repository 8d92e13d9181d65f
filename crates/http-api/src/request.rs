//! What a handler gets of a request.

use crate::{errors::bad_json, query::Query, version::ApiVersion, wire::Stopping};
use bytes::Bytes;
use gantry_api_types::go_json;
use gantry_engine::Engine;
use gantry_model::{Error, Result};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The largest JSON body. A create request with thousands of mounts and variables is far below.
const MAX_JSON: usize = 8 * 1024 * 1024;

/// A body that hyper is still reading, or one that was read before the connection was taken over.
pub(crate) enum RequestBody {
    /// Comes from the connection.
    Incoming(Incoming),
    /// Is here.
    Whole(Bytes),
}

/// A request on its way to a handler.
pub(crate) struct Call {
    pub(crate) engine: Arc<Engine>,
    pub(crate) version: ApiVersion,
    pub(crate) captures: Vec<String>,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// Absent for requests that take the connection over: their sessions are ended from outside.
    pub(crate) stopping: Option<Stopping>,
}

impl Call {
    /// The first thing the path names.
    pub(crate) fn name(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// Ready when answers without an end should end.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopping = self.stopping.clone();
        async move {
            match stopping {
                Some(stopping) => stopping.stopped().await,
                None => std::future::pending().await,
            }
        }
    }

    /// Reads the body, which must be JSON and declared so. `null` gives `None`.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let bytes = self.json_bytes().await?;
        go_json::from_slice(&bytes).map_err(|e| bad_json(&e))
    }

    /// The bytes of a body that must be declared as JSON.
    pub(crate) async fn json_bytes(&mut self) -> Result<Bytes> {
        let bytes = self.whole_body().await?;
        // Docker looks at the type only when there is a body; without one the JSON is what is missing.
        if !bytes.is_empty() {
            check_content_type(&self.headers)?;
        }
        Ok(bytes)
    }

    /// The body, to be read as a stream.
    pub(crate) fn take_body(&mut self) -> RequestBody {
        std::mem::replace(&mut self.body, RequestBody::Whole(Bytes::new()))
    }

    /// The body, of any type.
    pub(crate) async fn whole_body(&mut self) -> Result<Bytes> {
        match self.take_body() {
            RequestBody::Whole(bytes) => Ok(bytes),
            RequestBody::Incoming(incoming) => match Limited::new(incoming, MAX_JSON).collect().await {
                Ok(collected) => Ok(collected.to_bytes()),
                Err(e) if e.is::<LengthLimitError>() => Err(Error::too_large("request body too large")),
                Err(e) => Err(Error::invalid(format!("cannot read the request's body: {e}"))),
            },
        }
    }
}

/// Docker's check: parameters such as `charset` are allowed.
fn check_content_type(headers: &HeaderMap) -> Result<()> {
    let value = headers.get(header::CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()));
    let value = value.as_deref().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Error::invalid(format!("Content-Type specified ({value}) must be 'application/json'")))
}

#[cfg(test)]
mod tests {
    use super::check_content_type;
    use http::{HeaderMap, HeaderValue};

    #[test]
    fn content_types() {
        let check = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", HeaderValue::from_static(value));
            check_content_type(&headers).map_err(|e| e.to_string())
        };
        assert_eq!(check("application/json"), Ok(()));
        assert_eq!(check("Application/JSON; charset=utf-8"), Ok(()));
        let message = "Content-Type specified (text/plain) must be 'application/json'";
        assert_eq!(check("text/plain"), Err(message.to_owned()));
        let message = "Content-Type specified () must be 'application/json'";
        assert_eq!(check_content_type(&HeaderMap::new()).unwrap_err().to_string(), message);
    }
}
