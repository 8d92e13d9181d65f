//! Names from archives, made safe and sorted into ordinary ones and whiteouts.

use super::{ExtractError, error::lossy};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const AUFS: &[u8] = b".wh..wh.";

/// What the last component of a name means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// The layer's root.
    Root,
    /// A file like any other.
    Ordinary,
    /// Hides this name of the layers below.
    Whiteout(&'a [u8]),
    /// Hides everything that the layers below have in the directory.
    Opaque,
    /// Book-keeping of aufs, of no use here.
    Ignored,
}

/// A cleaned name relative to the layer's root: no empty, `.` or `..` components. An absolute name is taken as
/// relative to the root, as Docker does and archives from some builders need.
pub(crate) fn clean(name: &[u8]) -> Result<Vec<u8>, ExtractError> {
    if name.contains(&0) {
        return Err(ExtractError::Name(lossy(name)));
    }
    let mut clean: Vec<&[u8]> = Vec::new();
    for component in name.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(clean.pop().ok_or_else(|| ExtractError::Outside(lossy(name)))?),
            component => clean.push(component),
        }
    }
    Ok(clean.join(&b'/'))
}

/// Parent and last component of a cleaned name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The role of a cleaned name.
pub(super) fn role(path: &[u8]) -> Result<Role<'_>, ExtractError> {
    let (_, name) = split(path);
    match name {
        b"" => Ok(Role::Root),
        OPAQUE => Ok(Role::Opaque),
        _ if path.starts_with(AUFS) || name.starts_with(AUFS) => Ok(Role::Ignored),
        _ => match name.strip_prefix(WHITEOUT) {
            Some(b"" | b"." | b"..") => Err(ExtractError::Name(lossy(path))),
            Some(hidden) => Ok(Role::Whiteout(hidden)),
            None => Ok(Role::Ordinary),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{Role, clean, role, split};

    #[test]
    fn cleaning() {
        for (name, cleaned) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("/etc/passwd", "etc/passwd"),
            ("a/../b", "b"),
            ("./", ""),
            ("a/./b/../c", "a/c"),
        ] {
            assert_eq!(clean(name.as_bytes()).unwrap(), cleaned.as_bytes(), "{name}");
        }
        for bad in ["..", "../x", "a/../../x", "/../x", "a\0b"] {
            assert!(clean(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn roles() {
        assert_eq!(role(b"a/.wh.b").unwrap(), Role::Whiteout(b"b"));
        assert_eq!(role(b"a/.wh..wh..opq").unwrap(), Role::Opaque);
        assert_eq!(role(b".wh..wh.plnk/1.2").unwrap(), Role::Ignored);
        assert_eq!(role(b"a/b.wh.c").unwrap(), Role::Ordinary);
        assert_eq!(role(b"").unwrap(), Role::Root);
        for bad in [&b".wh."[..], b"a/.wh..", b".wh..."] {
            assert!(role(bad).is_err());
        }
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
    }
}
