//! The command line, read the way pflag reads it: `--flag value`, `--flag=value`, `-f value`,
//! `-fvalue`, `-f=value`, grouped short switches, and switches that take a value only after `=`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{OPTIONS, Opt, OptionError};

/// What the command line said, by flag name.
pub(crate) type Given = BTreeMap<&'static str, Value>;

/// Reads the flags after `gantry daemon`.
pub(crate) fn parse(args: &[String]) -> Result<Given, OptionError> {
    let mut given = Given::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            if let Some(extra) = rest.next() {
                return Err(OptionError::Argument(extra.clone()));
            }
        } else if let Some(long) = word.strip_prefix("--") {
            long_flag(&mut given, long, &mut rest)?;
        } else if let Some(shorts) = word.strip_prefix('-').filter(|shorts| !shorts.is_empty()) {
            short_flags(&mut given, shorts, &mut rest)?;
        } else {
            return Err(OptionError::Argument(word.clone()));
        }
    }
    Ok(given)
}

fn long_flag<'a>(
    given: &mut Given,
    word: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), OptionError> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let opt = OPTIONS
        .iter()
        .find(|opt| !opt.flag.is_empty() && opt.flag == name)
        .ok_or_else(|| OptionError::UnknownFlag(name.to_owned()))?;
    match value {
        Some(value) => set(given, opt, value),
        None if opt.shape.is_switch() => set(given, opt, "true"),
        None => {
            let value = rest.next().ok_or_else(|| OptionError::NeedsArgument(format!("--{name}")))?;
            set(given, opt, value)
        }
    }
}

fn short_flags<'a>(
    given: &mut Given,
    word: &str,
    rest: &mut impl Iterator<Item = &'a String>,
) -> Result<(), OptionError> {
    for (at, short) in word.char_indices() {
        let opt = OPTIONS
            .iter()
            .find(|opt| opt.short == Some(short))
            .ok_or_else(|| OptionError::UnknownShort(short, word.to_owned()))?;
        let after = &word[at + short.len_utf8()..];
        if let Some(value) = after.strip_prefix('=') {
            return set(given, opt, value);
        }
        if opt.shape.is_switch() {
            set(given, opt, "true")?;
            continue;
        }
        if !after.is_empty() {
            return set(given, opt, after);
        }
        let missing = || OptionError::NeedsArgument(format!("'{short}' in -{word}"));
        return set(given, opt, rest.next().ok_or_else(missing)?);
    }
    Ok(())
}

fn set(given: &mut Given, opt: &Opt, text: &str) -> Result<(), OptionError> {
    let before = given.remove(opt.flag);
    let value = opt.shape.take(before, text).map_err(|why| OptionError::BadFlag {
        flag: opt.short.map_or_else(|| format!("--{}", opt.flag), |short| format!("-{short}, --{}", opt.flag)),
        value: text.to_owned(),
        why,
    })?;
    given.insert(opt.flag, value);
    Ok(())
}
