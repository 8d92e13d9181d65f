//! The one map from an error's kind to a status.

use crate::{respond, wire::Body};
use gantry_api_types::go_json::GoJsonError;
use gantry_model::{Error, ErrorKind};
use http::{Response, StatusCode};

/// The status for a kind of error.
pub(crate) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::NotModified => StatusCode::NOT_MODIFIED,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unavailable | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer to a request that failed.
pub(crate) fn respond(error: &Error) -> Response<Body> {
    let status = status(error.kind());
    if status.is_server_error() {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::error!(%error, cause, "request failed");
    }
    if error.kind() == ErrorKind::NotModified {
        return respond::empty(status);
    }
    respond::error(status, error.message())
}

/// A body that is not the JSON it should be is the client's mistake.
pub(crate) fn bad_json(error: &GoJsonError) -> Error {
    if error.is_empty_body() {
        return Error::invalid("got EOF while reading request body");
    }
    Error::invalid(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[test]
    fn statuses() {
        for (error, code) in [
            (Error::invalid("x"), 400),
            (Error::unauthorized("x"), 401),
            (Error::forbidden("x"), 403),
            (Error::not_found("x"), 404),
            (Error::conflict("x"), 409),
            (Error::too_large("x"), 413),
            (Error::not_modified("x"), 304),
            (Error::internal("x"), 500),
            (Error::not_implemented("x"), 501),
            (Error::unavailable("x"), 503),
        ] {
            assert_eq!(respond(&error).status().as_u16(), code);
        }
    }

    #[tokio::test]
    async fn bodies() {
        let body = |error| async move { respond(&error).into_body().collect().await.unwrap().to_bytes() };
        assert_eq!(body(Error::not_found("No \"x\"")).await, "{\"message\":\"No \\\"x\\\"\"}\n");
        assert_eq!(body(Error::not_modified("same")).await, "");
    }
}
