//! What can go wrong with a registry, and how Docker says it.

pub use crate::transport::Failure;
use gantry_model::{Digest, ErrorKind};
use std::{fmt, time::Duration};

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There was no answer.
    #[error("{request}: {failure}")]
    NoAnswer {
        /// What was asked, as in `Get "https://host/v2/"`.
        request: String,
        /// Why nothing came back.
        failure: Failure,
    },
    /// The registry said no, and why.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The registry said no in a way that is not the protocol's.
    #[error("{message}")]
    Status {
        /// The status of the answer.
        status: u16,
        /// The words.
        message: String,
        /// How long the registry wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The registry wants a password, and there is none for it.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// There was no way to prove who we are.
    #[error("{request}: {source}")]
    NoToken {
        /// What was asked of the registry.
        request: String,
        /// Why; mostly what the token server said.
        source: Box<Error>,
    },
    /// The registry does not take these credentials.
    #[error("{0}")]
    Login(String),
    /// The blob ends before the range that was asked for.
    #[error("requested range not satisfiable")]
    Range {
        /// The blob's size, if the registry says.
        total: Option<u64>,
    },
    /// Too many redirects, or in a circle, or to where nobody follows.
    #[error("{request}: {why}")]
    Redirect {
        /// What was asked.
        request: String,
        /// What is wrong with it.
        why: String,
    },
    /// A manifest has another digest than it should.
    #[error("manifest verification failed for digest {expected}")]
    WrongDigest {
        /// What it should be, as asked for or as the registry claims.
        expected: Digest,
    },
    /// A manifest of a kind that nobody here understands.
    #[error("unsupported manifest media type {0:?}")]
    MediaType(String),
    /// A manifest of the first schema.
    #[error(
        "{0} has a manifest of schema version 1 (application/vnd.docker.distribution.manifest.v1), which is no longer \
         supported: push it again with a newer version of Docker"
    )]
    Schema1(String),
    /// More than anybody should send.
    #[error("{0}")]
    TooLarge(String),
    /// Something is not as the protocol wants it.
    #[error("{0}")]
    Protocol(String),
    /// The name or address cannot be that of a registry.
    #[error("{0}")]
    Invalid(String),
}

/// An error as a registry words it.
#[derive(Debug, Clone, Default)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The registry's code, as in `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The registry's message.
    pub message: String,
    /// What was asked for when a manifest was wanted: the name, and the name with its tag or digest, as people write
    /// them.
    pub wanted: Option<(String, String)>,
    /// How long the registry wants to be left alone.
    pub retry_after: Option<Duration>,
}

