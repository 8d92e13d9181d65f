//! Image references: `[domain[:port]/]path[:tag][@digest]`, and the short names that people type.
//!
//! The grammar is that of the distribution project's `reference` package, including its error texts, which clients
//! show and compare.

use crate::{Digest, Error, digest::ParseDigestError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
/// The tag of a reference that names none.
pub const DEFAULT_TAG: &str = "latest";
const MAX_PATH: usize = 255;
const MAX_TAG: usize = 128;

/// A normalised reference to an image by name: the domain is always there, except for the few names whose first
/// component has a dot but is no domain (`my_host.local/x`), which the grammar reads as a path alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a caller may pass where an image is named: a name, or a full id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyReference {
    /// A name.
    Named(Reference),
    /// `sha256:…` or 64 hex digits.
    Digest(Digest),
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not match the grammar.
    #[error("invalid reference format")]
    Format,
    /// It would match if the path were lower case.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The path is too long.
    #[error("repository name must not be more than {MAX_PATH} characters")]
    TooLong,
    /// It looks like an image id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// A tag on its own does not match the grammar.
    #[error("invalid tag format")]
    Tag,
    /// The digest is wrong.
    #[error(transparent)]
    Digest(#[from] ParseDigestError),
}

impl From<ReferenceError> for Error {
    fn from(e: ReferenceError) -> Self {
        Self::invalid(e.to_string())
    }
}

impl Reference {
    /// Parses what a person types and completes it: `busybox` is `docker.io/library/busybox`. No tag is added.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_identifier(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let until_tag = remainder.split(':').next().unwrap_or_default();
        if until_tag.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(until_tag.to_owned()));
        }
        Self::parse_parts(domain, &remainder)
    }

    fn parse_parts(domain: &str, remainder: &str) -> Result<Self, ReferenceError> {
        let (named, digest) = match remainder.split_once('@') {
            Some((named, digest)) => (named, Some(parse_digest(digest)?)),
            None => (remainder, None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Format),
            None => (named, None),
        };
        if !is_path(path) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = if is_domain(domain) {
            (domain.to_owned(), path.to_owned())
        } else if is_path(domain) {
            (String::new(), format!("{domain}/{path}"))
        } else {
            return Err(ReferenceError::Format);
        };
        if path.len() > MAX_PATH {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain, path, tag, digest })
    }

    /// The domain, with its port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path within the domain.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Neither tag nor digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The full name without tag and digest.
    pub fn name(&self) -> String {
        if self.domain.is_empty() { self.path.clone() } else { format!("{}/{}", self.domain, self.path) }
    }

    /// The name as people write it, without tag and digest.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            // `library/a/b` shortened to `a/b` would mean something else.
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The reference as people write it.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// With the tag `latest` where there is neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same name with this tag instead of its own tag and digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same name with this digest instead of its own tag and digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The name without tag and digest.
    #[must_use]
    pub fn name_only(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    fn suffixed(&self, mut text: String) -> String {
        for (separator, part) in [(':', self.tag()), ('@', self.digest().map(Digest::as_str))] {
            if let Some(part) = part {
                text.push(separator);
                text.push_str(part);
            }
        }
        text
    }
}

impl AnyReference {
    /// Parses a name, a digest or 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let id = if is_identifier(text) { format!("sha256:{text}").parse() } else { text.parse() };
        match id {
            Ok(digest) => Ok(Self::Digest(digest)),
            Err(_) => Reference::parse(text).map(Self::Named),
        }
    }
}

/// The canonical, full form.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(s: &str) -> Result<Self, ReferenceError> {
        Self::parse(s)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The first component is a domain when nothing else would look like it: a dot, a port, `localhost`, or upper case,
/// which a path must not have.
fn split_domain(text: &str) -> (&str, String) {
    let Some((first, rest)) = text.split_once('/') else {
        return (DEFAULT_DOMAIN, format!("{OFFICIAL_PREFIX}{text}"));
    };
    let (domain, rest) = if first == LEGACY_DEFAULT_DOMAIN {
        (DEFAULT_DOMAIN, rest)
    } else if first == "localhost" || first.contains(['.', ':']) || first.bytes().any(|b| b.is_ascii_uppercase()) {
        (first, rest)
    } else {
        (DEFAULT_DOMAIN, text)
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        return (domain, format!("{OFFICIAL_PREFIX}{rest}"));
    }
    (domain, rest.to_owned())
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    matches!(tag.as_bytes(), [first, rest @ ..] if word(*first)
        && rest.len() < MAX_TAG
        && rest.iter().all(|&b| word(b) || matches!(b, b'.' | b'-')))
}

