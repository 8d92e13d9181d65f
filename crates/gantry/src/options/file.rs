//! `daemon.json`: read, checked against the table, and merged with the flags.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Given, OPTIONS, Opt, OptionError, Shape};

/// Settings by their key in the file; the flags' values are in it too after [`merge`].
pub(crate) type Settings = Map<String, Value>;

/// Keys that dockerd's older files have and newer daemons skip in silence, and `builder`, of which one thing is used.
const FORGOTTEN: [&str; 2] = ["deprecated-key-path", "builder"];

/// Where in the file it stands that builds may be privileged, and what the settings call it.
const INSECURE_BUILDS: (&str, &str) = ("/builder/entitlements/security-insecure", "insecure-builds");

/// Options that the flags and the file may both give; the entries add up.
const ADDITIVE: [&str; 1] = ["runtimes"];

/// Reads and checks the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Settings, OptionError> {
    check(&std::fs::read(path)?)
}

/// The checks of [`read`], on the file's bytes. An empty file is an empty configuration.
pub(super) fn check(bytes: &[u8]) -> Result<Settings, OptionError> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
        .map_err(|_| OptionError::NotJson("the file is not UTF-8 text".to_owned()))?
        .trim();
    if text.is_empty() {
        return Ok(Settings::new());
    }
    let raw: Value = serde_json::from_str(text).map_err(|e| OptionError::NotJson(e.to_string()))?;
    let Value::Object(raw) = raw else {
        return Err(OptionError::NotJson("expected an object with options".to_owned()));
    };
    let raw = Value::Object(raw);
    let insecure = raw.pointer(INSECURE_BUILDS.0).cloned().unwrap_or_default();
    let Value::Object(raw) = raw else { return Ok(Settings::new()) };
    let flat = flatten(raw);
    let unknown: Vec<&str> =
        flat.keys().map(String::as_str).filter(|key| find(key).is_none() && !FORGOTTEN.contains(key)).collect();
    if !unknown.is_empty() {
        return Err(OptionError::UnknownKeys(unknown.join(", ")));
    }
    let mut settings = Settings::new();
    match insecure {
        Value::Null | Value::Bool(false) => {}
        Value::Bool(true) => {
            settings.insert(INSECURE_BUILDS.1.to_owned(), Value::Bool(true));
        }
        other => {
            let key = INSECURE_BUILDS.0.trim_start_matches('/').replace('/', ".");
            let wrong =
                OptionError::WrongType { key, expected: "true or false", found: super::shape::describe(&other) };
            return Err(wrong);
        }
    }
    for (key, value) in flat {
        // null leaves an option at its default, as it does in Go.
        if let (Some(opt), false) = (find(&key), value.is_null()) {
            let value = opt.shape.check(&key, value)?;
            settings.insert(key, value);
        }
    }
    Ok(settings)
}

/// dockerd reads an object under a key that is no option of object shape (`"proxies": {...}`) as
/// if its entries stood one level higher.
fn flatten(raw: Map<String, Value>) -> Map<String, Value> {
    let mut flat = Map::new();
    for (key, value) in raw {
        match value {
            Value::Object(inner) if find(&key).is_none() && !FORGOTTEN.contains(&key.as_str()) => flat.extend(inner),
            value => {
                flat.insert(key, value);
            }
        }
    }
    flat
}

fn find(key: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|opt| !opt.key.is_empty() && opt.key == key)
}

/// Adds the flags to the file's settings. What both say is an error, not a matter of precedence.
pub(crate) fn merge(mut file: Settings, given: &Given) -> Result<Settings, OptionError> {
    let mut conflicts = Vec::new();
    for opt in OPTIONS.iter().filter(|opt| !opt.key.is_empty() && !opt.flag.is_empty()) {
        let Some(value) = given.get(opt.flag) else { continue };
        match file.get_mut(opt.key) {
            None => {
                file.insert(opt.key.to_owned(), value.clone());
            }
            Some(Value::Object(there)) if ADDITIVE.contains(&opt.key) => {
                there.extend(value.as_object().cloned().unwrap_or_default());
            }
            Some(there) => conflicts.push(format!(
                "{}: (from flag: {}, from file: {})",
                opt.key,
                shown(opt, value),
                shown(opt, there)
            )),
        }
    }
    if conflicts.is_empty() { Ok(file) } else { Err(OptionError::Conflict(conflicts.join(", "))) }
}

/// A value as an error may show it: credentials of a proxy's URL stay out of logs.
fn shown(opt: &Opt, value: &Value) -> String {
    match value {
        Value::String(text) if opt.key.ends_with("-proxy") => match text.rsplit_once('@') {
            Some((before, host)) => {
                let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
                format!("{scheme}xxxxx:xxxxx@{host}")
            }
            None => text.clone(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) if opt.shape == Shape::List => {
            let words: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            format!("[{}]", words.join(" "))
        }
        other => other.to_string(),
    }
}
