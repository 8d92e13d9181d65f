//! The builder's words: quoting, escapes and variables.

use super::ChangeError;

/// Splits at blanks outside of quotes; quotes and escapes stay.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Removes quotes and escapes and puts in variables from `env`.
pub(super) fn expand(word: &str, env: &[String]) -> Result<String, ChangeError> {
    let mut out = String::new();
    let mut chars = word.chars().peekable();
    let mut double = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' if !double => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err(unclosed(word, "single")),
                }
            },
            '"' => double = !double,
            '\\' => match chars.next() {
                // Within double quotes a backslash escapes only what is special there.
                Some(c) if double && !matches!(c, '"' | '$' | '\\') => out.extend(['\\', c]),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            '$' => variable(word, &mut chars, env, &mut out)?,
            c => out.push(c),
        }
    }
    if double {
        return Err(unclosed(word, "double"));
    }
    Ok(out)
}

fn unclosed(word: &str, quote: &str) -> ChangeError {
    ChangeError::Unclosed(word.to_owned(), quote.to_owned())
}

type Chars<'c> = std::iter::Peekable<std::str::Chars<'c>>;

fn variable(word: &str, chars: &mut Chars<'_>, env: &[String], out: &mut String) -> Result<(), ChangeError> {
    let fail = |reason| Err(ChangeError::Word(word.to_owned(), reason));
    if chars.next_if_eq(&'{').is_none() {
        let name = name(chars);
        out.push_str(if name.is_empty() { "$" } else { lookup(env, &name) });
        return Ok(());
    }
    let name = name(chars);
    if name.is_empty() {
        return fail("bad substitution");
    }
    let value = lookup(env, &name);
    let operator = match chars.next() {
        Some('}') => {
            out.push_str(value);
            return Ok(());
        }
        Some(':') => chars.next(),
        _ => return fail("unsupported modifier in substitution"),
    };
    let Some(alternative) = until_brace(chars) else { return fail("syntax error: missing '}'") };
    match operator {
        Some('-') if value.is_empty() => out.push_str(&expand(&alternative, env)?),
        Some('+') if !value.is_empty() => out.push_str(&expand(&alternative, env)?),
        Some('+') => {}
        Some('?') if value.is_empty() => return fail("variable not set"),
        Some('-' | '?') => out.push_str(value),
        _ => return fail("unsupported modifier in substitution"),
    }
    Ok(())
}

/// The text before the brace that closes this one.
fn until_brace(chars: &mut Chars<'_>) -> Option<String> {
    let mut text = String::new();
    let mut depth = 0;
    loop {
        match chars.next()? {
            '}' if depth == 0 => return Some(text),
            c => {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                text.push(c);
            }
        }
    }
}

fn name(chars: &mut Chars<'_>) -> String {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
        // `$1x` is `$1` and an x, as in a shell.
        if name.len() == 1 && c.is_ascii_digit() {
            break;
        }
    }
    name
}

fn lookup<'e>(env: &'e [String], name: &str) -> &'e str {
    env.iter().find_map(|entry| entry.split_once('=').filter(|(key, _)| *key == name)).map_or("", |(_, value)| value)
}
