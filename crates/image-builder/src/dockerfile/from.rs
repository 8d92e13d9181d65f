//! `FROM [--platform=...] image [AS name]`.

use super::{Text, flags};

/// The beginning of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    pub(super) image: String,
    pub(super) platform: Option<String>,
    pub(super) name: Option<String>,
}

pub(super) fn parse(text: &str, escape: char) -> Text<From> {
    let (mut flags, rest) = flags::take(text, escape);
    let platform = flags.value("platform")?;
    flags.none_left()?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words[..] {
        [image] => (image, None),
        [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => (image, Some(stage_name(name)?)),
        _ => return Err("FROM requires either one argument, or three: FROM <source> [AS <name>]".to_owned()),
    };
    Ok(From { image: image.to_owned(), platform, name })
}

/// Names begin with a letter, so that they are not taken for numbers of stages.
fn stage_name(name: &str) -> Text<String> {
    let lower = name.to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if lower.starts_with(|c: char| c.is_ascii_lowercase()) && lower.chars().all(plain) {
        return Ok(lower);
    }
    Err(format!("invalid name for build stage: {name:?}, name can't start with a number or contain symbols"))
}
