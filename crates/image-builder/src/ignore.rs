//! `.dockerignore`: which files of a context are not part of it. Also what `--exclude` means.

use crate::pattern::{BadPattern, Pattern};

/// The name of the file.
pub const FILE: &str = ".dockerignore";
/// More patterns than anybody wrote by hand.
const MAX_PATTERNS: usize = 100_000;

/// A list of patterns; later ones override earlier ones.
#[derive(Debug, Clone, Default)]
pub struct Ignore(Vec<Rule>);

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    /// `!`: what fits stays.
    keep: bool,
}

/// What the rules said of a directory, which is where its entries begin.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// By rule: whether it fits the directory or one above.
    fits: Vec<bool>,
    /// Whether the directory itself is left out.
    pub ignored: bool,
}

/// The file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// A pattern is wrong.
    #[error("failed to read .dockerignore, line {line}: {source}")]
    Pattern {
        /// Where.
        line: usize,
        /// Why.
        source: BadPattern,
    },
    /// An exclamation mark with nothing behind it.
    #[error("failed to read .dockerignore, line {0}: illegal exclusion pattern: \"!\"")]
    Nothing(usize),
    /// Too many patterns.
    #[error("failed to read .dockerignore: more than {MAX_PATTERNS} patterns")]
    Many,
}

impl Ignore {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = if at == 0 { line.trim_start_matches('\u{feff}') } else { line };
            if line.starts_with('#') {
                continue;
            }
            rules.extend(Rule::parse(line, at + 1)?);
            if rules.len() > MAX_PATTERNS {
                return Err(IgnoreError::Many);
            }
        }
        Ok(Self(rules))
    }

    /// The patterns of `--exclude`.
    pub fn of(patterns: &[String]) -> Result<Self, IgnoreError> {
        let rules = patterns.iter().enumerate().map(|(at, text)| Rule::parse(text, at + 1));
        Ok(Self(rules.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect()))
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something below a directory that is left out may be part of the context again.
    pub fn has_exceptions(&self) -> bool {
        self.0.iter().any(|rule| rule.keep)
    }

    /// What is said of the top, with which every walk begins.
    pub fn top(&self) -> Verdict {
        Verdict { fits: vec![false; self.0.len()], ignored: false }
    }

    /// What is said of an entry of a directory; the path is from the top.
    pub fn look(&self, parent: &Verdict, path: &str) -> Verdict {
        let mut verdict = Verdict { fits: Vec::with_capacity(self.0.len()), ignored: false };
        for (rule, above) in self.0.iter().zip(&parent.fits) {
            let fits = *above || rule.pattern.matches(path);
            if fits {
                verdict.ignored = !rule.keep;
            }
            verdict.fits.push(fits);
        }
        verdict
    }

    /// Whether a single path is left out, itself or by a directory above it.
    pub fn ignores(&self, path: &str) -> bool {
        self.verdict(path).ignored
    }

    /// What is said of a path; the empty one is the top.
    pub fn verdict(&self, path: &str) -> Verdict {
        let mut verdict = self.top();
        if path.is_empty() {
            return verdict;
        }
        for (at, _) in path.match_indices('/').chain([(path.len(), "")]) {
            verdict = self.look(&verdict, &path[..at]);
        }
        verdict
    }
}

impl Rule {
    fn parse(line: &str, number: usize) -> Result<Option<Self>, IgnoreError> {
        let text = line.trim();
        let (text, keep) = match text.strip_prefix('!') {
            Some(rest) => (rest.trim(), true),
            None => (text, false),
        };
        if text.is_empty() {
            return if keep { Err(IgnoreError::Nothing(number)) } else { Ok(None) };
        }
        let path = clean_path(text);
        let path = path.strip_prefix('/').unwrap_or(&path);
        if matches!(path, "" | ".") {
            // The whole context cannot be left out, as it must have a Dockerfile.
            return Ok(None);
        }
        let pattern = Pattern::deep(path).map_err(|source| IgnoreError::Pattern { line: number, source })?;
        Ok(Some(Self { pattern, keep }))
    }
}

/// The shortest form of a path (Go's `path.Clean`): what leads up from the beginning stays, so that it is nothing in a
/// context.
pub(crate) fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// The path from the top, without `.`, `..` and doubled slashes.
pub(crate) fn clean(path: &str) -> String {
    clean_path(&format!("/{path}")).split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        for (text, path, ignored) in [
            ("", "a", false),
            ("a", "a", true),
            ("a", "a/b/c", true),
            ("a", "b/a", false),
            ("/a", "a", true),
            ("a/", "a/b", true),
            ("./a//b", "a/b", true),
            ("a/../b", "b", true),
            ("/../b", "b", true),
            ("../b", "b", false),
            ("a/../../b", "b", false),
            ("..", "b", false),
            ("/", "b", false),
            ("a/.", "a/b", true),
            ("!.", "a", false),
            ("  a  ", "a", true),
            ("a\r\nb\r\n", "b", true),
            ("\\#a", "#a", true),
            ("\\!a", "!a", true),
            ("*/*/c", "a/b/c/d", true),
            ("**", "a", true),
            ("**\n!**/*.md", "x/y.md", false),
            ("a/**\n!a/b/**", "a/b/c", false),
            ("a/*\n!a/b", "a/b/c", false),
            ("temp?", "temp1/x", true),
            ("temp?", "temp", false),
            ("# a", "# a", false),
            (" # a", "# a", true),
            ("*", "a/b", true),
            ("*\n!a", "a", false),
            ("*\n!a", "a/b", false),
            ("*\n!a/b", "a/b", false),
            ("*\n!a/b", "a/c", true),
            ("!a\n*", "a", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README-x.md", false),
            ("**/*.o", "x/y/z.o", true),
            ("**/node_modules", "a/node_modules/b", true),
            ("a\n!a/keep\na/keep/not", "a/keep/not", true),
            ("a\n! a/keep", "a/keep/x", false),
            (".", "a", false),
            ("a*/b", "ax/b", true),
            ("\u{feff}a", "a", true),
        ] {
            assert_eq!(Ignore::parse(text).unwrap().ignores(path), ignored, "{text:?} {path}");
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        assert_eq!(Ignore::parse("a\n!").unwrap_err(), IgnoreError::Nothing(2));
        assert!(Ignore::parse("a\n\n[").unwrap_err().to_string().contains("line 3"));
    }
}
