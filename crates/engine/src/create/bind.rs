//! The text form of a mount: `source:target[:mode]`, as in `HostConfig.Binds`.

use gantry_model::{Error, Result};

/// A bind, split up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bind {
    /// A path of the host, a volume's name, or empty for an anonymous volume.
    pub(super) source: String,
    pub(super) target: String,
    /// As the client wrote it.
    pub(super) mode: String,
    pub(super) readonly: bool,
    pub(super) no_copy: bool,
    pub(super) propagation: String,
}

/// Splits and checks a bind.
pub(super) fn parse(text: &str) -> Result<Bind> {
    let invalid = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    if parts[0].is_empty() {
        return Err(invalid());
    }
    let mut bind = match parts[..] {
        [target] => Bind { target: target.to_owned(), ..Bind::default() },
        // A volume without source cannot have a mode.
        [_, mode] if is_mode(mode) => return Err(invalid()),
        [source, target] => Bind { source: source.to_owned(), target: target.to_owned(), ..Bind::default() },
        [source, target, mode] => {
            Bind { source: source.to_owned(), target: target.to_owned(), mode: mode.to_owned(), ..Bind::default() }
        }
        _ => return Err(invalid()),
    };
    if bind.target.is_empty() {
        return Err(invalid());
    }
    if !bind.mode.is_empty() && !is_mode(&bind.mode) {
        return Err(Error::invalid(format!("invalid mode: {}", bind.mode)));
    }
    for word in bind.mode.split(',') {
        match word {
            "ro" => bind.readonly = true,
            "nocopy" => bind.no_copy = true,
            word if is_propagation(word) => word.clone_into(&mut bind.propagation),
            _ => {}
        }
    }
    Ok(bind)
}

/// The propagation words of the API.
pub(super) fn is_propagation(word: &str) -> bool {
    matches!(word, "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave")
}

/// At most one word of each kind.
pub(super) fn is_mode(text: &str) -> bool {
    let mut seen = [0u8; 5];
    for word in text.split(',') {
        let kind = match word {
            "rw" | "ro" => 0,
            "z" | "Z" => 1,
            "nocopy" => 2,
            "consistent" | "cached" | "delegated" => 3,
            word if is_propagation(word) => 4,
            _ => return false,
        };
        seen[kind] += 1;
    }
    seen.iter().all(|count| *count <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let bind = parse("/a:/b:ro,rslave").unwrap();
        assert_eq!((bind.source.as_str(), bind.target.as_str(), bind.readonly), ("/a", "/b", true));
        assert_eq!(bind.propagation, "rslave");
        assert!(parse("v:/b:nocopy").unwrap().no_copy);
        assert_eq!(parse("/only").unwrap().target, "/only");
        let message = |text| parse(text).unwrap_err().to_string();
        assert_eq!(message("/x:/y:zz"), "invalid mode: zz");
        assert_eq!(message("/x:/y:ro,rw"), "invalid mode: ro,rw");
        assert_eq!(message("a:b:c:d"), "invalid volume specification: 'a:b:c:d'");
        assert_eq!(message(""), "invalid volume specification: ''");
        assert_eq!(message("vol:"), "invalid volume specification: 'vol:'");
        assert_eq!(message("/foo:rw"), "invalid volume specification: '/foo:rw'");
    }
}
