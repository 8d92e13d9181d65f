//! The grammar of container and volume names.

/// Docker's restricted name pattern: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
///
/// At least two characters, as in `names.RestrictedNameChars` of the reference engine.
pub fn is_restricted_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() >= 2
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..].iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The pattern as Docker's messages print it.
pub const RESTRICTED_NAME_CHARS: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

#[cfg(test)]
mod tests {
    use super::is_restricted_name;

    #[test]
    fn grammar() {
        for good in ["ab", "a-b", "0_x", "nginx.1"] {
            assert!(is_restricted_name(good), "{good}");
        }
        for bad in ["", "a", "-a", "a b", "a/b", "ä1", ".."] {
            assert!(!is_restricted_name(bad), "{bad}");
        }
    }
}
