//! The shapes of option values, as text on the command line and as JSON in the file. Both end as
//! the same JSON, so that the two sources merge and the rest of the daemon sees only one.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::OptionError;

/// What values of an option look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `--flag`, `--flag=false`.
    Bool,
    /// A whole number.
    Int,
    /// Text.
    Text,
    /// An IP address.
    Ip,
    /// Bytes: a number, or text like `64m`.
    Size,
    /// Text that may be given repeatedly.
    List,
    /// `key=value`, repeatedly.
    Pairs,
    /// `name` or `name=bool`, repeatedly.
    Switches,
    /// `driver=key=value`, repeatedly.
    PairsByName,
    /// `nofile=soft[:hard]`, repeatedly.
    Ulimits,
    /// `name=path`, repeatedly.
    Runtimes,
    /// `base=cidr,size=bits`, repeatedly.
    Pools,
}

impl Shape {
    /// A flag of this shape needs no value after it.
    pub(super) fn is_switch(self) -> bool {
        self == Self::Bool
    }

    /// What a person calls the value in `--help`.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "",
            Self::Int => "int",
            Self::Text => "string",
            Self::Ip => "ip",
            Self::Size => "bytes",
            Self::List => "list",
            Self::Pairs | Self::Switches | Self::PairsByName => "map",
            Self::Ulimits => "ulimit",
            Self::Runtimes => "runtime",
            Self::Pools => "pool-options",
        }
    }

    /// Adds one value from the command line to what earlier flags of the same name left.
    pub(super) fn take(self, before: Option<Value>, text: &str) -> Result<Value, String> {
        Ok(match self {
            Self::Bool => Value::Bool(parse_bool(text)?),
            Self::Int => Value::from(text.parse::<i64>().map_err(|_| format!("{text:?} is not a whole number"))?),
            Self::Text => Value::String(text.to_owned()),
            Self::Ip => Value::String(parse_ip(text)?),
            Self::Size => Value::from(parse_size(text)?),
            Self::List => {
                let mut list = as_list(before);
                list.push(Value::String(text.to_owned()));
                Value::Array(list)
            }
            Self::Pools => {
                let mut list = as_list(before);
                list.push(parse_pool(text)?);
                Value::Array(list)
            }
            Self::Pairs | Self::Switches | Self::PairsByName | Self::Ulimits | Self::Runtimes => {
                let mut map = as_map(before);
                self.take_entry(&mut map, text)?;
                Value::Object(map)
            }
        })
    }

    fn take_entry(self, map: &mut Map<String, Value>, text: &str) -> Result<(), String> {
        if self == Self::Switches {
            let (name, value) = text.split_once('=').unwrap_or((text, "true"));
            map.insert(name.to_owned(), Value::Bool(parse_bool(value)?));
            return Ok(());
        }
        let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not of the form name=value"))?;
        match self {
            Self::Ulimits => {
                map.insert(name.to_owned(), parse_ulimit(name, value)?);
            }
            Self::Runtimes => {
                map.insert(name.to_owned(), json!({ "path": value }));
            }
            Self::PairsByName => {
                let (key, value) = value.split_once('=').ok_or("expected driver=key=value")?;
                let inner = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(inner) = inner {
                    inner.insert(key.to_owned(), Value::String(value.to_owned()));
                }
            }
            _ => {
                map.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        }
        Ok(())
    }

    /// Checks a value from the file and brings it into the form that [`Shape::take`] produces.
    pub(super) fn check(self, key: &str, value: Value) -> Result<Value, OptionError> {
        let fits = match self {
            Self::Bool => value.is_boolean(),
            Self::Int => value.is_i64(),
            Self::Text | Self::Ip => value.is_string(),
            Self::Size => value.is_i64() || value.is_string(),
            Self::List => all_texts(value.as_array()),
            Self::Pools => value.as_array().is_some_and(|list| list.iter().all(Value::is_object)),
            Self::Pairs => value.as_object().is_some_and(|map| map.values().all(Value::is_string)),
            // dockerd's "builder"-like features may hold objects in newer versions; only switches are known.
            Self::Switches => value.as_object().is_some_and(|map| map.values().all(Value::is_boolean)),
            Self::PairsByName | Self::Ulimits | Self::Runtimes => {
                value.as_object().is_some_and(|map| map.values().all(Value::is_object))
            }
        };
        if !fits {
            return Err(OptionError::WrongType { key: key.into(), expected: self.expected(), found: describe(&value) });
        }
        let bad = |why: String| OptionError::BadValue { key: key.into(), why };
        match (self, &value) {
            (Self::Size, Value::String(text)) => parse_size(text).map(Value::from).map_err(bad),
            (Self::Ip, Value::String(text)) => parse_ip(text).map(Value::String).map_err(bad),
            _ => Ok(value),
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Text => "a string",
            Self::Ip => "an IP address in a string",
            Self::Size => "a size in bytes or a string like \"64m\"",
            Self::List => "a list of strings",
            Self::Pairs => "an object with string values",
            Self::Switches => "an object with true or false as values",
            Self::PairsByName | Self::Ulimits | Self::Runtimes => "an object of objects",
            Self::Pools => "a list of objects",
        }
    }
}

