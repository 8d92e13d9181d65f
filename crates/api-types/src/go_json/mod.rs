//! Reading request bodies with the rules (and the error texts) of Go's `encoding/json`.
//!
//! Keys match fields without regard to case, unknown keys are ignored, `null` leaves a field at its
//! zero value, of equal keys the last wins. Bytes after the first value are ignored, as the
//! reference engine's decoder never looks at them and scripts rely on it
//! (`--data '{"Image": "nginx"}'-X POST` sends a stray `-X`).

mod de;
mod node;
mod parser;

pub use node::Document;

use serde::de::DeserializeOwned;
use std::fmt;

/// Why a body was refused, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoJsonError(String);

impl GoJsonError {
    /// Whether the body held nothing but white space.
    pub fn is_empty_body(&self) -> bool {
        self.0 == "EOF"
    }
}

impl fmt::Display for GoJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GoJsonError {}

impl serde::de::Error for GoJsonError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Self(msg.to_string())
    }
}

/// Parses the first JSON value of `body`.
pub fn parse(body: &[u8]) -> Result<Document, GoJsonError> {
    parser::Parser::new(body).document()
}

/// Parses the first JSON value of `body` into `T`; `null` gives `None`.
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<Option<T>, GoJsonError> {
    parse(body)?.decode()
}

#[cfg(test)]
mod tests;
