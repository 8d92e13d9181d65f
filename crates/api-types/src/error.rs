//! What every failed request answers.

use serde::{Deserialize, Serialize};

/// `{"message": "..."}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// For the user.
    pub message: String,
}
