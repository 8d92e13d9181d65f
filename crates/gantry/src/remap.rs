//! `userns-remap`: whose subordinate ids containers get, by `/etc/passwd`, `/etc/subuid` and their like.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use gantry_engine::IdMaps;
use gantry_engine::id_map::{IdMap, IdRange};
use tracing::{info, warn};

/// The user that `default` means; made when it is not there, as dockerd does.
const DEFAULT_USER: &str = "dockremap";
/// Where the first range of the machine begins, and how large ours is: what useradd(8) does by default.
const FIRST: u32 = 100_000;
const COUNT: u32 = 65536;

/// The maps that the setting asks for; `None` for none, and for root, which would be mapped to itself.
pub(crate) fn of_setting(setting: &str) -> Result<Option<IdMaps>> {
    if setting.is_empty() {
        return Ok(None);
    }
    let files = Files { etc: PathBuf::from("/etc") };
    let user = files.user_of(setting, &make_default_user)?;
    if user == "root" {
        warn!("User namespaces: root cannot be remapped with itself; user namespaces are OFF");
        return Ok(None);
    }
    info!("User namespaces: ID ranges will be mapped to subuid/subgid ranges of: {user}");
    files.maps(&user).map(Some).context("Can't create ID mappings")
}

/// The files of accounts.
struct Files {
    etc: PathBuf,
}

/// A line of passwd(5) or group(5).
struct Account {
    name: String,
    id: u32,
}

impl Files {
    fn read(&self, name: &str) -> Result<String> {
        let path = self.etc.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn find(&self, file: &str, wanted: &str) -> Result<Option<Account>> {
        let number: Option<u32> = wanted.parse().ok();
        let text = self.read(file)?;
        let account = |line: &str| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?);
            Some(Account { name, id })
        };
        let fits = |a: &Account| number.map_or(a.name == wanted, |number| a.id == number);
        Ok(text.lines().filter_map(account).find(fits))
    }

    /// The name of the user; what is given of a group must be right, though only the user's ranges count.
    fn user_of(&self, setting: &str, make_default: &dyn Fn(&Self) -> Result<()>) -> Result<String> {
        let mut parts = setting.split(':');
        let (user, group) = (parts.next().unwrap_or_default(), parts.next());
        ensure!(parts.next().is_none(), "Invalid user/group specification in --userns-remap: {setting:?}");
        let name = if user == "default" { DEFAULT_USER } else { user };
        let numeric = user.parse::<u32>().is_ok();
        let account = match self.find("passwd", name)? {
            Some(account) => account,
            None if user == "default" => {
                make_default(self).with_context(|| format!("Error during {DEFAULT_USER:?} user creation"))?;
                return Ok(DEFAULT_USER.to_owned());
            }
            None if numeric => bail!("Uid {user} has no entry in /etc/passwd"),
            None => bail!("Error during uid lookup for {name:?}: no such user"),
        };
        let group = group.unwrap_or(name);
        if self.find("group", group)?.is_none() {
            match group.parse::<u32>() {
                Ok(gid) => bail!("Gid {gid} has no entry in /etc/group"),
                Err(_) => bail!("Error during gid lookup for {group:?}: no such group"),
            }
        }
        Ok(account.name)
    }

    /// Ranges of `/etc/subuid` or `/etc/subgid`: lines of the user's name, of its number, and of `ALL`.
    fn ranges(&self, file: &str, user: &str) -> Result<Vec<(u32, u32)>> {
        let number = self.find("passwd", user)?.map(|account| account.id.to_string()).unwrap_or_default();
        let text = self.read(file)?;
        let mut ranges = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(':').collect();
            let [owner, start, count] = fields[..] else {
                bail!("cannot parse subuid/gid information: Format not correct for {file} file")
            };
            if owner == user || owner == number || owner == "ALL" {
                let number = |text: &str| {
                    text.parse::<u32>().with_context(|| {
                        format!("string to int conversion failed during subuid/gid parsing of {file}: {text:?}")
                    })
                };
                ranges.push((number(start)?, number(count)?));
            }
        }
        ensure!(!ranges.is_empty(), "no {file} ranges found for user {user:?}");
        Ok(ranges)
    }

    fn maps(&self, user: &str) -> Result<IdMaps> {
        let map = |file| map_of(&self.ranges(file, user)?).with_context(|| format!("/etc/{file}"));
        Ok(IdMaps { uids: map("subuid")?, gids: map("subgid")? })
    }
}

