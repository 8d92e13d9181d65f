//! Versions of the API.

use std::fmt;

/// A version of the API, `1.51`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    major: u32,
    minor: u32,
}

impl ApiVersion {
    /// The oldest that is served.
    pub(crate) const MIN: Self = Self::v1(24);
    /// The newest that is served; also what a path without a version means.
    pub(crate) const MAX: Self = Self::v1(51);

    /// Version `1.minor`.
    pub(crate) const fn v1(minor: u32) -> Self {
        Self { major: 1, minor }
    }

    /// Reads `1.51` (and `1`, `1.51.0`, whose rest means nothing).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
        Some(Self { major: numbers.next()?, minor: numbers.next().unwrap_or(0) })
    }

    /// Docker's answer to a client of a version that is not served.
    pub(crate) fn refusal(self, text: &str) -> Option<String> {
        if self > Self::MAX {
            let max = Self::MAX;
            return Some(format!("client version {text} is too new. Maximum supported API version is {max}"));
        }
        (self < Self::MIN).then(|| {
            format!(
                "client version {text} is too old. Minimum supported API version is {}, \
                 please upgrade your client to a newer version",
                Self::MIN
            )
        })
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::ApiVersion;

    #[test]
    fn refusals_in_dockers_words() {
        let refusal = |text: &str| ApiVersion::parse(text).unwrap().refusal(text);
        assert_eq!(refusal("1.99").unwrap(), "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert_eq!(
            refusal("1.23").unwrap(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        for served in ["1.24", "1.35", "1.51"] {
            assert_eq!(refusal(served), None);
        }
        assert!(ApiVersion::parse("1.x").is_none());
        assert!(ApiVersion::parse("2.0").unwrap().refusal("2.0").is_some());
    }
}
