//! `filters=` of list, prune and event calls: a multimap whose keys each call restricts.

use gantry_model::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Parsed filters. `http-api` parses the JSON in both forms that clients send.
#[derive(Debug, Clone, Default)]
pub struct Filters(pub BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// The values of `key`.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether `key` was given.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|values| !values.is_empty())
    }

    /// Docker's 400 for a key that the call does not know.
    pub fn accept_only(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|k| !known.contains(&k.as_str())) {
            Some(key) => Err(Error::invalid(format!("invalid filter '{key}'"))),
            None => Ok(()),
        }
    }

    /// A filter that is a switch, `None` when absent. Several values are fine as long as they agree.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        if !self.has(key) {
            return Ok(None);
        }
        let has = |words: [&str; 2]| self.get(key).any(|value| words.contains(&value));
        match (has(["1", "true"]), has(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let values: Vec<&str> = self.get(key).collect();
                Err(Error::invalid(format!("invalid filter '{key}=[{}]'", values.join(" "))))
            }
        }
    }

    /// Whether the labels satisfy `label` and do not satisfy `label!`.
    pub fn select_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels("label", labels) && !(self.has("label!") && self.match_labels("label!", labels))
    }

    /// Whether the labels satisfy every `label` value (`key` or `key=value`).
    pub fn match_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            Some((k, v)) => labels.get(k).is_some_and(|have| have == v),
            None => labels.contains_key(wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(key: &str, values: &[&str]) -> Filters {
        Filters([(key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())].into())
    }

    #[test]
    fn switches() {
        let dangling = |values: &[&str]| filters("dangling", values).boolean("dangling").map_err(|e| e.to_string());
        assert_eq!(dangling(&[]), Ok(None));
        assert_eq!(dangling(&["true", "1"]), Ok(Some(true)));
        assert_eq!(dangling(&["0"]), Ok(Some(false)));
        assert_eq!(dangling(&["true", "false"]), Err("invalid filter 'dangling=[false true]'".into()));
        assert_eq!(dangling(&["maybe"]), Err("invalid filter 'dangling=[maybe]'".into()));
    }

    #[test]
    fn labels() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        assert!(filters("label", &["a"]).select_labels(&labels));
        assert!(!filters("label", &["a=2"]).select_labels(&labels));
        assert!(filters("label!", &["b"]).select_labels(&labels));
        assert!(!filters("label!", &["a=1"]).select_labels(&labels));
    }
}
