//! Who a process is, by the container's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are those of runc's `libcontainer/user`, as Docker applies them. The files are hostile:
//! read to a bound, and a line that makes no sense is no entry.

use crate::failure::{Failure, Result, Stage};
use crate::rootfs::resolve::Root;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Larger files are cut; nobody's account is found beyond.
const MAX_FILE: u64 = 16 << 20;
/// As many supplementary groups as the kernel takes.
const MAX_GROUPS: usize = 65536;
const MAX_ID: i64 = i32::MAX as i64;

/// A resolved user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups, without duplicates, the primary one among them.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Resolves `user[:group]` and further groups in the root's files.
pub(crate) fn resolve(root: &Root, user: &str, additional: &[String]) -> Result<Identity> {
    let passwd = read(root, "/etc/passwd");
    let group = read(root, "/etc/group");
    resolve_in(&passwd, &group, user, additional)
}

/// A missing or unreadable file has no entries. `NONBLOCK` and the file type keep a FIFO or a
/// device that a container put there from holding up or feeding the reader for ever.
fn read(root: &Root, path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(fd) = root.open(Path::new(path), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        let file = File::from(fd);
        if file.metadata().is_ok_and(|m| m.is_file()) {
            // What was read before an error still counts.
            let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

struct Account<'f> {
    name: &'f str,
    uid: u32,
    gid: u32,
    home: &'f str,
}

fn id(field: &str) -> Option<u32> {
    field.parse::<i64>().ok().filter(|n| (0..=MAX_ID).contains(n)).map(|n| n as u32)
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, uid, gid) = (fields.next()?, id(fields.nth(1)?)?, id(fields.next()?)?);
        (!name.is_empty()).then(|| Account { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// Name, id, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, gid) = (fields.next()?, id(fields.nth(1)?)?);
        (!name.is_empty()).then(|| (name, gid, fields.next().unwrap_or_default()))
    })
}

fn out_of_range() -> Failure {
    Failure::new(Stage::User, "uids and gids must be in range 0-2147483647")
}

/// A number that no file knows is fine; a name is not.
fn number(kind: &str, file: &str, text: &str) -> Result<u32> {
    if text.parse::<i64>().is_err() {
        let message = format!("unable to find {kind} {text}: no matching entries in {file} file");
        return Err(Failure::new(Stage::User, message));
    }
    id(text).ok_or_else(out_of_range)
}

fn find_group(group: &str, wanted: &str) -> Result<u32> {
    let numeric = wanted.parse::<i64>().ok();
    let found = groups(group).find(|(name, gid, _)| *name == wanted || numeric == Some(i64::from(*gid)));
    found.map_or_else(|| number("group", "group", wanted), |(_, gid, _)| Ok(gid))
}

pub(crate) fn resolve_in(passwd: &str, group: &str, spec: &str, additional: &[String]) -> Result<Identity> {
    let mut parts = spec.split(':');
    let (user_part, group_part) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let numeric = user_part.parse::<i64>().ok();
    let account = accounts(passwd).find(|a| match numeric {
        _ if user_part.is_empty() => a.uid == 0,
        Some(n) => i64::from(a.uid) == n,
        None => a.name == user_part,
    });
    let (uid, mut gid) = match &account {
        Some(account) => (account.uid, account.gid),
        None if user_part.is_empty() => (0, 0),
        None => (number("user", "passwd", user_part)?, 0),
    };
    let mut ids = Vec::new();
    if !group_part.is_empty() {
        gid = find_group(group, group_part)?;
    } else if let Some(account) = &account {
        let member = |members: &str| members.split(',').any(|m| m == account.name);
        ids.extend(groups(group).filter(|(_, _, members)| member(members)).map(|(_, gid, _)| gid).take(MAX_GROUPS));
    }
    // Without its primary group here, a process could lose a denial by dropping it (CVE-2022-36109).
    ids.insert(0, gid);
    for wanted in additional {
        ids.push(find_group(group, wanted)?);
    }
    let home = account.map(|a| a.home).filter(|h| !h.is_empty()).unwrap_or("/").to_owned();
    Ok(Identity { uid, gid, groups: unique(ids), home })
}

fn unique(ids: Vec<u32>) -> Vec<u32> {
    let mut seen = std::collections::BTreeSet::new();
    ids.into_iter().filter(|id| seen.insert(*id)).take(MAX_GROUPS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\n# comment\nbroken\nbad:x:abc:1::/x:\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n 42:x:7:7::/seven:\nbig:x:99999999999:1::/:\nnohome:x:5:5\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\naudio:x:63:app\nnot-a-group\n77:x:9:\n";

    fn ok(spec: &str) -> Identity {
        resolve_in(PASSWD, GROUP, spec, &[]).unwrap()
    }

    fn error(spec: &str, additional: &[String]) -> String {
        resolve_in(PASSWD, GROUP, spec, additional).unwrap_err().message
    }

    fn ids(identity: &Identity) -> (u32, u32, &[u32], &str) {
        (identity.uid, identity.gid, &identity.groups, &identity.home)
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(ids(&ok("")), (0, 0, &[0][..], "/root"));
        assert_eq!(ids(&ok("app")), (1000, 1001, &[1001, 50, 63][..], "/home/app"));
        assert_eq!(ids(&ok("1000")), ids(&ok("app")));
        assert_eq!(ids(&ok("app:staff")), (1000, 50, &[50][..], "/home/app"));
        assert_eq!(ids(&ok("app:12345")), (1000, 12345, &[12345][..], "/home/app"));
        assert_eq!(ids(&ok("4242")), (4242, 0, &[0][..], "/"));
        assert_eq!(ids(&ok(":staff")), (0, 50, &[50][..], "/root"));
        assert_eq!(ids(&ok("nohome")), (5, 5, &[5][..], "/"));
        // A number never matches a name that looks like one.
        assert_eq!(ids(&ok("42")), (42, 0, &[0][..], "/"));
    }

    #[test]
    fn additional_groups() {
        let identity = resolve_in(PASSWD, GROUP, "app", &["audio".into(), "3000".into()]).unwrap();
        assert_eq!(identity.groups, [1001, 50, 63, 3000]);
        assert_eq!(error("", &["nope".into()]), "unable to find group nope: no matching entries in group file");
    }

    #[test]
    fn errors_read_as_dockers() {
        assert_eq!(error("nope", &[]), "unable to find user nope: no matching entries in passwd file");
        assert_eq!(error("bad", &[]), "unable to find user bad: no matching entries in passwd file");
        assert_eq!(error("app:nope", &[]), "unable to find group nope: no matching entries in group file");
        assert_eq!(error("2147483648", &[]), "uids and gids must be in range 0-2147483647");
        assert_eq!(error("-1", &[]), "uids and gids must be in range 0-2147483647");
        assert_eq!(error("0:4294967296", &[]), "uids and gids must be in range 0-2147483647");
    }

    #[test]
    fn no_files_no_names() {
        assert_eq!(ids(&resolve_in("", "", "", &[]).unwrap()), (0, 0, &[0][..], "/"));
        assert!(resolve_in("", "", "root", &[]).is_err());
    }

    #[test]
    fn nonsense_is_never_more_than_no_entry() {
        // A deterministic walk through strings of the characters that mean something here.
        let alphabet = b"root:x0-9,\n#\xff \0";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let mut text = |max: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let bytes: Vec<u8> = (0..state % max)
                    .map(|i| alphabet[(state.rotate_left(i as u32 * 5) % alphabet.len() as u64) as usize])
                    .collect();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (passwd, group, spec) = (text(80), text(60), text(12));
            if let Ok(identity) = resolve_in(&passwd, &group, &spec, &[]) {
                assert!(identity.uid <= MAX_ID as u32 && identity.gid <= MAX_ID as u32);
            }
        }
    }
}
