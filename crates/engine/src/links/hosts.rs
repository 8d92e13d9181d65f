//! Links in `/etc/hosts`.

use super::Live;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The container may write to the file; more than this is not read.
const MOST: u64 = 1 << 20;

/// The target's address with its alias, its host name, and its name if that is another.
pub(super) fn line(link: &Live) -> String {
    let record = link.target.read();
    let mut line = format!("{}\t{} {}", link.address(), link.alias, record.config.hostname);
    if record.name != link.alias {
        let _ = write!(line, " {}", record.name);
    }
    line.push('\n');
    line
}

/// Gives the lines whose first name is `alias` another address, or removes them.
pub(super) fn change(path: &Path, alias: &str, address: Option<Ipv4Addr>) -> io::Result<()> {
    edit(path, |text| changed(text, alias, address))
}

/// Adds lines.
pub(crate) fn append(path: &Path, lines: &str) -> io::Result<()> {
    edit(path, |text| {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}{lines}")
    })
}

/// Removes each of the lines once, if it is there.
pub(crate) fn remove(path: &Path, lines: &str) -> io::Result<()> {
    edit(path, |text| without(text, lines))
}

fn without(text: &str, lines: &str) -> String {
    let mut gone: Vec<&str> = lines.lines().collect();
    let stays = |line: &&str| match gone.iter().position(|gone| *gone == line.trim_end_matches('\n')) {
        Some(at) => {
            gone.remove(at);
            false
        }
        None => true,
    };
    text.split_inclusive('\n').filter(stays).collect()
}

/// In place, for the container has the file itself mounted.
fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> io::Result<()> {
    // The daemon's own file below its data-root; whoever can put a link there is root anyway.
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
        .open(path)?;
    let mut text = String::new();
    Read::by_ref(&mut file).take(MOST).read_to_string(&mut text)?;
    let new = change(&text);
    if new != text {
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(new.as_bytes())?;
    }
    Ok(())
}

fn changed(text: &str, alias: &str, address: Option<Ipv4Addr>) -> String {
    let mut new = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let names = line.trim_start_matches(|c: char| !c.is_whitespace());
        match (names.split_ascii_whitespace().next() == Some(alias), address) {
            (false, _) => new.push_str(line),
            (true, Some(address)) => {
                let _ = write!(new, "{address}{names}");
            }
            (true, None) => {}
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::{changed, without};
    use std::net::Ipv4Addr;

    #[test]
    fn only_the_alias_changes() {
        let text = "127.0.0.1\tlocalhost\n172.17.0.2\tdb host name\n172.17.0.3\tme db\n";
        let new = Some(Ipv4Addr::new(172, 17, 0, 9));
        assert_eq!(changed(text, "db", new), text.replace("0.2\tdb", "0.9\tdb"));
        assert_eq!(changed(text, "db", None), "127.0.0.1\tlocalhost\n172.17.0.3\tme db\n");
        assert_eq!(changed("172.17.0.2\tdb", "db", new), "172.17.0.9\tdb");
        assert_eq!(changed("", "db", new), "");
    }

    #[test]
    fn lines_go_once() {
        assert_eq!(without("a\nb\na\n", "a\n"), "b\na\n");
        assert_eq!(without("a\nb", "b\nc\n"), "a\n");
    }
}