/// The codes of the protocol, with the messages of those who do not send one. Docker calls any other `unknown`.
const CODES: [(&str, &str); 21] = [
    ("UNKNOWN", "unknown error"),
    ("UNSUPPORTED", "The operation is unsupported."),
    ("UNAUTHORIZED", "authentication required"),
    ("DENIED", "requested access to the resource is denied"),
    ("UNAVAILABLE", "service unavailable"),
    ("TOOMANYREQUESTS", "too many requests"),
    ("DIGEST_INVALID", "provided digest did not match uploaded content"),
    ("SIZE_INVALID", "provided length did not match content length"),
    ("RANGE_INVALID", "invalid content range"),
    ("NAME_INVALID", "invalid repository name"),
    ("TAG_INVALID", "manifest tag did not match URI"),
    ("NAME_UNKNOWN", "repository name not known to registry"),
    ("MANIFEST_UNKNOWN", "manifest unknown"),
    ("MANIFEST_INVALID", "manifest invalid"),
    ("MANIFEST_UNVERIFIED", "manifest failed signature verification"),
    ("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
    ("BLOB_UPLOAD_INVALID", "blob upload invalid"),
    ("PAGINATION_NUMBER_INVALID", "invalid number of results requested"),
    ("NAMESPACE_UNKNOWN", "namespace unknown"),
];

impl Refusal {
    /// The words that stand before the message: the code in lower case.
    fn code_words(&self) -> String {
        let known = CODES.iter().any(|(code, _)| *code == self.code);
        if known { self.code.to_ascii_lowercase().replace('_', " ") } else { "unknown".to_owned() }
    }

    fn message_or_default(&self) -> &str {
        if !self.message.is_empty() {
            return &self.message;
        }
        CODES.iter().find(|(code, _)| *code == self.code).map_or("unknown error", |(_, message)| message)
    }

    /// Pulling, Docker calls three codes by what they probably mean.
    fn not_found(&self) -> Option<String> {
        let (name, full) = self.wanted.as_ref()?;
        match self.code.as_str() {
            "DENIED" => {
                Some(format!("pull access denied for {name}, repository does not exist or may require 'docker login'"))
            }
            "MANIFEST_UNKNOWN" => Some(format!("manifest for {full} not found")),
            "NAME_UNKNOWN" => Some(format!("repository {name} not found")),
            _ => None,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(context) = self.not_found() {
            write!(f, "{context}: ")?;
        }
        write!(f, "{}: {}", self.code_words(), self.message_or_default())
    }
}

impl Error {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer { failure, .. } => failure.is_transient(),
            Self::Refused(refusal) => is_transient(refusal.status),
            Self::Status { status, .. } => is_transient(*status),
            Self::NoToken { source, .. } => source.is_transient(),
            _ => false,
        }
    }

    /// How long the registry wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            Self::Status { retry_after, .. } => *retry_after,
            Self::NoToken { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// The status of the registry's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status),
            Self::Status { status, .. } => Some(*status),
            Self::NoToken { source, .. } => source.status(),
            _ => None,
        }
    }

    /// The registry's refusal, if that is what it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::NoToken { source, .. } => source.refusal(),
            _ => None,
        }
    }
}

/// Whether a status says "not now".
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=504)
}

/// Docker answers `404` for what it words as not found, and takes everything else a registry does for its own failure.
impl From<Error> for gantry_model::Error {
    fn from(e: Error) -> Self {
        let kind = match &e {
            Error::Refused(refusal) if refusal.not_found().is_some() => ErrorKind::NotFound,
            Error::Invalid(_) => ErrorKind::InvalidArgument,
            Error::Login(_) => ErrorKind::Unauthorized,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, e.to_string()).with_source(e)
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, Refusal};
    use gantry_model::ErrorKind;

    /// The words are those the reference engine was seen to answer with.
    #[test]
    fn speaks_as_docker() {
        let refusal = |code: &str, message: &str| {
            let wanted = Some(("reg/x".to_owned(), "reg/x:y".to_owned()));
            let refusal =
                Refusal { status: 404, code: code.into(), message: message.into(), wanted, retry_after: None };
            gantry_model::Error::from(Error::Refused(Box::new(refusal)))
        };
        for (code, message, kind, expected) in [
            (
                "DENIED",
                "requested access to the resource is denied",
                ErrorKind::NotFound,
                "pull access denied for reg/x, repository does not exist or may require 'docker login': denied: \
                 requested access to the resource is denied",
            ),
            (
                "MANIFEST_UNKNOWN",
                "",
                ErrorKind::NotFound,
                "manifest for reg/x:y not found: manifest unknown: manifest unknown",
            ),
            (
                "NAME_UNKNOWN",
                "repository name not known to registry",
                ErrorKind::NotFound,
                "repository reg/x not found: name unknown: repository name not known to registry",
            ),
            ("UNAUTHORIZED", "authentication required", ErrorKind::Internal, "unauthorized: authentication required"),
            ("TOOMANYREQUESTS", "slow down", ErrorKind::Internal, "toomanyrequests: slow down"),
            ("FOO_BAR", "first", ErrorKind::Internal, "unknown: first"),
        ] {
            let error = refusal(code, message);
            assert_eq!((error.kind(), error.message()), (kind, expected));
        }
    }
}
