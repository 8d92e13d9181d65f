//! `LogConfig`: which driver, and what the shim is told about it.
//!
//! The drivers are `json-file`, `none`, `local`, which is kept in the same files as `json-file` with the bounds of
//! Docker's `local` (its files are nobody's business but the engine's), and those of `gantry-log-drivers`. Of what
//! these forward a copy stays here for `docker logs`, in a file like `local`'s.

use crate::config::Config;
use crate::container::{Dirs, Record};
use gantry_api_types::{ContainerConfig, LogConfig};
use gantry_log_drivers::{Config as Forwarding, Subject, config::parse as parse_remote};
use gantry_model::go::parse_bool;
use gantry_model::{Error, Result};
use gantry_runtime::spec::{JsonFile, LogPlan};
use regex_lite::Regex;
use std::collections::BTreeMap;

type Options = BTreeMap<String, String>;

/// What a container in non-blocking mode may be ahead of its log driver, unless it says otherwise.
const BUFFER: u64 = 1_000_000;

/// Options of `json-file`.
const JSON_FILE: [&str; 10] = [
    "max-file",
    "max-size",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];
const LOCAL: [&str; 5] = ["max-file", "max-size", "compress", "mode", "max-buffer-size"];

/// Fills in the daemon's driver and its options where the client names none, and checks the outcome.
pub(crate) fn resolve(wanted: &LogConfig, config: &Config) -> Result<LogConfig> {
    let default = if config.log_driver.is_empty() { "json-file" } else { &config.log_driver };
    let mut resolved = wanted.clone();
    if resolved.r#type.is_empty() {
        default.clone_into(&mut resolved.r#type);
    }
    let options = resolved.config.get_or_insert_default();
    if resolved.r#type == default {
        for (key, value) in &config.log_opts {
            options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    check(&resolved.r#type, options)?;
    Ok(resolved)
}

fn check(driver: &str, options: &Options) -> Result<()> {
    if driver == "none" {
        return Ok(());
    }
    check_mode(options)?;
    for key in ["labels-regex", "env-regex"] {
        expression(options, key)?;
    }
    let known: &[&str] = match driver {
        "json-file" => &JSON_FILE,
        "local" => &LOCAL,
        remote => {
            let Some(parsed) = parse_remote(remote, options) else {
                let why = format!("error looking up logging plugin {driver}: plugin {driver:?} not found");
                return Err(Error::invalid(why));
            };
            parsed?;
            return cache(options).map(drop);
        }
    };
    if let Some(key) = options.keys().find(|key| !known.contains(&key.as_str())) {
        return Err(Error::invalid(format!("unknown log opt '{key}' for {driver} log driver")));
    }
    rotation(driver, options).map(drop)
}

fn check_mode(options: &Options) -> Result<()> {
    if let Some(mode) = options.get("mode")
        && !matches!(mode.as_str(), "" | "blocking" | "non-blocking")
    {
        return Err(Error::invalid(format!("logger: logging mode not supported: {mode}")));
    }
    let non_blocking = options.get("mode").is_some_and(|mode| mode == "non-blocking");
    match options.get("max-buffer-size") {
        Some(_) if !non_blocking => {
            Err(Error::invalid("logger: max-buffer-size option is only supported with 'mode=non-blocking'"))
        }
        Some(text) if parse_size(text).is_none() => {
            Err(Error::invalid(format!("error parsing option max-buffer-size: invalid size: '{text}'")))
        }
        _ => Ok(()),
    }
}

/// A Go regular expression, as far as the two dialects agree.
fn expression(options: &Options, key: &str) -> Result<Option<Regex>> {
    let Some(text) = options.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    Regex::new(text).map(Some).map_err(|e| Error::invalid(format!("invalid value for {key}: {e}")))
}

struct Rotation {
    max_size: Option<u64>,
    max_file: u32,
    compress: bool,
}

fn rotation(driver: &str, options: &Options) -> Result<Rotation> {
    let local = driver == "local";
    let max_size = match options.get("max-size").map(String::as_str) {
        None if local => Some(20_000_000),
        None | Some("" | "-1") => None,
        Some(text) => Some(parse_size(text).ok_or_else(|| Error::invalid(format!("invalid size: '{text}'")))?),
    };
    let max_file = match options.get("max-file") {
        None => {
            if local {
                5
            } else {
                1
            }
        }
        Some(text) => {
            let number = text.parse::<u32>();
            let number = number.map_err(|_| Error::invalid(format!("invalid value for max-file: {text:?}")))?;
            if number < 1 {
                return Err(Error::invalid("max-file cannot be less than 1"));
            }
            number
        }
    };
    let compress = match options.get("compress").map(String::as_str) {
        None => local,
        Some(text) => {
            parse_bool(text).ok_or_else(|| Error::invalid(format!("invalid value for compress: {text:?}")))?
        }
    };
    if compress && !local && (max_file == 1 || max_size.is_none()) {
        return Err(Error::invalid("compress cannot be true when max-file is less than 2 or max-size is not set"));
    }
    Ok(Rotation { max_size, max_file, compress })
}

/// Docker's `units.FromHumanSize`: decimal multiples, `10m` is ten million.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_suffix('b').unwrap_or(&text);
    let text = text.strip_suffix('i').unwrap_or(text);
    let (number, factor) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 1e3),
        b'm' => (&text[..text.len() - 1], 1e6),
        b'g' => (&text[..text.len() - 1], 1e9),
        b't' => (&text[..text.len() - 1], 1e12),
        b'p' => (&text[..text.len() - 1], 1e15),
        _ => (text, 1.0),
    };
    let number: f64 = number.trim().parse().ok()?;
    let bytes = number * factor;
    (number.is_finite() && number > 0.0 && bytes < 9e18).then_some(bytes as u64)
}

