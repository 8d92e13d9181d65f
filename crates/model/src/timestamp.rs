//! Points in time with nanoseconds, written as RFC 3339 in UTC as Go prints `time.RFC3339Nano`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Nanoseconds since the Unix epoch; `None` inside is Go's zero time (`0001-01-01T00:00:00Z`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Timestamp(Option<i128>);

impl Timestamp {
    /// Go's zero time, which Docker shows for "never".
    pub const ZERO: Self = Self(None);

    /// The wall clock.
    pub fn now() -> Self {
        Self(Some(OffsetDateTime::now_utc().unix_timestamp_nanos()))
    }

    /// From nanoseconds since the epoch.
    pub const fn from_unix_nanos(nanos: i128) -> Self {
        Self(Some(nanos))
    }

    /// Nanoseconds since the epoch; `None` for the zero time.
    pub const fn unix_nanos(self) -> Option<i128> {
        self.0
    }

    /// Whole seconds since the epoch; 0 for the zero time.
    pub fn unix_seconds(self) -> i64 {
        self.0.map_or(0, |n| i64::try_from(n.div_euclid(1_000_000_000)).unwrap_or(0))
    }

    /// Whether this is Go's zero time.
    pub const fn is_zero(self) -> bool {
        self.0.is_none()
    }

    /// Parses RFC 3339 text; Go's zero time becomes [`Timestamp::ZERO`].
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with("0001-01-01T00:00:00") {
            return Some(Self::ZERO);
        }
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|t| Self(Some(t.unix_timestamp_nanos())))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.0.and_then(|n| OffsetDateTime::from_unix_timestamp_nanos(n).ok());
        match time.and_then(|t| t.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            None => f.write_str("0001-01-01T00:00:00Z"),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time"))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn prints_as_go_does() {
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_unix_nanos(1_500_000_000_120_000_000).to_string(), "2017-07-14T02:40:00.12Z");
        assert_eq!(Timestamp::parse("2017-07-14T02:40:00.12Z").unwrap().unix_seconds(), 1_500_000_000);
    }
}
