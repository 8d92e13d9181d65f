//! Content digests, written `algorithm:hex`.

use std::{fmt, str::FromStr, sync::Arc};

/// A digest of a registered algorithm with as many lower-case hex digits as that algorithm has.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

/// The text is not a digest. The words are those of the reference engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseDigestError {
    /// Not `algorithm:hex` at all.
    #[error("invalid checksum digest format")]
    Format,
    /// The wrong number of digits for the algorithm.
    #[error("invalid checksum digest length")]
    Length,
    /// An algorithm that nobody registered.
    #[error("unsupported digest algorithm")]
    Algorithm,
}

impl Digest {
    /// The digest with these 32 bytes of SHA-256.
    pub fn sha256(hash: [u8; 32]) -> Self {
        Self(format!("sha256:{}", crate::Id::from_bytes(hash)).into())
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the colon.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(algorithm, _)| algorithm)
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The first twelve digits, as `docker images` shows them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(s: &str) -> Result<Self, ParseDigestError> {
        let (algorithm, hex) = s.split_once(':').ok_or(ParseDigestError::Format)?;
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric());
        if !algorithm.split(['+', '.', '_', '-']).all(word)
            || hex.is_empty()
            || !hex.bytes().all(|b| b.is_ascii_hexdigit())
        {
            return Err(ParseDigestError::Format);
        }
        let digits = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(ParseDigestError::Algorithm),
        };
        if hex.len() != digits {
            return Err(ParseDigestError::Length);
        }
        if hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseDigestError::Format);
        }
        Ok(Self(s.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.0)
    }
}

crate::serde_as_text!(Digest);

#[cfg(test)]
mod tests {
    use super::{Digest, ParseDigestError};

    #[test]
    fn parses_and_shortens() {
        let text = format!("sha256:{}", "0a".repeat(32));
        let digest: Digest = text.parse().unwrap();
        assert_eq!((digest.as_str(), digest.algorithm(), digest.short()), (text.as_str(), "sha256", "0a0a0a0a0a0a"));
        assert_eq!(Digest::sha256([10; 32]), digest);
        assert!(format!("sha512:{}", "0".repeat(128)).parse::<Digest>().is_ok());
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, error) in [
            ("", ParseDigestError::Format),
            ("sha256:", ParseDigestError::Format),
            ("sha256:xyz", ParseDigestError::Format),
            ("sha256:abc", ParseDigestError::Length),
            ("md5:abc", ParseDigestError::Algorithm),
            (&format!("sha256:{}", "A".repeat(64)), ParseDigestError::Format),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
    }
}
