//! The server that gives out tokens.

use super::basic;
use crate::{
    Credentials, Error, Result,
    headers::Challenge,
    refuse::refuse,
    retry,
    transport::{self, Answer, Call, Failure, Transport, Url, url::FORM},
};
use http::{HeaderValue, Method, header};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use std::time::Duration;

/// How Docker calls itself to token servers.
const CLIENT_ID: &str = "docker";

/// A token that holds the permissions for one repository has a few kilobytes.
const MAX_ANSWER: usize = 1 << 20;
const MAX_TOKEN: usize = 48 << 10;

/// The protocol's lifetime of a token that does not say, and the shortest that is believed.
const SHORTEST: u64 = 60;
const LONGEST: u64 = 24 * 3600;

/// What a token is wanted for.
pub(super) struct Wish<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) scopes: &'a [String],
    pub(super) offline: bool,
    /// The registry that sent us to the token server.
    pub(super) registry: &'a Url,
}

/// What came.
pub(super) struct Issued {
    pub(super) token: String,
    pub(super) refresh_token: String,
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<i64>,
}

/// Fetches a token: with an identity token by OAuth2, otherwise by `GET`, with the password if there is one.
pub(super) async fn fetch(transport: &Transport, challenge: &Challenge, wish: &Wish<'_>) -> Result<Issued> {
    let realm = challenge.parameter("realm");
    let realm = Url::parse(realm).map_err(|e| Error::Protocol(format!("token realm: {e}")))?;
    let credentials = wish.credentials;
    let anonymous = credentials.identity_token.is_empty() && basic(credentials).is_none();
    // A registry behind TLS that sends passwords over the open wire has been misconfigured, or tampered with.
    if wish.registry.origin.https && !realm.origin.https && !anonymous && !transport.may_be_plain(&realm.origin).await {
        return Err(Error::Protocol(format!("refusing to send credentials without TLS to {realm}")));
    }
    let scopes: Vec<_> = wish.scopes.iter().filter(|scope| !scope.is_empty()).map(String::as_str).collect();
    let answer = retry::small(|| async {
        let call = if credentials.identity_token.is_empty() {
            by_get(&realm, challenge, wish, &scopes)
        } else {
            by_oauth(&realm, challenge, credentials, &scopes)
        };
        transport.exchange(call).await.map_err(|failure| no_answer(&realm, failure))
    })
    .await?;
    if !answer.status.is_success() {
        return Err(refuse(answer, None).await);
    }
    read(answer, &realm).await
}

fn by_get(realm: &Url, challenge: &Challenge, wish: &Wish<'_>, scopes: &[&str]) -> Call {
    let mut url = realm.clone();
    let service = challenge.parameter("service");
    if !service.is_empty() {
        url.push_parameter("service", service);
    }
    for scope in scopes {
        url.push_parameter("scope", scope);
    }
    if wish.offline {
        url.push_parameter("offline_token", "true");
        url.push_parameter("client_id", CLIENT_ID);
    }
    let authorization = basic(wish.credentials);
    if authorization.is_some() {
        url.push_parameter("account", &wish.credentials.username);
    }
    let mut call = Call::new(Method::GET, url);
    if let Some(mut value) = authorization.and_then(|text| HeaderValue::try_from(text).ok()) {
        value.set_sensitive(true);
        call.headers.insert(header::AUTHORIZATION, value);
    }
    call
}

fn by_oauth(realm: &Url, challenge: &Challenge, credentials: &Credentials, scopes: &[&str]) -> Call {
    let scope = scopes.join(" ");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &credentials.identity_token),
        ("service", challenge.parameter("service")),
        ("client_id", CLIENT_ID),
        ("scope", &scope),
    ];
    let form: Vec<_> =
        form.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, FORM))).collect();
    let mut call = Call::new(Method::POST, realm.clone());
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    call.headers.insert(header::CONTENT_TYPE, form_type);
    call.payload = transport::bytes(form.join("&").into());
    call
}

async fn read(answer: Answer, realm: &Url) -> Result<Issued> {
    let body = answer.body.collect(MAX_ANSWER).await.map_err(|failure| no_answer(realm, failure))?;
    let body = body.ok_or_else(|| Error::TooLarge(format!("token server {realm} sent more than a token")))?;
    // The parser's words may quote what it read: those of a token server are not repeated.
    let given: Given = serde_json::from_slice(&body)
        .map_err(|e| Error::Protocol(format!("unable to decode token response: {:?} error", e.classify())))?;
    let token = given.token.filter(|t| !t.is_empty()).or(given.access_token).unwrap_or_default();
    if token.is_empty() {
        return Err(Error::Protocol("authorization server did not include a token in the response".to_owned()));
    }
    if token.len() > MAX_TOKEN {
        return Err(Error::TooLarge(format!("token server {realm} sent a token of {} bytes", token.len())));
    }
    let lifetime = given.expires_in.and_then(|s| u64::try_from(s).ok()).unwrap_or(0).clamp(SHORTEST, LONGEST);
    let refresh_token = given.refresh_token.filter(|t| t.len() <= MAX_TOKEN).unwrap_or_default();
    Ok(Issued { token, refresh_token, lifetime: Duration::from_secs(lifetime) })
}

fn no_answer(realm: &Url, failure: Failure) -> Error {
    Error::NoAnswer { request: format!("Get \"{realm}\""), failure }
}
