//! Variables in words: `$name`, `${name}` and `${name` with a modifier `}`, quotes and escapes, in the way of shells.

use super::Text;
use std::iter::Peekable;
use std::str::Chars;

/// What a word may grow to.
const MAX_WORD: usize = 1 << 20;
/// Length of a pattern times length of a value.
const MAX_MATCHING: usize = 1 << 28;
/// `${a:-${b:-...}}`
const MAX_DEPTH: usize = 64;

/// Where values come from.
pub trait Variables {
    /// The value of a variable that is set.
    fn get(&self, name: &str) -> Option<String>;
}

impl<F: Fn(&str) -> Option<String>> Variables for F {
    fn get(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// Expands words.
#[derive(Debug, Clone, Copy)]
pub struct Expander {
    escape: char,
    /// Quotes are ordinary characters, as in here-documents.
    keep_quotes: bool,
}

/// What a word ends with, and how it is read until then.
#[derive(Clone, Copy)]
struct Until {
    stop: Option<char>,
    /// Escapes stay, because the word is a pattern.
    raw_escapes: bool,
    depth: usize,
}

impl Expander {
    /// With the file's escape character.
    pub fn new(escape: char) -> Self {
        Self { escape, keep_quotes: false }
    }

    /// For text in which quotes mean nothing.
    #[must_use]
    pub fn text(self) -> Self {
        Self { keep_quotes: true, ..self }
    }

    /// The word as it is meant: one word, whatever is in the variables.
    pub fn word(&self, word: &str, variables: &dyn Variables) -> Text<String> {
        let until = Until { stop: None, raw_escapes: false, depth: 0 };
        Scan { expander: *self, rest: word.chars().peekable(), variables }.until(until)
    }

    /// The words as they are meant: white space in an unquoted variable separates words.
    pub fn words(&self, text: &str, variables: &dyn Variables) -> Text<Vec<String>> {
        let quoted = self.word(text, variables)?;
        Ok(quoted.split_whitespace().map(str::to_owned).collect())
    }

    /// A word without its quotes and escapes.
    pub fn unquote(&self, word: &str) -> Text<String> {
        self.word(word, &|name: &str| Some(format!("${name}")))
    }
}

struct Scan<'a> {
    expander: Expander,
    rest: Peekable<Chars<'a>>,
    variables: &'a dyn Variables,
}

impl Scan<'_> {
    fn until(&mut self, until: Until) -> Text<String> {
        if until.depth > MAX_DEPTH {
            return Err("substitutions are nested too deeply".to_owned());
        }
        let mut word = String::new();
        while let Some(&c) = self.rest.peek() {
            if Some(c) == until.stop {
                self.rest.next();
                return Ok(word);
            }
            match c {
                '$' => word.push_str(&self.dollar(until.depth)?),
                '\'' if !self.expander.keep_quotes => self.single_quoted(&mut word)?,
                '"' if !self.expander.keep_quotes => self.double_quoted(&mut word, until.depth)?,
                _ => self.plain(&mut word, until.raw_escapes),
            }
            if word.len() > MAX_WORD {
                return Err(format!("a word grows beyond {MAX_WORD} bytes"));
            }
        }
        match until.stop {
            None => Ok(word),
            Some('}') => Err("syntax error: missing '}'".to_owned()),
            Some(stop) => Err(format!("unexpected end of statement while looking for matching {stop}")),
        }
    }

    /// One character, or an escape and what it escapes; at the end it escapes nothing and goes.
    fn plain(&mut self, word: &mut String, raw: bool) {
        let Some(c) = self.rest.next() else { return };
        if c != self.expander.escape {
            return word.push(c);
        }
        if self.expander.keep_quotes && self.rest.peek() != Some(&'$') && !raw {
            // In text only a dollar needs an escape.
            return word.push(c);
        }
        if raw {
            word.push(c);
        }
        word.extend(self.rest.next());
    }

