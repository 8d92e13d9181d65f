//! The progress streams of import, load, pull, push and build: one JSON object a line.

use serde::{Deserialize, Serialize};

/// One line of progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ProgressMessage {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

impl ProgressMessage {
    /// The last line of a stream that failed after its headers were sent.
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ErrorDetail { code: 0, message: message.clone() }),
            error: message,
            ..Self::default()
        }
    }
}

/// How far something is, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "two plain fields")]
pub struct ProgressDetail {
    #[serde(skip_serializing_if = "crate::serde_util::is_zero")]
    pub current: i64,
    #[serde(skip_serializing_if = "crate::serde_util::is_zero")]
    pub total: i64,
}

/// Why a stream failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "two plain fields")]
pub struct ErrorDetail {
    #[serde(skip_serializing_if = "crate::serde_util::is_zero")]
    pub code: i64,
    pub message: String,
}