fn as_list(before: Option<Value>) -> Vec<Value> {
    match before {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn as_map(before: Option<Value>) -> Map<String, Value> {
    match before {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn all_texts(list: Option<&Vec<Value>>) -> bool {
    list.is_some_and(|list| list.iter().all(Value::is_string))
}

pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => n.to_string(),
        Value::String(s) => format!("the string {s:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

fn parse_bool(text: &str) -> Result<bool, String> {
    gantry_model::go::parse_bool(text).ok_or_else(|| format!("{text:?} is neither true nor false"))
}

fn parse_ip(text: &str) -> Result<String, String> {
    // An empty address is how dockerd's file says "none".
    if text.is_empty() {
        return Ok(String::new());
    }
    text.parse::<IpAddr>().map(|ip| ip.to_string()).map_err(|_| format!("{text:?} is not an IP address"))
}

/// Docker's sizes: an optional unit (b, k, m, g, t, p; `kb`, `kib` too), powers of 1024.
fn parse_size(text: &str) -> Result<i64, String> {
    let bad = || format!("invalid size: {text:?}");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let power = match unit.trim().trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    let number: f64 = number.parse().map_err(|_| bad())?;
    let bytes = number * 1024_f64.powi(power);
    // 2^63 is exactly representable; anything at or above it does not fit an i64.
    if bytes.is_finite() && bytes < 9_223_372_036_854_775_808.0 { Ok(bytes as i64) } else { Err(bad()) }
}

fn parse_ulimit(name: &str, value: &str) -> Result<Value, String> {
    let bad = || format!("invalid ulimit argument: {name}={value}");
    let (soft, hard) = match value.split_once(':') {
        Some((soft, hard)) => (soft, Some(hard)),
        None => (value, None),
    };
    let soft: i64 = soft.parse().map_err(|_| bad())?;
    let hard: i64 = hard.map_or(Ok(soft), str::parse).map_err(|_| bad())?;
    if hard != -1 && soft > hard {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(json!({ "Name": name, "Soft": soft, "Hard": hard }))
}

fn parse_pool(text: &str) -> Result<Value, String> {
    let mut pool = Map::new();
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("base", base)) => {
                pool.insert("base".into(), Value::String(base.to_owned()));
            }
            Some(("size", size)) => {
                let size: i64 = size.parse().map_err(|_| format!("invalid size value: {size:?} (must be integer)"))?;
                pool.insert("size".into(), Value::from(size));
            }
            _ => return Err(format!("{field:?} is neither base=<cidr> nor size=<bits>")),
        }
    }
    Ok(Value::Object(pool))
}