    fn single_quoted(&mut self, word: &mut String) -> Text<()> {
        self.rest.next();
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => word.push(c),
                None => return Err("unexpected end of statement while looking for matching single-quote".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String, depth: usize) -> Text<()> {
        self.rest.next();
        loop {
            match self.rest.peek() {
                None => return Err("unexpected end of statement while looking for matching double-quote".to_owned()),
                Some('"') => {
                    self.rest.next();
                    return Ok(());
                }
                Some('$') => word.push_str(&self.dollar(depth)?),
                Some(&c) => {
                    self.rest.next();
                    let next = self.rest.peek().copied();
                    if c == self.expander.escape && next.is_some_and(|n| matches!(n, '"' | '$') || n == c) {
                        word.extend(self.rest.next());
                    } else if c != self.expander.escape || next.is_some() {
                        word.push(c);
                    }
                }
            }
            if word.len() > MAX_WORD {
                return Err(format!("a word grows beyond {MAX_WORD} bytes"));
            }
        }
    }

    fn dollar(&mut self, depth: usize) -> Text<String> {
        self.rest.next();
        if self.rest.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(self.variables.get(&name).unwrap_or_default());
        }
        self.rest.next();
        match self.rest.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            _ => {}
        }
        let name = self.name();
        let value = self.variables.get(&name);
        match self.rest.next() {
            None => Err("syntax error: missing '}'".to_owned()),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => match self.rest.next() {
                Some(modifier @ ('-' | '+' | '?')) => self.choose(&name, value, modifier, true, depth),
                Some(other) => Err(format!("unsupported modifier (:{other}) in substitution")),
                None => Err("syntax error: missing '}'".to_owned()),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.choose(&name, value, modifier, false, depth),
            Some(side @ ('#' | '%')) => self.trim(&value.unwrap_or_default(), side, depth),
            Some('/') => self.replace(&value.unwrap_or_default(), depth),
            Some(other) => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    fn inner(&mut self, stop: char, raw_escapes: bool, depth: usize) -> Text<String> {
        self.until(Until { stop: Some(stop), raw_escapes, depth: depth + 1 })
    }

    /// `-`, `+` and `?`; with a colon an empty value counts as none.
    fn choose(&mut self, name: &str, value: Option<String>, modifier: char, colon: bool, depth: usize) -> Text<String> {
        let word = self.inner('}', false, depth)?;
        let was_set = value.is_some();
        let value = value.filter(|value| !(colon && value.is_empty()));
        match (modifier, value) {
            ('-', None) | ('+', Some(_)) => Ok(word),
            ('?', None) => {
                let default = if was_set { "is not allowed to be empty" } else { "is not allowed to be unset" };
                Err(format!("{name}: {}", if word.is_empty() { default } else { &word }))
            }
            (_, Some(value)) => Ok(value),
            (_, None) => Ok(String::new()),
        }
    }

    /// `#`, `##`, `%`, `%%`: without the shortest or longest part that a pattern fits.
    fn trim(&mut self, value: &str, side: char, depth: usize) -> Text<String> {
        let longest = self.rest.next_if_eq(&side).is_some();
        let pattern = Pattern::new(&self.inner('}', true, depth)?, self.expander.escape);
        let value: Vec<char> = value.chars().collect();
        pattern.check(value.len())?;
        if side == '#' {
            let cut = pattern.prefix(value.iter().copied(), longest).unwrap_or(0);
            return Ok(value[cut..].iter().collect());
        }
        let cut = pattern.reversed().prefix(value.iter().rev().copied(), longest).unwrap_or(0);
        Ok(value[..value.len() - cut].iter().collect())
    }

    /// `/pattern/text` for the first, `//pattern/text` for every part that fits.
    fn replace(&mut self, value: &str, depth: usize) -> Text<String> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let pattern = Pattern::new(&self.inner('/', true, depth)?, self.expander.escape);
        let with = self.inner('}', false, depth)?;
        let value: Vec<char> = value.chars().collect();
        pattern.check(value.len().saturating_mul(value.len()))?;
        let mut result = String::new();
        let (mut at, mut done) = (0, false);
        while at < value.len() {
            let fits = pattern.prefix(value[at..].iter().copied(), true).filter(|&n| n > 0 && !done);
            if let Some(length) = fits {
                result.push_str(&with);
                at += length;
                done = !all;
            } else {
                result.push(value[at]);
                at += 1;
            }
            if result.len() > MAX_WORD {
                return Err(format!("a word grows beyond {MAX_WORD} bytes"));
            }
        }
        Ok(result)
    }

    /// Letters, digits and underscores; digits alone, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&c) = self.rest.peek() {
            if name.is_empty() && matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
                self.rest.next();
                return c.to_string();
            }
            let number = name.starts_with(|c: char| c.is_ascii_digit());
            if !(c.is_ascii_digit() || !number && (c.is_alphabetic() || c == '_')) {
                break;
            }
            name.push(c);
            self.rest.next();
        }
        name
    }
}

/// A pattern of `*`, `?` and characters.
struct Pattern(Vec<Part>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Any,
    One,
    Just(char),
}

