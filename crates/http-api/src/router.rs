//! From method and path to a handler.

use crate::{request::Call, version::ApiVersion, wire::Body};
use gantry_model::Result;
use http::{Method, Response};
use percent_encoding::percent_decode_str;
use std::{future::Future, pin::Pin};

/// What a handler gives.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;

/// One operation of the API.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// `/containers/{}/json`: `{}` matches one segment, `{*}` one or more.
    pub(crate) pattern: &'static str,
    /// The first version that has it.
    pub(crate) since: ApiVersion,
    pub(crate) handler: fn(Call) -> Outcome,
}

/// A path that was understood as far as it says which version it speaks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct VersionedPath<'a> {
    /// What the client wrote, without `v`; `None` means the newest.
    pub(crate) version: Option<&'a str>,
    /// With the leading slash.
    pub(crate) path: &'a str,
}

/// Splits `/v1.35/containers/json`.
pub(crate) fn split_version(path: &str) -> VersionedPath<'_> {
    if let Some((version, rest)) = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'))
        && !version.is_empty()
        && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        return VersionedPath { version: Some(version), path: &path[path.len() - rest.len() - 1..] };
    }
    VersionedPath { version: None, path }
}

/// The route for a request and what its pattern captured, percent-decoded.
pub(crate) fn find<'r>(
    routes: &'r [Route],
    version: ApiVersion,
    method: &Method,
    path: &str,
) -> Option<(&'r Route, Vec<String>)> {
    routes
        .iter()
        .filter(|route| route.method == *method && route.since <= version)
        .find_map(|route| Some((route, captures(route.pattern, path)?)))
}

/// What `pattern` captures of `path`; `None` when it does not match.
pub(crate) fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut captured = Vec::new();
    let mut path: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let mut pattern = pattern.strip_prefix('/')?.split('/');
    while let Some(part) = pattern.next() {
        match part {
            "{*}" => {
                // Greedy, but the rest of the pattern must fit behind it.
                let rest = pattern.clone().count();
                let length = path.len().checked_sub(rest).filter(|&length| length > 0)?;
                captured.push(capture(&path[..length].join("/"))?);
                path.drain(..length);
            }
            _ if path.is_empty() => return None,
            "{}" => captured.push(capture(path.remove(0))?),
            literal => {
                if path.remove(0) != literal {
                    return None;
                }
            }
        }
    }
    path.is_empty().then_some(captured)
}

fn capture(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_paths() {
        let split = |path| {
            let VersionedPath { version, path } = split_version(path);
            (version.unwrap_or("-").to_owned(), path.to_owned())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(split("/v1.35/info"), pair("1.35", "/info"));
        assert_eq!(split("/info"), pair("-", "/info"));
        assert_eq!(split("/version"), pair("-", "/version"));
        assert_eq!(split("/volumes/a"), pair("-", "/volumes/a"));
        assert_eq!(split("/v/info"), pair("-", "/v/info"));
        assert_eq!(split("/v1.24"), pair("-", "/v1.24"));
    }

    #[test]
    fn patterns() {
        let some = |names: &[&str]| Some(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        assert_eq!(captures("/containers/{}/json", "/containers/a/json"), some(&["a"]));
        assert_eq!(captures("/containers/{}/json", "/containers/a/b/json"), None);
        assert_eq!(captures("/containers/{}/json", "/containers//json"), None);
        assert_eq!(captures("/containers/json", "/containers/json/"), None);
        assert_eq!(captures("/images/{*}/json", "/images/a/b:1/c/json"), some(&["a/b:1/c"]));
        assert_eq!(captures("/images/{*}/json", "/images/a%2Fb%3a1/json"), some(&["a/b:1"]));
        assert_eq!(captures("/images/{*}/json", "/images/json"), None);
        assert_eq!(captures("/images/{*}", "/images/get"), some(&["get"]));
        assert_eq!(captures("/images/{*}", "/images/%ff"), None);
        assert_eq!(captures("/info", "/info"), some(&[]));
    }
}
