//! What clients write because Go reads it so.

/// Go's `strconv.ParseBool`; `None` for what is neither.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_bool;

    #[test]
    fn booleans() {
        assert!(["1", "t", "T", "TRUE", "true", "True"].iter().all(|text| parse_bool(text) == Some(true)));
        assert!(["0", "f", "F", "FALSE", "false", "False"].iter().all(|text| parse_bool(text) == Some(false)));
        assert!(["", "yes", "tRUE", " 1", "2"].iter().all(|text| parse_bool(text).is_none()));
    }
}