/// The rotation of the copy that is kept of what goes elsewhere; `None` when none is wanted.
fn cache(options: &Options) -> Result<Option<Rotation>> {
    let disabled = match options.get("cache-disabled").map(String::as_str) {
        None => false,
        Some(text) => {
            parse_bool(text).ok_or_else(|| Error::invalid(format!("invalid value for cache-disabled: {text:?}")))?
        }
    };
    let renamed = |from: &str, to: &str| options.get(from).map(|value| (to.to_owned(), value.clone()));
    let own = [("cache-max-size", "max-size"), ("cache-max-file", "max-file"), ("cache-compress", "compress")];
    let own: Options = own.into_iter().filter_map(|(from, to)| renamed(from, to)).collect();
    let rotation = rotation("local", &own)?;
    Ok((!disabled).then_some(rotation))
}

/// Whether the container's output goes to a process of `gantry-log-drivers`.
pub(crate) fn is_forwarded(record: &Record) -> bool {
    !matches!(record.host_config.log_config.r#type.as_str(), "none" | "json-file" | "local")
}

/// Whether there is something here to read the log from.
pub(crate) fn is_readable(record: &Record) -> bool {
    let log = &record.host_config.log_config;
    let cached = || cache(log.config.as_ref().unwrap_or(&Options::new())).is_ok_and(|cache| cache.is_some());
    log.r#type != "none" && (!is_forwarded(record) || cached())
}

/// What the shim does with the output.
pub(crate) fn of_container(record: &Record, dirs: &Dirs) -> Result<LogPlan> {
    let log = &record.host_config.log_config;
    let none = Options::new();
    let options = log.config.as_ref().unwrap_or(&none);
    let file = |Rotation { max_size, max_file, compress }, attrs| JsonFile {
        path: dirs.log(&record.id),
        max_size,
        max_file,
        compress,
        attrs,
    };
    match log.r#type.as_str() {
        "none" => Ok(LogPlan::None),
        driver @ ("json-file" | "local") => {
            let mut attrs = extra(record, options)?;
            if let Some(tag) = options.get("tag").filter(|tag| !tag.is_empty()) {
                attrs.push(("tag".to_owned(), expand_tag(tag, record)));
            }
            Ok(LogPlan::JsonFile(file(rotation(driver, options)?, attrs)))
        }
        _ => {
            let attrs = extra(record, options)?;
            let non_blocking = options.get("mode").is_some_and(|mode| mode == "non-blocking");
            let buffer = options.get("max-buffer-size").and_then(|text| parse_size(text)).unwrap_or(BUFFER);
            Ok(LogPlan::Feed {
                cache: cache(options)?.map(|rotation| file(rotation, attrs)),
                buffer: non_blocking.then_some(buffer),
            })
        }
    }
}

