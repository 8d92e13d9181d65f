//! `--name[=value]` before an instruction's arguments.

use super::Text;

/// The flags of an instruction, in order.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(String, Option<String>)>);

/// Takes the flags off the front; the rest are the arguments.
pub(super) fn take(text: &str, escape: char) -> (Flags, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while let Some(after) = rest.strip_prefix("--") {
        let (word, behind) = word(after, escape);
        rest = behind.trim_start();
        // `--` alone ends the flags.
        if word.is_empty() {
            break;
        }
        flags.push(match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        });
    }
    (Flags(flags), rest)
}

/// A word without its quotes, and what is behind it.
fn word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape && quote != Some('\'') => word.extend(chars.next().map(|(_, next)| next)),
            _ => word.push(c),
        }
    }
    (word, "")
}

impl Flags {
    /// Takes a flag that has a value and may be given once.
    pub(super) fn value(&mut self, name: &str) -> Text<Option<String>> {
        let mut values = self.values(name)?;
        if values.len() > 1 {
            return Err(format!("Duplicate flag specified: {name}"));
        }
        Ok(values.pop())
    }

    /// Takes a flag that may be given once; alone it has this value.
    pub(super) fn value_or(&mut self, name: &str, alone: &str) -> Text<Option<String>> {
        for (_, value) in self.0.iter_mut().filter(|(found, value)| found == name && value.is_none()) {
            *value = Some(alone.to_owned());
        }
        self.value(name)
    }

    /// Takes a flag that has a value, however often it is given.
    pub(super) fn values(&mut self, name: &str) -> Text<Vec<String>> {
        let (found, rest) = std::mem::take(&mut self.0).into_iter().partition(|(n, _)| n == name);
        self.0 = rest;
        let found: Vec<(String, Option<String>)> = found;
        let missing = || format!("Missing a value on flag: {name}");
        found.into_iter().map(|(_, value)| value.ok_or_else(missing)).collect()
    }

    /// Takes a switch.
    pub(super) fn switch(&mut self, name: &str) -> Text<bool> {
        let at = self.0.iter().position(|(n, _)| n == name);
        let Some(at) = at else { return Ok(false) };
        let (_, value) = self.0.remove(at);
        if self.0.iter().any(|(n, _)| n == name) {
            return Err(format!("Duplicate flag specified: {name}"));
        }
        match value.as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(format!("Expecting boolean value for flag {name}, not: {other}")),
        }
    }

    /// Nothing may be left.
    pub(super) fn none_left(self) -> Text<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("Unknown flag: {name}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_come_first() {
        let (mut flags, rest) = take("--from=a --link  --x=\"b c\" d --e", '\\');
        assert_eq!(rest, "d --e");
        assert_eq!(flags.value("from").unwrap().as_deref(), Some("a"));
        assert!(flags.switch("link").unwrap() && !flags.switch("other").unwrap());
        assert_eq!(flags.value("x").unwrap().as_deref(), Some("b c"));
        flags.none_left().unwrap();
        let (mut flags, rest) = take("-- --from=a b", '\\');
        assert_eq!((rest, flags.value("from")), ("--from=a b", Ok(None)));
    }

    #[test]
    fn wrong_flags() {
        let flags = |text: &str| take(text, '\\').0;
        assert_eq!(flags("--from=a --from=b x").value("from").unwrap_err(), "Duplicate flag specified: from");
        assert_eq!(flags("--from x").value("from").unwrap_err(), "Missing a value on flag: from");
        assert_eq!(flags("--nope x").none_left().unwrap_err(), "Unknown flag: nope");
        assert!(flags("--link=maybe").switch("link").unwrap_err().contains("maybe"));
    }
}
