//! The ways in which an instruction's arguments are cut into words.

use super::Text;

/// The first word and the rest, both without the white space around them.
pub(super) fn first(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.find(char::is_whitespace) {
        Some(at) => (&text[..at], text[at..].trim_start()),
        None => (text, ""),
    }
}

/// A JSON list of strings; `None` for anything else, which is then taken as plain text.
pub(super) fn json_list(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The words of a list in JSON or between white space.
pub(super) fn json_or_plain(text: &str) -> Vec<String> {
    json_list(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect())
}

/// Words with their quotes and escapes, which are undone later: white space in quotes does not end a word.
pub(super) fn shell_like(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() && quote.is_none() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // At the very end it escapes nothing.
            if let Some(next) = chars.next() {
                word.push(c);
                word.push(next);
            }
            continue;
        }
        word.push(c);
        match quote {
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `NAME=value ...`, or the old form `NAME value with spaces`.
pub(super) fn pairs(text: &str, escape: char, instruction: &str) -> Text<Vec<(String, String)>> {
    let words = shell_like(text, escape);
    let Some(first_word) = words.first() else { return Err(format!("{instruction} requires at least one argument")) };
    if !first_word.contains('=') {
        let (name, value) = first(text);
        if value.is_empty() {
            return Err(format!("{instruction} must have two arguments"));
        }
        return Ok(vec![(name.to_owned(), value.to_owned())]);
    }
    let pair = |word: &String| match word.split_once('=') {
        None => Err(format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")),
        Some(("", _)) => Err(format!("{instruction} names can not be blank")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
    };
    words.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_keep_their_quotes() {
        for (text, expected) in [
            ("a  b", vec!["a", "b"]),
            ("a=\"b c\" d", vec!["a=\"b c\"", "d"]),
            ("a='b \\' d", vec!["a='b \\'", "d"]),
            ("a\\ b c", vec!["a\\ b", "c"]),
            ("\"\" x", vec!["\"\"", "x"]),
            ("a\\", vec!["a"]),
            ("", vec![]),
            ("\"open b", vec!["\"open b"]),
            ("\"a\\\" b\"", vec!["\"a\\\" b\""]),
        ] {
            assert_eq!(shell_like(text, '\\'), expected, "{text}");
        }
    }

    #[test]
    fn name_value_pairs() {
        let pairs = |text: &str| pairs(text, '\\', "ENV");
        let of =
            |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
        assert_eq!(pairs("a=b c=\"d e\"").unwrap(), of(&[("a", "b"), ("c", "\"d e\"")]));
        assert_eq!(pairs("a b  c").unwrap(), of(&[("a", "b  c")]));
        assert_eq!(pairs("a= b=").unwrap(), of(&[("a", ""), ("b", "")]));
        assert_eq!(pairs("a").unwrap_err(), "ENV must have two arguments");
        assert_eq!(pairs("").unwrap_err(), "ENV requires at least one argument");
        assert!(pairs("a=b c").unwrap_err().contains("can't find = in \"c\""));
        assert_eq!(pairs("=b").unwrap_err(), "ENV names can not be blank");
    }

    #[test]
    fn lists() {
        assert_eq!(json_or_plain("[\"a b\", \"c\"]"), ["a b", "c"]);
        assert_eq!(json_or_plain("[a b]"), ["[a", "b]"]);
        assert_eq!(json_list("['a']"), None);
        assert_eq!(json_list("[1]"), None);
        assert_eq!(json_list("[]"), Some(vec![]));
    }
}
