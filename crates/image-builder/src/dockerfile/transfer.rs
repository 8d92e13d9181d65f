//! `ADD` and `COPY`.

use super::lines::{HereDoc, document};
use super::{Command, Text, Transfer, flags, words};

pub(super) fn parse(name: &str, text: &str, mut documents: Vec<HereDoc>, escape: char) -> Text<Command> {
    let (mut flags, rest) = flags::take(text, escape);
    let mut transfer = Transfer {
        chown: flags.value("chown")?.filter(|v| !v.is_empty()),
        chmod: flags.value("chmod")?.filter(|v| !v.is_empty()),
        link: flags.switch("link")?,
        exclude: flags.values("exclude")?,
        ..Transfer::default()
    };
    if name == "COPY" {
        transfer.from = flags.value("from")?.filter(|v| !v.is_empty());
        transfer.parents = flags.switch("parents")?;
    } else {
        transfer.checksum = flags.value("checksum")?.filter(|v| !v.is_empty());
        transfer.keep_git_dir = flags.switch("keep-git-dir")?;
        transfer.unpack = match flags.value_or("unpack", "true")?.as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(format!("Expecting boolean value for flag unpack, not: {other}")),
        };
    }
    flags.none_left()?;
    let mut list = words::json_or_plain(rest);
    let Some(destination) = list.pop().filter(|_| !list.is_empty()) else {
        return Err(format!(
            "{name} requires at least two arguments, but only one was provided. Destination could not be determined"
        ));
    };
    if document(&destination, escape)?.is_some() {
        return Err(format!("{name} cannot accept a heredoc as a destination"));
    }
    for word in list {
        match document(&word, escape)? {
            Some(announced) if !documents.is_empty() => {
                let at = documents.iter().position(|d| d.name == announced.name).unwrap_or(0);
                transfer.documents.push(documents.remove(at));
            }
            _ => transfer.sources.push(word),
        }
    }
    transfer.destination = destination;
    Ok(if name == "COPY" { Command::Copy(transfer) } else { Command::Add(transfer) })
}
