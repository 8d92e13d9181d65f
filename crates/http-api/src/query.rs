//! Query strings with Docker's rules for booleans, numbers and filters.

use gantry_api_types::go_json;
use gantry_engine::Filters;
use gantry_model::{Error, Result, Timestamp};
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet};

/// The parsed query of a request, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses what follows the question mark.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key)?, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// The first value of `key`; an absent one is empty, as in Go.
    pub(crate) fn str(&self, key: &str) -> &str {
        self.find(key).unwrap_or_default()
    }

    /// The first value of `key` unless it is absent or empty.
    pub(crate) fn non_empty(&self, key: &str) -> Option<String> {
        self.find(key).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// All values of `key`.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Whether `key` was given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A switch: everything is true but nothing, `0`, `no`, `false` and `none`.
    pub(crate) fn bool(&self, key: &str) -> bool {
        let value = self.str(key).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A switch with a default for a key that was not given.
    pub(crate) fn bool_or(&self, key: &str, default: bool) -> bool {
        if self.has(key) { self.bool(key) } else { default }
    }

    /// A number; absent and empty are `None`.
    pub(crate) fn int(&self, key: &str) -> Result<Option<i64>> {
        match self.str(key) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(e) => Err(bad_number("strconv.Atoi", text, &e)),
            },
        }
    }

    /// A time in nanoseconds since the epoch, from `seconds[.fraction]` or RFC 3339. Absent, empty and 0 are `None`.
    pub(crate) fn time(&self, key: &str) -> Result<Option<i64>> {
        let text = self.str(key);
        if matches!(text, "" | "0") {
            return Ok(None);
        }
        let parsed = Timestamp::parse(text).and_then(|time| i64::try_from(time.unix_nanos()?).ok());
        match unix_nanos(text).or(parsed) {
            Some(nanos) => Ok(Some(nanos)),
            None => Err(Error::invalid(format!("invalid value for {key:?}: {text:?}"))),
        }
    }

    /// The size of a terminal, `h` and `w`.
    pub(crate) fn terminal_size(&self) -> Result<(u16, u16)> {
        let side = |key| match self.str(key).parse::<u32>() {
            Ok(number) => u16::try_from(number).map_err(|_| {
                Error::invalid(format!("invalid terminal size: {key}={number} is larger than {}", u16::MAX))
            }),
            Err(e) => Err(bad_number("strconv.Atoi", self.str(key), &e)),
        };
        Ok((side("h")?, side("w")?))
    }

    /// `filters`: a map of lists or, from newer clients, a map of sets.
    pub(crate) fn filters(&self) -> Result<Filters> {
        let text = self.str("filters");
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let document = go_json::parse(text.as_bytes()).map_err(|e| Error::invalid(format!("invalid filter: {e}")))?;
        let of_sets = match document.decode::<BTreeMap<String, BTreeMap<String, bool>>>() {
            Ok(sets) => {
                let keys = |set: BTreeMap<String, bool>| set.into_keys().collect();
                return Ok(Filters(sets.unwrap_or_default().into_iter().map(|(key, set)| (key, keys(set))).collect()));
            }
            Err(e) => e,
        };
        match document.decode::<BTreeMap<String, BTreeSet<String>>>() {
            Ok(lists) => Ok(Filters(lists.unwrap_or_default())),
            // What is wrong, in the form that was meant.
            Err(e) if document.decode::<BTreeMap<String, Vec<serde_json::Value>>>().is_ok() => {
                Err(Error::invalid(format!("invalid filter: {e}")))
            }
            Err(_) => Err(Error::invalid(format!("invalid filter: {of_sets}"))),
        }
    }

    fn find(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// `seconds[.fraction]` in nanoseconds.
fn unix_nanos(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Go's words for a text that is no number.
fn bad_number(function: &str, text: &str, error: &std::num::ParseIntError) -> Error {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let why = match error.kind() {
        PosOverflow | NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    Error::invalid(format!("{function}: parsing {text:?}: {why}"))
}

/// Undoes form encoding; bytes that are not UTF-8 become U+FFFD.
fn decode(text: &str) -> Result<String> {
    check_escapes(text)?;
    let spaced = text.replace('+', " ");
    Ok(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// Go refuses a percent sign without two hexadecimal digits behind it.
pub(crate) fn check_escapes(text: &str) -> Result<()> {
    for (at, _) in text.match_indices('%') {
        let digits = text.as_bytes().get(at + 1..at + 3);
        if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
            let escape: String = text[at..].chars().take(3).collect();
            return Err(Error::invalid(format!("invalid URL escape {escape:?}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(text).unwrap()
    }

    #[test]
    fn booleans() {
        for (text, expected) in [
            ("", false),
            ("all", false),
            ("all=", false),
            ("all=0", false),
            ("all=No", false),
            ("all=FALSE", false),
            ("all=none", false),
            ("all=1", true),
            ("all=True", true),
            ("all=zz", true),
        ] {
            assert_eq!(query(text).bool("all"), expected, "{text}");
        }
        assert!(query("").bool_or("x", true));
        assert!(!query("x=").bool_or("x", true));
    }

    #[test]
    fn numbers() {
        assert_eq!(query("t=-1").int("t").unwrap(), Some(-1));
        assert_eq!(query("t=").int("t").unwrap(), None);
        let message = |text: &str| query(text).int("t").unwrap_err().to_string();
        assert_eq!(message("t=a"), "strconv.Atoi: parsing \"a\": invalid syntax");
        assert_eq!(
            message("t=99999999999999999999"),
            "strconv.Atoi: parsing \"99999999999999999999\": value out of range"
        );
        assert_eq!(query("h=24&w=80").terminal_size().unwrap(), (24, 80));
        assert!(query("h=24").terminal_size().is_err());
        assert!(query("h=24&w=70000").terminal_size().is_err());
    }

    #[test]
    fn times() {
        let time = |text: &str| query(&format!("since={text}")).time("since");
        assert_eq!(time("1.5").unwrap(), Some(1_500_000_000));
        assert_eq!(time("2017-07-14T02:40:00.12Z").unwrap(), Some(1_500_000_000_120_000_000));
        assert_eq!(time("0").unwrap(), None);
        assert!(time("x").is_err());
    }

    #[test]
    fn decoding() {
        let q = query("a=b+c%2B&names=x&names=y&&flag&e=%C3%A9%ff");
        assert_eq!(q.str("a"), "b c+");
        assert_eq!(q.all("names"), ["x", "y"]);
        assert!(q.has("flag"));
        assert_eq!(q.str("e"), "\u{e9}\u{fffd}");
        assert_eq!(Query::parse("a=%zz").unwrap_err().to_string(), "invalid URL escape \"%zz\"");
        assert!(Query::parse("a=%4").is_err());
    }

    #[test]
    fn filters_in_both_forms() {
        for text in [r#"{"id":["123","4"]}"#, r#"{"id":{"123":true,"4":false}}"#] {
            let filters = query(&format!("filters={text}")).filters().unwrap();
            assert_eq!(filters.get("id").collect::<Vec<_>>(), ["123", "4"]);
        }
        assert!(!query("filters={}").filters().unwrap().has("id"));
        for bad in [r#"["a"]"#, r#"{"a":1}"#, "{x", r#"{"a":"b"}"#] {
            let error = query(&format!("filters={bad}")).filters().unwrap_err();
            assert!(error.to_string().starts_with("invalid filter: "), "{error}");
        }
        let error = query(r#"filters={"a":["x",5]}"#).filters().unwrap_err().to_string();
        assert!(error.contains("number") && !error.contains("array"), "{error}");
    }
}