impl Pattern {
    fn new(text: &str, escape: char) -> Self {
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '?' => Part::One,
                c if c == escape => Part::Just(chars.next().unwrap_or(c)),
                c => Part::Just(c),
            });
        }
        parts.dedup_by(|a, b| *a == Part::Any && *b == Part::Any);
        Self(parts)
    }

    fn reversed(mut self) -> Self {
        self.0.reverse();
        self
    }

    fn check(&self, work: usize) -> Text<()> {
        if work.saturating_mul(self.0.len() + 1) > MAX_MATCHING {
            return Err("a pattern in a substitution takes too long to match".to_owned());
        }
        Ok(())
    }

    /// How many characters at the front fit: the fewest or the most. All places in the pattern at which matching can be
    /// are followed at once, so that no pattern takes longer than its length times the value's.
    fn prefix(&self, value: impl Iterator<Item = char>, longest: bool) -> Option<usize> {
        let parts = &self.0;
        let mut places = vec![false; parts.len() + 1];
        places[0] = true;
        self.skip_any(&mut places);
        let mut found = places[parts.len()].then_some(0);
        for (at, c) in value.enumerate() {
            if found.is_some() && !longest || !places.contains(&true) {
                break;
            }
            let mut next = vec![false; parts.len() + 1];
            for (place, part) in parts.iter().enumerate().filter(|(place, _)| places[*place]) {
                match part {
                    Part::Any => next[place] = true,
                    Part::One => next[place + 1] = true,
                    Part::Just(wanted) => next[place + 1] |= *wanted == c,
                }
            }
            self.skip_any(&mut next);
            places = next;
            if places[parts.len()] {
                found = Some(at + 1);
            }
        }
        found
    }

    /// A star may stand for nothing.
    fn skip_any(&self, places: &mut [bool]) {
        for (place, part) in self.0.iter().enumerate() {
            if *part == Part::Any && places[place] {
                places[place + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        let value = match name {
            "a" => "value",
            "empty" => "",
            "path" => "one/two/three.tar.gz",
            "spaces" => "x  y",
            "1" | "_x1" => "named",
            "star" => "a*b",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn expand(word: &str) -> Text<String> {
        Expander::new('\\').word(word, &variables)
    }

    #[test]
    fn words() {
        for (word, expected) in [
            ("plain", "plain"),
            ("$a", "value"),
            ("${a}b", "valueb"),
            ("$a.$a", "value.value"),
            ("$none", ""),
            ("\\$a", "$a"),
            ("'$a'", "$a"),
            ("\"$a\"", "value"),
            ("\"\\$a\\n\\\"\"", "$a\\n\""),
            ("a\\ b\\\\", "a b\\"),
            ("a\\", "a"),
            ("$", "$"),
            ("$.", "$."),
            ("$1x", "namedx"),
            ("$_x1", "named"),
            ("${a:-b}", "value"),
            ("${none:-b}", "b"),
            ("${none-b}", "b"),
            ("${empty:-b}", "b"),
            ("${empty-b}", ""),
            ("${none:-${a:+yes}}", "yes"),
            ("${none:-\"}\"}", "}"),
            ("${a:+b}", "b"),
            ("${empty:+b}", ""),
            ("${empty+b}", "b"),
            ("${none+b}", ""),
            ("${a:?x}", "value"),
            ("${path#*/}", "two/three.tar.gz"),
            ("${path##*/}", "three.tar.gz"),
            ("${path%.*}", "one/two/three.tar"),
            ("${path%%.*}", "one/two/three"),
            ("${path#two}", "one/two/three.tar.gz"),
            ("${path%t??.gz}", "one/two/three."),
            ("${star#a\\*}", "b"),
            ("${star%\\*b}", "a"),
            ("${path/t/T}", "one/Two/three.tar.gz"),
            ("${path//t/T}", "one/Two/Three.Tar.gz"),
            ("${path//\\//-}", "one-two-three.tar.gz"),
            ("${path/o*e/x}", "x.tar.gz"),
            ("${path//e}", ""),
            ("$spaces", "x  y"),
        ] {
            if word == "${path//e}" {
                assert!(expand(word).is_err());
                continue;
            }
            assert_eq!(expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn mistakes() {
        for (word, message) in [
            ("${", "syntax error: missing '}'"),
            ("${a", "syntax error: missing '}'"),
            ("${a:-b", "syntax error: missing '}'"),
            ("${}", "syntax error: bad substitution"),
            ("${:x}", "syntax error: bad substitution"),
            ("${a:=b}", "unsupported modifier (:=) in substitution"),
            ("${a=b}", "unsupported modifier (=) in substitution"),
            ("${a:#b}", "unsupported modifier (:#) in substitution"),
            ("${none?}", "none: is not allowed to be unset"),
            ("${empty:?}", "empty: is not allowed to be empty"),
            ("${none:?say it}", "none: say it"),
            ("'a", "unexpected end of statement while looking for matching single-quote"),
            ("\"a", "unexpected end of statement while looking for matching double-quote"),
        ] {
            assert_eq!(expand(word).unwrap_err(), message, "{word}");
        }
    }

    #[test]
    fn growth_is_bounded() {
        let big = "x".repeat(MAX_WORD / 2);
        let error = Expander::new('\\').word("$a$a$a", &|_: &str| Some(big.clone())).unwrap_err();
        assert!(error.contains("grows"), "{error}");
        let deep = format!("{}x{}", "${none:-".repeat(100), "}".repeat(100));
        assert!(expand(&deep).unwrap_err().contains("deeply"));
        let slow = format!("${{a##{}}}", "*a".repeat(2000));
        assert!(Expander::new('\\').word(&slow, &|_: &str| Some(big.clone())).unwrap_err().contains("too long"));
    }

    #[test]
    fn text_keeps_its_quotes() {
        let text = Expander::new('\\').text();
        assert_eq!(text.word("'$a' \"\\n\" \\$a", &variables).unwrap(), "'value' \"\\n\" $a");
        assert_eq!(Expander::new('\\').words("$spaces z", &variables).unwrap(), ["x", "y", "z"]);
        assert_eq!(Expander::new('`').word("`$a\\b", &variables).unwrap(), "$a\\b");
    }
}