/// The ranges one after the other, from the lowest on, as the ids from 0 on.
fn map_of(ranges: &[(u32, u32)]) -> Result<IdMap> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut inside = 0u32;
    let mut map = Vec::new();
    let mut end = 0u32;
    for (outside, count) in sorted {
        ensure!(outside >= end && outside != 0, "the ranges overlap, or contain the host's root");
        end = outside.checked_add(count).context("a range is too large")?;
        map.push(IdRange { inside, outside, count });
        inside = inside.checked_add(count).context("the ranges are too large")?;
    }
    Ok(IdMap(map))
}

/// Makes user, group and ranges by the system's own tools, so that its locks and its rules apply.
fn make_default_user(files: &Files) -> Result<()> {
    run("useradd", &["--system", "--user-group", "--no-create-home", "--shell", "/bin/false", DEFAULT_USER]).or_else(
        |e| {
            let debian = ["--system", "--shell", "/bin/false", "--no-create-home", "--disabled-login"];
            let more = ["--disabled-password", "--group", DEFAULT_USER];
            run("adduser", &[&debian[..], &more].concat()).map_err(|_| e)
        },
    )?;
    // Some systems give ranges to every user that is made.
    for (file, option) in [("subuid", "-v"), ("subgid", "-w")] {
        if files.ranges(file, DEFAULT_USER).is_err() {
            let path = files.etc.join(file);
            let start = free_range(&std::fs::read_to_string(&path).unwrap_or_default());
            run("usermod", &[option, &format!("{start}-{}", start + COUNT - 1), DEFAULT_USER])?;
        }
    }
    Ok(())
}

/// The first number after every range of the file.
fn free_range(text: &str) -> u32 {
    let ends = text.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u32>().ok());
        fields.next()??.checked_add(fields.next()??)
    });
    ends.fold(FIRST, u32::max)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    // Also where the daemon's environment has no such directories.
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(program));
    let path = found.iter().find(|path| path.exists()).with_context(|| format!("there is no {program}"))?;
    let output = Command::new(path).args(arguments).output().with_context(|| format!("running {program}"))?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(subuid: &str) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\nbob:x:1001:1002::/:/bin/sh\n";
        for (name, text) in [
            ("passwd", passwd),
            ("group", "root:x:0:\nann:x:1000:\nstaff:x:50:ann\n"),
            ("subuid", subuid),
            ("subgid", "ann:200000:65536\n"),
        ] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let files = Files { etc: dir.path().to_owned() };
        (dir, files)
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let (_dir, files) = files("");
        let name = |setting: &str| files.user_of(setting, &|_| bail!("made"));
        for good in ["ann", "ann:staff", "ann:50", "1000", "1000:50", "bob:ann"] {
            assert!(name(good).is_ok(), "{good}");
        }
        assert_eq!(name("1000").unwrap(), "ann");
        let error = |setting: &str| format!("{:#}", name(setting).unwrap_err());
        assert_eq!(error("a:b:c"), "Invalid user/group specification in --userns-remap: \"a:b:c\"");
        assert_eq!(error("nobody-here"), "Error during uid lookup for \"nobody-here\": no such user");
        assert_eq!(error("4242"), "Uid 4242 has no entry in /etc/passwd");
        assert_eq!(error("bob"), "Error during gid lookup for \"bob\": no such group");
        assert_eq!(error("ann:77"), "Gid 77 has no entry in /etc/group");
        assert_eq!(error("default"), "Error during \"dockremap\" user creation: made");
    }

    #[test]
    fn ranges_become_maps() {
        let (_dir, files) = files("# mine\nann:300000:10\nbob:1:1\n1000:100000:1000\n");
        let maps = files.maps("ann").unwrap();
        assert_eq!(maps.uids.text(), "0 100000 1000\n1000 300000 10\n");
        assert_eq!(maps.gids.text(), "0 200000 65536\n");
        assert_eq!(format!("{:#}", files.maps("bob").unwrap_err()), "no subgid ranges found for user \"bob\"");
        assert!(
            map_of(&[(1, 10), (5, 10)]).is_err() && map_of(&[(0, 10)]).is_err() && map_of(&[(u32::MAX, 2)]).is_err()
        );
    }

    #[test]
    fn a_new_range_follows_all_others() {
        assert_eq!(free_range(""), 100_000);
        assert_eq!(free_range("a:100000:65536\nb:165536:65536\n"), 231_072);
        assert_eq!(free_range("a:1000:10\nbroken\n"), 100_000);
    }
}
