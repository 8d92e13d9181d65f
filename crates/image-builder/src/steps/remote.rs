//! Sources of `ADD` that are not in the context.

use gantry_model::{Error, Result};

/// Where a source is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Remote<'s> {
    /// A file on a web server.
    File(&'s str),
    /// A git repository, with what of it behind a `#`.
    Git(&'s str),
}

/// Where a source is if it is not in the context; only `ADD` knows such.
pub(crate) fn remote<'s>(name: &str, source: &'s str) -> Result<Option<Remote<'s>>> {
    let is = |prefix: &str| source.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let url = is("http://") || is("https://");
    let path = source.split(['#', '?']).next().unwrap_or_default();
    let git = is("git://") || is("ssh://") || is_scp(path) || url && path.strip_suffix(".git").is_some();
    match (git, url) {
        (true, _) if name == "COPY" => Err(Error::invalid("source can't be a git ref for COPY")),
        (_, true) if name == "COPY" => Err(Error::invalid("source can't be a URL for COPY")),
        (true, _) => Ok(Some(Remote::Git(source))),
        (false, true) => Ok(Some(Remote::File(source))),
        (false, false) => Ok(None),
    }
}

/// `git@host:path`: ssh without saying so.
fn is_scp(path: &str) -> bool {
    path.strip_prefix("git@").and_then(|rest| rest.split_once(':')).is_some_and(|(host, _)| !host.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_where() {
        for (source, expected) in [
            ("a", None),
            ("git/x", None),
            ("git@file", None),
            ("http://h/f.tar", Some(Remote::File("http://h/f.tar"))),
            ("HTTPS://h/f", Some(Remote::File("HTTPS://h/f"))),
            ("https://h/r.git#v1:d", Some(Remote::Git("https://h/r.git#v1:d"))),
            ("git://h/r", Some(Remote::Git("git://h/r"))),
            ("git@h:u/r.git", Some(Remote::Git("git@h:u/r.git"))),
            ("ssh://git@h/r", Some(Remote::Git("ssh://git@h/r"))),
        ] {
            assert_eq!(remote("ADD", source).unwrap(), expected, "{source}");
            assert_eq!(remote("COPY", source).is_err(), expected.is_some(), "{source}");
        }
    }
}
