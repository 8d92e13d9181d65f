//! A filter's text that is compared, and as in Docker is a regular expression too.

use crate::filters::Filters;
use regex_lite::Regex;

/// One value of a filter.
pub(crate) struct Pattern {
    text: String,
    regex: Option<Regex>,
}

impl Pattern {
    /// All values of a key.
    pub(crate) fn all(filters: &Filters, key: &str) -> Vec<Self> {
        filters.get(key).map(|text| Self { text: text.to_owned(), regex: Regex::new(text).ok() }).collect()
    }

    /// Whether it is this text or is found in it.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.text == text || self.regex.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// Whether one of them matches; no pattern lets everything through.
    pub(crate) fn any(patterns: &[Self], text: &str) -> bool {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_and_matched() {
        let matches = |pattern: &str, text: &str| {
            let filters = Filters([("name".to_owned(), [pattern.to_owned()].into())].into());
            Pattern::any(&Pattern::all(&filters, "name"), text)
        };
        assert!(matches("web", "my-web-1") && matches("^/web$", "/web") && matches("a[", "a["));
        assert!(!matches("^web$", "my-web") && !matches("a[", "ab"));
        assert!(Pattern::any(&[], "anything"));
    }
}
