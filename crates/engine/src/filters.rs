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

    /// A filter with one boolean value, `None` when absent.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let mut values = self.get(key);
        let Some(first) = values.next() else { return Ok(None) };
        let invalid = || Error::invalid(format!("invalid filter '{key}=[{first}]'"));
        if values.next().is_some() {
            return Err(invalid());
        }
        match first {
            "1" | "true" | "True" | "TRUE" | "t" => Ok(Some(true)),
            "0" | "false" | "False" | "FALSE" | "f" => Ok(Some(false)),
            _ => Err(invalid()),
        }
    }

    /// Whether the labels satisfy every `label` value (`key` or `key=value`).
    pub fn match_labels(&self, key: &str, labels: &BTreeMap<String, String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            Some((k, v)) => labels.get(k).is_some_and(|have| have == v),
            None => labels.contains_key(wanted),
        })
    }
}