/// The grammar wants an algorithm and at least 32 digits; what passes is then checked as a digest.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let word = |w: &str| {
        w.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && w.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let well_formed = algorithm.split(['-', '_', '+', '.']).all(word)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit());
    if well_formed { Ok(text.parse()?) } else { Err(ReferenceError::Format) }
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Runs of `[a-z0-9]` joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let run = rest.iter().take_while(|&&b| alphanumeric(b)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|&&b| !alphanumeric(b)).count();
        if !matches!(&rest[..separator], b"." | b"_" | b"__") && rest[..separator].iter().any(|&b| b != b'-') {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    if port.is_some_and(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return false;
    }
    if let Some(v6) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

#[cfg(test)]
mod tests {
    use super::{AnyReference, Reference, ReferenceError};

    #[test]
    fn normalises_and_shortens() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (typed, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("me/app", "docker.io/me/app", "me/app"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/me/app", "docker.io/me/app", "me/app"),
            ("localhost/app", "localhost/app", "localhost/app"),
            ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
            ("a.b/c/d", "a.b/c/d", "a.b/c/d"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("Foo/bar", "Foo/bar", "Foo/bar"),
            ("a_b.c/x", "a_b.c/x", "a_b.c/x"),
            ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"),
            ("library/a", "docker.io/library/a", "a"),
            ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
        ] {
            let parsed = Reference::parse(typed).unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.familiar().as_str()), (full, familiar), "{typed}");
            assert_eq!(Reference::parse(full).unwrap().to_string(), full);
        }
        let both = Reference::parse(&format!("a:b@{digest}")).unwrap();
        assert_eq!((both.tag(), both.digest().unwrap().as_str()), (Some("b"), digest.as_str()));
    }

    #[test]
    fn refuses_as_the_reference_engine_does() {
        for bad in [
            "",
            ":",
            "foo:",
            "-foo",
            "foo bar",
            ":5000/x",
            "http://x/y",
            "foo@sha256:ab",
            "a//b",
            "a/",
            "/a",
            "a___b",
            "a._b",
            "a..b",
            "x:a/b",
            "x@y",
            "ä",
            "a.b:/c",
            "a.-b/c",
            "x:.y",
            "a\0b",
            "[::1/x",
        ] {
            assert_eq!(Reference::parse(bad), Err(ReferenceError::Format), "{bad}");
        }
        let message = |text: &str| Reference::parse(text).unwrap_err().to_string();
        assert_eq!(message("A"), "invalid reference format: repository name (library/A) must be lowercase");
        assert_eq!(message(&"a".repeat(256)), "repository name must not be more than 255 characters");
        let hex = "a".repeat(64);
        assert_eq!(
            message(&hex),
            format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings")
        );
        assert_eq!(message(&format!("x:{}", "b".repeat(129))), "invalid reference format");
        assert_eq!(message(&format!("x@sha256:{}", "a".repeat(40))), "invalid checksum digest length");
        assert_eq!(message(&format!("x@md5:{}", "a".repeat(32))), "unsupported digest algorithm");
    }

    #[test]
    fn tags() {
        let name = Reference::parse("x").unwrap();
        assert_eq!(name.with_tag("a:b").unwrap_err().to_string(), "invalid tag format");
        assert_eq!(name.with_tag(&"a".repeat(128)).unwrap().tag().unwrap().len(), 128);
        assert_eq!(name.or_latest().to_string(), "docker.io/library/x:latest");
    }

    #[test]
    fn ids_are_not_names() {
        let hex = "0".repeat(64);
        for text in [hex.clone(), format!("sha256:{hex}")] {
            assert!(matches!(AnyReference::parse(&text), Ok(AnyReference::Digest(d)) if d.hex() == hex));
        }
        assert!(matches!(AnyReference::parse("abcdef"), Ok(AnyReference::Named(_))));
    }
}
