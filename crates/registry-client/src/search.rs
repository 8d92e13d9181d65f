//! Searching an index.

/// A repository that an index knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub struct SearchResult {
    /// The name.
    pub name: String,
    /// What its owner says about it.
    pub description: String,
    /// How many people like it.
    pub star_count: i64,
    /// Whether Docker looks after it.
    pub is_official: bool,
    /// Whether it is built automatically.
    pub is_automated: bool,
}
