//! The image's own document: the OCI image configuration with what Docker adds to it.

#![allow(clippy::zero_sized_map_values, reason = "the document has objects without members there")]

use gantry_model::{Digest, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The whole document. Its bytes are never written again once it has an id; fields that are unknown here are kept
/// for those who derive a new document from it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageDocument {
    /// The processor architecture, in Go's words.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// A variant of it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// Its version, for systems that care.
    #[serde(rename = "os.version", default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// When it was made.
    #[serde(default, deserialize_with = "lenient_time")]
    pub created: Timestamp,
    /// By whom.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A note.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// The engine that made it.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub docker_version: String,
    /// What containers made from it run.
    #[serde(default, deserialize_with = "or_default")]
    pub config: ImageConfig,
    /// The layers.
    #[serde(default)]
    pub rootfs: Option<RootFs>,
    /// How it came to be, oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<HistoryItem>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the layers' archives, the lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<Digest>,
}

/// One step of an image's history.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HistoryItem {
    /// When.
    #[serde(default, deserialize_with = "lenient_time")]
    pub created: Timestamp,
    /// By what command.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub created_by: String,
    /// By whom.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub author: String,
    /// A note.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// It changed only the document.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What containers run unless they say otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// User and group.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Ports as `80/tcp`; the values are empty objects.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// The environment, `NAME=value`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program; `Some` of nothing resets the one of a base image.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or the program where there is no entrypoint.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get a volume.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    /// Where the program starts.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The signal that ends it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds until it is killed.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// How to tell that it is well.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    /// Instructions for builds upon this image.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of the shell form.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// The command is already escaped; only Windows cares.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
    /// Everything else, as other programs wrote it.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Go's `struct{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Empty {}

/// Anything is taken, as only the key counts.
impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(d).map(|_| Self {})
    }
}

/// A health check. Times are nanoseconds; zero means the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthConfig {
    /// `NONE`, `CMD` with arguments or `CMD-SHELL` with one.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between checks.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// For one check.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Failures in this time after the start do not count.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between checks in that time.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Go reads `null` as the zero value.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(d).map(Option::unwrap_or_default)
}

/// A list of words, or one word from old engines.
fn words<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(d)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

/// A missing or empty time is Go's zero.
fn lenient_time<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
    match Option::<String>::deserialize(d)?.as_deref() {
        None | Some("") => Ok(Timestamp::ZERO),
        Some(text) => Timestamp::parse(text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time")),
    }
}

#[cfg(test)]
mod tests {
    use super::ImageDocument;

    #[test]
    fn reads_what_docker_writes() {
        let text = r#"{"architecture":"amd64","os":"linux","created":"2020-01-02T03:04:05.6Z","config":{"Hostname":"",
            "Env":null,"Cmd":["sh"],"Volumes":{"/d":{}},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,
            "Healthcheck":{"Test":["CMD","x"],"Interval":5}},"container":"abc","rootfs":{"type":"layers",
            "diff_ids":[]},"history":[{"created":"2020-01-02T03:04:05Z","empty_layer":true}]}"#;
        let document: ImageDocument = serde_json::from_str(text).unwrap();
        assert_eq!(document.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(document.config.healthcheck.as_ref().unwrap().interval, 5);
        assert_eq!(document.config.other["Hostname"], "");
        assert_eq!(document.other["container"], "abc");
        assert!(document.history[0].empty_layer);
        let again: ImageDocument = serde_json::from_str(&serde_json::to_string(&document).unwrap()).unwrap();
        assert_eq!(again, document);
    }

    #[test]
    fn a_null_document_part_is_absent() {
        let document: ImageDocument = serde_json::from_str(r#"{"config":null,"history":null}"#).unwrap();
        assert!(document.rootfs.is_none() && document.history.is_empty());
    }
}