/// What the forwarding process is told; `None` when there is none.
pub(crate) fn forwarding(record: &Record) -> Result<Option<Forwarding>> {
    if !is_forwarded(record) {
        return Ok(None);
    }
    let log = &record.host_config.log_config;
    let none = Options::new();
    let options = log.config.as_ref().unwrap_or(&none);
    let Some(driver) = parse_remote(&log.r#type, options) else { return Ok(None) };
    let tag = match options.get("tag").map(String::as_str) {
        // Splunk's events may go without.
        Some("") if log.r#type == "splunk" => String::new(),
        None | Some("") => expand_tag("{{.ID}}", record),
        Some(tag) => expand_tag(tag, record),
    };
    let words = [&record.path].into_iter().chain(&record.args).map(String::as_str).collect::<Vec<_>>();
    let subject = Subject {
        container_id: record.id.to_string(),
        container_name: record.name.clone(),
        image_id: record.image.clone(),
        image_name: record.config.image.clone(),
        command: words.join(" "),
        created: record.created.to_string(),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        tag,
        extra: extra(record, options)?,
    };
    Ok(Some(Forwarding { subject, driver: driver? }))
}

/// `labels`, `labels-regex`, `env` and `env-regex`: what goes with every line.
fn extra(record: &Record, options: &Options) -> Result<Vec<(String, String)>> {
    let config = &record.config;
    let list =
        |key: &str| options.get(key).map(String::as_str).unwrap_or_default().split(',').filter(|w| !w.is_empty());
    let mut all = BTreeMap::new();
    let labels = config.labels.iter().flatten();
    let by_name = list("labels").collect::<Vec<_>>();
    let by_pattern = expression(options, "labels-regex")?;
    for (key, value) in labels {
        if by_name.contains(&key.as_str()) || by_pattern.as_ref().is_some_and(|pattern| pattern.is_match(key)) {
            all.insert(key.clone(), value.clone());
        }
    }
    for key in list("env") {
        if let Some(value) = variable(config, key) {
            all.insert(key.to_owned(), value.to_owned());
        }
    }
    if let Some(pattern) = expression(options, "env-regex")? {
        let variables = config.env.iter().flatten().filter_map(|text| text.split_once('='));
        for (key, value) in variables.filter(|(key, _)| pattern.is_match(key)) {
            all.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(all.into_iter().collect())
}

fn variable<'a>(config: &'a ContainerConfig, key: &str) -> Option<&'a str> {
    config.env.iter().flatten().find_map(|text| text.split_once('=').filter(|(k, _)| *k == key).map(|(_, v)| v))
}

/// The fields of Docker's log tags; anything else of Go's templates stays as it is.
fn expand_tag(tag: &str, record: &Record) -> String {
    let image_id = record.image.strip_prefix("sha256:").unwrap_or(&record.image);
    let fields = [
        ("{{.ID}}", record.id.short()),
        ("{{.FullID}}", record.id.to_string()),
        ("{{.Name}}", record.name.clone()),
        ("{{.ImageID}}", image_id.chars().take(12).collect()),
        ("{{.ImageFullID}}", record.image.clone()),
        ("{{.ImageName}}", record.config.image.clone()),
        ("{{.DaemonName}}", "docker".to_owned()),
    ];
    fields.iter().fold(tag.to_owned(), |text, (field, value)| text.replace(field, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn messages() {
        let message = |driver, pairs: &[_]| check(driver, &options(pairs)).map_err(|e| e.to_string()).err();
        assert_eq!(message("nope", &[]).unwrap(), "error looking up logging plugin nope: plugin \"nope\" not found");
        assert_eq!(message("json-file", &[("foo", "1")]).unwrap(), "unknown log opt 'foo' for json-file log driver");
        assert!(message("json-file", &[("max-file", "0")]).is_some());
        assert!(message("json-file", &[("max-size", "x")]).is_some());
        assert!(message("json-file", &[("compress", "true")]).is_some());
        assert_eq!(message("none", &[("max-file", "3")]), None);
        assert_eq!(message("local", &[("compress", "true")]), None);
    }

    #[test]
    fn sizes_are_decimal() {
        for (text, bytes) in [("10m", 10_000_000), ("1k", 1000), ("512", 512), ("1.5kb", 1500), ("2 MiB", 2_000_000)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "x", "-1", "1x", "0", "nan", "inf", "1e30"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
