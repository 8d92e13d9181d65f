//! From an answer that is not the wanted one to an error.

use crate::{
    Error, Refusal, headers,
    transport::{Answer, url::shortened},
};
use http::StatusCode;
use serde::Deserialize;

/// A registry's `{"errors": [...]}`.
#[derive(Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Option<Vec<Item>>,
    /// What some servers in front of registries say instead.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

/// Reads what the registry says about its refusal. `wanted` is what a manifest was asked for as.
pub(crate) async fn refuse(answer: Answer, wanted: Option<(String, String)>) -> Error {
    let (status, retry_after) = (answer.status, headers::retry_after(&answer.headers));
    let refusal = |code: &str, message: &str| {
        let (code, message) = (shortened(code).to_owned(), shortened(message).to_owned());
        let refusal = Refusal { status: status.as_u16(), code, message, wanted: wanted.clone(), retry_after };
        Error::Refused(Box::new(refusal))
    };
    if !status.is_client_error() {
        let message = format!("received unexpected HTTP status: {status}");
        return Error::Status { status: status.as_u16(), message, retry_after };
    }
    // What the token did not suffice for is only said here.
    for challenge in headers::challenges(&answer.headers).iter().filter(|c| c.scheme == "bearer") {
        let code = match challenge.parameter("error") {
            "invalid_token" => "UNAUTHORIZED",
            "insufficient_scope" => "DENIED",
            _ => continue,
        };
        return refusal(code, challenge.parameter("error_description"));
    }
    let body = answer.body.beginning().await;
    let text = String::from_utf8_lossy(&body);
    // The answer to a HEAD has nothing but its status.
    if body.is_empty()
        && let Some(code) = code_of(status)
    {
        return refusal(code, "");
    }
    let why = match serde_json::from_slice::<Errors>(&body) {
        Ok(Errors { details: Some(details), .. }) if !details.is_empty() => {
            return refusal(code_of(status).unwrap_or("UNKNOWN"), &details);
        }
        Ok(Errors { errors: Some(errors), .. }) if !errors.is_empty() => {
            let first = &errors[0];
            return refusal(first.code.as_deref().unwrap_or_default(), first.message.as_deref().unwrap_or_default());
        }
        Ok(_) => "no error details found in HTTP response body".to_owned(),
        Err(_) if status == StatusCode::UNAUTHORIZED => return refusal("UNAUTHORIZED", ""),
        Err(e) => not_json(&e, &text),
    };
    let message = format!("error parsing HTTP {} response body: {why}: {:?}", status.as_u16(), shortened(&text));
    Error::Status { status: status.as_u16(), message, retry_after }
}

/// The code that a status alone stands for.
fn code_of(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::UNAUTHORIZED => Some("UNAUTHORIZED"),
        StatusCode::FORBIDDEN => Some("DENIED"),
        StatusCode::TOO_MANY_REQUESTS => Some("TOOMANYREQUESTS"),
        _ => None,
    }
}

/// What Go says about a text that is not JSON.
fn not_json(e: &serde_json::Error, text: &str) -> String {
    match text.trim_start().chars().next() {
        None => "unexpected end of JSON input".to_owned(),
        Some(c) if !matches!(c, '{' | '[' | '"' | '-' | 't' | 'f' | 'n' | '0'..='9') => {
            format!("invalid character {c:?} looking for beginning of value")
        }
        Some(_) => e.to_string(),
    }
}
