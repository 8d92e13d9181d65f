//! Go's `path.Match`, in which patterns of image names are written.

/// Whether `text` matches `pattern`: `*` and `?` do not match a slash, `[a-z]` and `[^a-z]` are
/// classes, a backslash takes the next character as it is. A malformed pattern matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The last star, and how much it has swallowed: the only place to go back to.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() || p < pattern.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(next) = text.get(t).and_then(|c| one(&pattern, p, *c)) {
            (p, t) = (next, t + 1);
            continue;
        }
        match star {
            Some((at, swallowed)) if text.get(swallowed).is_some_and(|c| *c != '/') => {
                star = Some((at, swallowed + 1));
                (p, t) = (at + 1, swallowed + 1);
            }
            _ => return false,
        }
    }
    true
}

/// Where the pattern goes on after one of its items matched `c`.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => (c != '/').then_some(at + 1),
        '[' => class(pattern, at + 1, c),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        literal => (literal == c).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, c: char) -> Option<usize> {
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut found = false;
    let start = at;
    loop {
        match *pattern.get(at)? {
            ']' if at > start => break,
            low => {
                let high = if pattern.get(at + 1) == Some(&'-') {
                    at += 2;
                    *pattern.get(at)?
                } else {
                    low
                };
                found |= (low..=high).contains(&c);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at + 1)
}

#[cfg(test)]
mod tests {
    use super::matches;

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
            ("h\\*", "h*", true),
            ("[", "[", false),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}
