//! Paths as clients of the archive operations write them. The final slash and the final `.` mean something: they say
//! that a link at the end is to be followed, and the `.` also what the archive's entries are called.

/// A path that a client asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Absolute and cleaned by its text, but with the final `/` or `/.`.
    pub(super) path: String,
}

impl Asked {
    pub(super) fn parse(path: &str) -> Self {
        let mut clean = crate::plan::mounts::clean(path).to_string_lossy().into_owned();
        if path == "." || path.ends_with("/.") {
            if !clean.ends_with('/') {
                clean.push('/');
            }
            clean.push('.');
        } else if path.ends_with('/') && !clean.ends_with('/') {
            clean.push('/');
        }
        Self { path: clean }
    }

    /// What must be a directory, with any link in it followed, and the component in it that is not followed. There is
    /// none where the directory itself is meant.
    pub(super) fn split(&self) -> (&str, Option<&str>) {
        match self.path.rsplit_once('/') {
            None | Some((_, "" | ".")) => (&self.path, None),
            Some(("", name)) => ("/", Some(name)),
            Some((parent, name)) => (parent, Some(name)),
        }
    }

    /// The last component; `/` of the root, `.` where the path says so.
    pub(super) fn name(&self) -> &str {
        let path = self.path.trim_end_matches('/');
        path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("/")
    }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn what_a_path_asks_for() {
        for (path, parent, last, name) in [
            ("/w/d", "/w", Some("d"), "d"),
            ("w/d", "/w", Some("d"), "d"),
            ("/w/d/", "/w/d/", None, "d"),
            ("/w/d/.", "/w/d/.", None, "."),
            ("/", "/", None, "/"),
            ("/.", "/.", None, "."),
            (".", "/.", None, "."),
            ("..", "/", None, "/"),
            ("/w/..", "/", None, "/"),
            ("/a/../b//c/./d", "/b/c", Some("d"), "d"),
            ("/x", "/", Some("x"), "x"),
        ] {
            let asked = Asked::parse(path);
            assert_eq!((asked.split(), asked.name()), ((parent, last), name), "{path}");
        }
    }
}
