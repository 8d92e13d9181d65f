//! What a driver is told, and how Docker's options say it.

use crate::{fluentd, gelf, splunk, syslog};
use gantry_model::go::parse_bool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A client's options.
pub type Options = BTreeMap<String, String>;

/// Options that every driver knows: what to add to each message, and how patient to be.
const COMMON: [&str; 11] = [
    "env",
    "env-regex",
    "labels",
    "labels-regex",
    "tag",
    "mode",
    "max-buffer-size",
    "cache-disabled",
    "cache-max-size",
    "cache-max-file",
    "cache-compress",
];

/// An option that cannot be, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OptionError(pub String);

impl From<OptionError> for gantry_model::Error {
    fn from(e: OptionError) -> Self {
        Self::invalid(e.0)
    }
}

/// Everything that a forwarding process needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Config {
    /// Whose output it is.
    pub subject: Subject,
    /// Where it goes.
    pub driver: Driver,
}

/// A container, as log messages name it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Subject {
    /// 64 hex digits.
    pub container_id: String,
    /// Without the slash.
    pub container_name: String,
    /// With `sha256:`.
    pub image_id: String,
    /// As the container was created with.
    pub image_name: String,
    /// Entrypoint and command, joined by spaces.
    pub command: String,
    /// RFC 3339.
    pub created: String,
    /// The host's name.
    pub host: String,
    /// The expanded tag.
    pub tag: String,
    /// Chosen labels and variables.
    pub extra: Vec<(String, String)>,
}

impl Subject {
    /// The first twelve digits of the id.
    pub fn short_id(&self) -> &str {
        self.container_id.get(..12).unwrap_or(&self.container_id)
    }
}

/// A driver with its options.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the driver of that name")]
pub enum Driver {
    Syslog(syslog::Options),
    Gelf(gelf::Options),
    Fluentd(fluentd::Options),
    Splunk(Box<splunk::Options>),
    Journald,
}

/// The driver of that name with these options; `None` when there is no such driver here.
pub fn parse(driver: &str, options: &Options) -> Option<Result<Driver, OptionError>> {
    Some(match driver {
        "syslog" => known(driver, options, syslog::OPTIONS).and_then(|()| syslog::parse(options)).map(Driver::Syslog),
        "gelf" => known(driver, options, gelf::OPTIONS).and_then(|()| gelf::parse(options)).map(Driver::Gelf),
        "fluentd" => {
            known(driver, options, fluentd::OPTIONS).and_then(|()| fluentd::parse(options)).map(Driver::Fluentd)
        }
        "splunk" => known(driver, options, splunk::OPTIONS)
            .and_then(|()| splunk::parse(options))
            .map(|options| Driver::Splunk(Box::new(options))),
        "journald" => known(driver, options, &[]).map(|()| Driver::Journald),
        _ => return None,
    })
}

fn known(driver: &str, options: &Options, own: &[&str]) -> Result<(), OptionError> {
    match options.keys().find(|key| !own.contains(&key.as_str()) && !COMMON.contains(&key.as_str())) {
        Some(key) => Err(OptionError(format!("unknown log opt '{key}' for {driver} log driver"))),
        None => Ok(()),
    }
}

/// A Go boolean; absent is `default`.
pub(crate) fn boolean(options: &Options, key: &str, default: bool) -> Result<bool, OptionError> {
    match options.get(key).map(String::as_str) {
        None => Ok(default),
        Some(text) => parse_bool(text).ok_or_else(|| {
            OptionError(format!("invalid value for {key}: strconv.ParseBool: parsing {text:?}: invalid syntax"))
        }),
    }
}

/// A number within bounds; absent is `default`.
pub(crate) fn number(
    options: &Options,
    key: &str,
    default: u64,
    bounds: std::ops::RangeInclusive<u64>,
) -> Result<u64, OptionError> {
    match options.get(key) {
        None => Ok(default),
        Some(text) => text.parse().ok().filter(|number| bounds.contains(number)).ok_or_else(|| {
            OptionError(format!(
                "invalid value for {key}: {text:?} is not a number from {} to {}",
                bounds.start(),
                bounds.end()
            ))
        }),
    }
}

/// `scheme://rest`, with the scheme in lower case.
pub(crate) fn scheme(address: &str) -> Option<(String, &str)> {
    let (scheme, rest) = address.split_once("://")?;
    (!scheme.is_empty()).then(|| (scheme.to_ascii_lowercase(), rest))
}

/// `host:port`, with `port` when there is none. Brackets stay around an IPv6 address.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    let host = host.split('/').next().unwrap_or_default();
    let has_port = match host.rfind(']') {
        Some(end) => host[end..].starts_with("]:"),
        None => host.contains(':'),
    };
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn refusal(driver: &str, pairs: &[(&str, &str)]) -> Option<String> {
        parse(driver, &options(pairs)).expect("a driver").err().map(|e| e.0)
    }

    #[test]
    fn refusals_are_dockers() {
        assert!(parse("etwlogs", &options(&[])).is_none());
        assert_eq!(refusal("syslog", &[("x", "1")]).unwrap(), "unknown log opt 'x' for syslog log driver");
        assert_eq!(refusal("gelf", &[]).unwrap(), "gelf-address is a required parameter");
        assert_eq!(refusal("splunk", &[]).unwrap(), "splunk: splunk-url is expected");
        assert_eq!(refusal("journald", &[("tag", "x"), ("mode", "blocking")]), None);
        assert_eq!(refusal("syslog", &[("syslog-facility", "nope")]).unwrap(), "invalid syslog facility");
        assert!(refusal("syslog", &[("syslog-address", "127.0.0.1:514")]).unwrap().contains("proto://address"));
        assert_eq!(refusal("fluentd", &[("fluentd-address", "tcp://h:1"), ("fluentd-async", "true")]), None);
    }

    #[test]
    fn ports() {
        assert_eq!(with_port("h", 514), "h:514");
        assert_eq!(with_port("h:1", 514), "h:1");
        assert_eq!(with_port("[::1]", 514), "[::1]:514");
        assert_eq!(with_port("[::1]:5", 514), "[::1]:5");
    }
}
