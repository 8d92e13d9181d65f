//! A parsed JSON value that keeps the order and the repetition of keys.

use super::{GoJsonError, de};
use serde::de::DeserializeOwned;

/// A JSON value. Numbers keep their text: Go's messages quote it, and whether `1.0` fits depends on the field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// The kind as Go's messages name it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// A parsed body.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(pub(super) Node);

impl Document {
    /// Decodes into `T`; `null` gives `None`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<Option<T>, GoJsonError> {
        match &self.0 {
            Node::Null => Ok(None),
            node => T::deserialize(de::NodeDeserializer::root(node)).map(Some),
        }
    }
}
