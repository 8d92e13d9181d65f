//! Go's `path.Match`, in which patterns of image names are written.

/// A pattern: `*` and `?` do not match a slash, `[a-z]` and `[^a-z]` are classes, a backslash takes the next character
/// as it is.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Debug)]
enum Item {
    /// Any run of characters without a slash.
    Star,
    /// One character but a slash.
    One,
    Literal(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// `None` for a pattern that Go calls malformed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut items = Vec::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            items.push(match c {
                '*' => Item::Star,
                '?' => Item::One,
                '\\' => Item::Literal(rest.next()?),
                '[' => class(&mut rest)?,
                literal => Item::Literal(literal),
            });
        }
        Some(Self(items))
    }

    /// Whether the whole of `text` fits.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut at, mut t) = (0, 0);
        // The last star, and how much it has swallowed: the only place to go back to.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() || at < self.0.len() {
            match (self.0.get(at), text.get(t)) {
                (Some(Item::Star), _) => {
                    star = Some((at, t));
                    at += 1;
                    continue;
                }
                (Some(item), Some(c)) if item.matches(*c) => {
                    (at, t) = (at + 1, t + 1);
                    continue;
                }
                _ => {}
            }
            match star {
                Some((place, swallowed)) if text.get(swallowed).is_some_and(|c| *c != '/') => {
                    star = Some((place, swallowed + 1));
                    (at, t) = (place + 1, swallowed + 1);
                }
                _ => return false,
            }
        }
        true
    }
}

impl Item {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Star => false,
            Self::One => c != '/',
            Self::Literal(literal) => *literal == c,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

/// What follows an opening bracket, with the closing one.
fn class(rest: &mut std::str::Chars<'_>) -> Option<Item> {
    let negated = rest.as_str().starts_with('^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if rest.as_str().starts_with(']') && !ranges.is_empty() {
            rest.next();
            return Some(Item::Class { negated, ranges });
        }
        let low = bound(rest)?;
        let high = if rest.as_str().starts_with('-') {
            rest.next();
            bound(rest)?
        } else {
            low
        };
        ranges.push((low, high));
    }
}

/// One end of a range.
fn bound(rest: &mut std::str::Chars<'_>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns() {
        for (pattern, text, wanted) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:1", true),
            ("*:latest", "hello:latest", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("?ello", "hello", true),
            ("h[a-f]llo", "hello", true),
            ("h[^a-f]llo", "hello", false),
            ("h[\\-x]llo", "h-llo", true),
            ("h\\*", "h*", true),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn malformed_patterns() {
        for pattern in ["[", "a[", "[]", "[]a]", "[-x]", "[x-]", "[^]", "[a\\", "a\\"] {
            assert!(Pattern::parse(pattern).is_none(), "{pattern}");
        }
    }
}
