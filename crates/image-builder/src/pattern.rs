//! Two kinds of patterns for paths: those of `COPY`, and those of `.dockerignore`, where `**` stands for any depth.

/// One element of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A character.
    Just(char),
    /// `?`: anything but a slash.
    One,
    /// `*`: any number of those.
    Any,
    /// `**/`: any number of directories, or none, which leaves out the next part, too.
    Deep,
    /// In those directories; only left behind a slash.
    Inside,
    /// `**` at the end: everything.
    All,
    /// `[a-z]`
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern, compiled. Matching takes at most the pattern's length times the path's, whatever the pattern is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    /// The whole pattern, if it has nothing special.
    literal: Option<String>,
}

/// The pattern cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern {0:?}")]
pub struct BadPattern(pub String);

impl Pattern {
    /// A pattern in which `**` is nothing special (Go's `filepath.Match`).
    pub fn plain(text: &str) -> Result<Self, BadPattern> {
        Self::compile(text, false)
    }

    /// A pattern of `.dockerignore`.
    pub fn deep(text: &str) -> Result<Self, BadPattern> {
        Self::compile(text, true)
    }

    /// Whether there is anything but characters in a text.
    pub fn is_special(text: &str) -> bool {
        text.contains(['*', '?', '[', '\\'])
    }

    fn compile(text: &str, deep: bool) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let mut parts = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let part = match c {
                '*' if deep && chars.next_if_eq(&'*').is_some() => {
                    chars.next_if_eq(&'/');
                    if chars.peek().is_none() { Part::All } else { Part::Deep }
                }
                '*' => Part::Any,
                '?' => Part::One,
                '[' => class(&mut chars).ok_or_else(bad)?,
                '\\' => Part::Just(chars.next().ok_or_else(bad)?),
                c => Part::Just(c),
            };
            let more = (part == Part::Deep).then_some(Part::Inside);
            if !(part == Part::Any && parts.last() == Some(&Part::Any)) {
                parts.push(part);
                parts.extend(more);
            }
        }
        let literal = parts.iter().map(|part| if let Part::Just(c) = part { Some(*c) } else { None }).collect();
        Ok(Self { parts, literal })
    }

    /// Whether the whole path fits.
    pub fn matches(&self, path: &str) -> bool {
        if let Some(literal) = &self.literal {
            return literal == path;
        }
        // All places in the pattern at which matching can be are followed at once.
        let end = self.parts.len();
        let mut places = vec![false; end + 1];
        let mut next = vec![false; end + 1];
        places[0] = true;
        self.skip(&mut places);
        for c in path.chars() {
            next.fill(false);
            for (place, part) in self.parts.iter().enumerate().filter(|(place, _)| places[*place]) {
                match part {
                    Part::Just(wanted) => next[place + 1] |= *wanted == c,
                    Part::One => next[place + 1] |= c != '/',
                    Part::Any => next[place] |= c != '/',
                    Part::All => next[place] = true,
                    Part::Deep => {}
                    Part::Inside => {
                        next[place] = true;
                        next[place + 1] |= c == '/';
                    }
                    Part::Class { negated, ranges } => {
                        let inside = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                        next[place + 1] |= inside != *negated && c != '/';
                    }
                }
            }
            self.skip(&mut next);
            std::mem::swap(&mut places, &mut next);
            if !places.contains(&true) {
                return false;
            }
        }
        places[end]
    }

    /// Stars and `**` may stand for nothing.
    fn skip(&self, places: &mut [bool]) {
        for (place, part) in self.parts.iter().enumerate().filter(|(_, part)| !matches!(part, Part::Just(_))) {
            if !places[place] {
                continue;
            }
            match part {
                Part::Any | Part::All => places[place + 1] = true,
                Part::Deep => {
                    places[place + 1] = true;
                    places[place + 2] = true;
                }
                _ => {}
            }
        }
    }
}

/// What is behind an opening bracket; `None` if it is not closed or empty.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let from = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Class { negated, ranges }),
            ']' | '-' => return None,
            '\\' => chars.next()?,
            c => c,
        };
        let mut to = from;
        if chars.next_if_eq(&'-').is_some() {
            to = match chars.next()? {
                ']' | '-' => return None,
                '\\' => chars.next()?,
                c => c,
            };
        }
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_patterns() {
        for (pattern, path, fits) in [
            ("a", "a", true),
            ("a*", "abc", true),
            ("a*", "a/b", false),
            ("*", "a", true),
            ("*", "", true),
            ("*.go", "x.go", true),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("?", "a", true),
            ("?", "/", false),
            ("?", "é", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a]", "/", false),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "a/b", false),
            ("a**b", "axb", true),
        ] {
            assert_eq!(Pattern::plain(pattern).unwrap().matches(path), fits, "{pattern} {path}");
        }
        for bad in ["[", "[]", "[a", "[a-", "a\\", "[-a]", "[]a]", "[a-]"] {
            assert!(Pattern::plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_patterns() {
        for (pattern, path, fits) in [
            ("**", "a/b/c", true),
            ("**", "", true),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "xa", false),
            ("**/a", "x/ba", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a/", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("**/*.go", "x/y.go", true),
            ("**/*.go", "y.go", true),
            ("**/.git/**/x", "a/.git/b/x", true),
            ("a**/b", "ab", true),
            ("a**/b", "ax/b", true),
            ("**file", "file", true),
            ("**file", "dir/file", true),
            ("dir/**/*", "dir/x", true),
            ("dir/*", "dir/x/y", false),
        ] {
            assert_eq!(Pattern::deep(pattern).unwrap().matches(path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = Pattern::deep(&"**/*a".repeat(200)).unwrap();
        assert!(!pattern.matches(&"a/".repeat(2000)));
    }
}
