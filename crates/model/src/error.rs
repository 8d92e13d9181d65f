//! The closed set of error kinds. `http-api` maps a kind to a status in one place; every other
//! crate's error type converts into [`Error`].

use std::fmt;

/// What went wrong, as far as a client may act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request does not make sense (400).
    InvalidArgument,
    /// Authentication is missing or wrong (401).
    Unauthorized,
    /// Understood and refused (403).
    Forbidden,
    /// The thing that is named does not exist (404).
    NotFound,
    /// The state of the thing forbids the request (409).
    Conflict,
    /// Already in the wanted state; not a failure for the client (304).
    NotModified,
    /// The body or a field is larger than the engine accepts (413).
    TooLarge,
    /// Something that is needed is not there right now (503).
    Unavailable,
    /// Known, and not implemented here (501).
    NotImplemented,
    /// The client or the daemon gave up on the request (499-like; never reaches a live client).
    Cancelled,
    /// The engine's own failure (500).
    Internal,
}

/// An error with its kind and the message a client reads.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

/// The result type of the engine's rooms.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error {$(
            $(#[$doc])*
            pub fn $name(message: impl Into<String>) -> Self {
                Self::new(ErrorKind::$kind, message)
            }
        )*}
    };
}

constructors! {
    /// [`ErrorKind::InvalidArgument`] with a message.
    invalid => InvalidArgument,
    /// [`ErrorKind::Unauthorized`] with a message.
    unauthorized => Unauthorized,
    /// [`ErrorKind::Forbidden`] with a message.
    forbidden => Forbidden,
    /// [`ErrorKind::NotFound`] with a message.
    not_found => NotFound,
    /// [`ErrorKind::Conflict`] with a message.
    conflict => Conflict,
    /// [`ErrorKind::NotModified`] with a message.
    not_modified => NotModified,
    /// [`ErrorKind::TooLarge`] with a message.
    too_large => TooLarge,
    /// [`ErrorKind::Unavailable`] with a message.
    unavailable => Unavailable,
    /// [`ErrorKind::NotImplemented`] with a message.
    not_implemented => NotImplemented,
    /// [`ErrorKind::Cancelled`] with a message.
    cancelled => Cancelled,
    /// [`ErrorKind::Internal`] with a message.
    internal => Internal,
}

impl Error {
    /// An error of `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Keeps the cause for the log; the message stays what the client reads.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` and a colon before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message as the client reads it.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// An I/O failure that nobody classified is the engine's own.
impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        Self::internal(e.to_string()).with_source(e)
    }
}

/// Adds what was being done to an error on its way up.
pub trait Context<T> {
    /// Converts into [`Error`] and puts `what` before the message.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|e| e.into().context(what))
    }
}
