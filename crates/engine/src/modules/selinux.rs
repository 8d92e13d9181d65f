//! SELinux: labels of containers, by the policy's own file of contexts for them.

use gantry_model::error::Context;
use gantry_model::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// Categories of the policy that containers are kept apart by.
const CATEGORIES: u32 = 1024;

/// Labels of a container; empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Labels {
    /// Of its processes.
    pub(crate) process: String,
    /// Of its files.
    pub(crate) mount: String,
}

/// The contexts that the policy has for containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    process: String,
    file: String,
}

impl Policy {
    /// `None` where the kernel does not have SELinux.
    pub(super) fn find(sys: &Path, etc: &Path) -> Result<Option<Self>> {
        if !sys.join("fs/selinux/enforce").exists() {
            return Ok(None);
        }
        let config = fs::read_to_string(etc.join("selinux/config")).unwrap_or_default();
        let kind = value(&config, "SELINUXTYPE").unwrap_or_else(|| "targeted".to_owned());
        let path = etc.join("selinux").join(kind).join("contexts/lxc_contexts");
        let contexts = fs::read_to_string(&path).context(format!("selinux-enabled: {}", path.display()))?;
        let context = |key| {
            value(&contexts, key).ok_or_else(|| Error::invalid(format!("{}: {key:?} is missing", path.display())))
        };
        Ok(Some(Self { process: context("process")?, file: context("file")? }))
    }

    /// Labels by the options of a container, with categories of its own unless they say a level.
    pub(super) fn labels(&self, options: &[&str]) -> Result<Labels> {
        if options.contains(&"disable") {
            return Ok(Labels::default());
        }
        let mut process = Label::parse(&self.process)?;
        let mut file = Label::parse(&self.file)?;
        let level = format!("s0:{}", random_categories());
        (process.level, file.level) = (level.clone(), level);
        for option in options {
            let bad = || {
                Error::invalid(format!(
                    "bad label option {option:?}, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value"
                ))
            };
            let (key, value) = option.split_once(':').filter(|(_, value)| !value.is_empty()).ok_or_else(bad)?;
            match key {
                "user" => (process.user, file.user) = (value.to_owned(), value.to_owned()),
                // Files have a role of their own.
                "role" => value.clone_into(&mut process.role),
                "type" => value.clone_into(&mut process.kind),
                "filetype" => value.clone_into(&mut file.kind),
                "level" => (process.level, file.level) = (value.to_owned(), value.to_owned()),
                _ => return Err(bad()),
            }
        }
        Ok(Labels { process: process.text(), mount: file.text() })
    }
}

/// The label of files that every container may use: without categories.
pub(super) fn shared(mount: &str) -> Result<String> {
    Ok(Label { level: "s0".to_owned(), ..Label::parse(mount)? }.text())
}

struct Label {
    user: String,
    role: String,
    kind: String,
    level: String,
}

impl Label {
    fn parse(text: &str) -> Result<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        let mut next = || parts.next().ok_or_else(|| Error::invalid(format!("{text:?} is no SELinux context")));
        Ok(Self { user: next()?, role: next()?, kind: next()?, level: next().unwrap_or_else(|_| "s0".to_owned()) })
    }

    fn text(&self) -> String {
        format!("{}:{}:{}:{}", self.user, self.role, self.kind, self.level)
    }
}

/// `key = "value"`, with or without spaces and quotes.
fn value(text: &str, key: &str) -> Option<String> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).find_map(|line| {
        let (name, value) = line.split_once('=')?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// Two categories, of which there are half a million pairs.
fn random_categories() -> String {
    let id = gantry_model::Id::random().to_string();
    let number = |digits: &str| u32::from_str_radix(digits, 16).unwrap_or(0) % CATEGORIES;
    let (a, mut b) = (number(&id[..8]), number(&id[8..16]));
    if a == b {
        b = (b + 1) % CATEGORIES;
    }
    format!("c{},c{}", a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> (tempfile::TempDir, Option<Policy>) {
        let dir = tempfile::tempdir().unwrap();
        let (sys, etc) = (dir.path().join("sys"), dir.path().join("etc"));
        assert_eq!(Policy::find(&sys, &etc).unwrap(), None);
        fs::create_dir_all(sys.join("fs/selinux")).unwrap();
        fs::write(sys.join("fs/selinux/enforce"), "1").unwrap();
        assert!(Policy::find(&sys, &etc).is_err());
        fs::create_dir_all(etc.join("selinux/mls/contexts")).unwrap();
        fs::write(etc.join("selinux/config"), "# comment\nSELINUX=enforcing\nSELINUXTYPE=mls\n").unwrap();
        let contexts =
            "process = \"system_u:system_r:container_t:s0\"\nfile = \"system_u:object_r:container_file_t:s0\"\n";
        fs::write(etc.join("selinux/mls/contexts/lxc_contexts"), contexts).unwrap();
        let found = Policy::find(&sys, &etc).unwrap();
        (dir, found)
    }

    #[test]
    fn labels_follow_the_options() {
        let (_dir, policy) = policy();
        let policy = policy.unwrap();
        let labels = policy.labels(&["type:svirt_t", "level:s0:c1,c2", "user:u", "role:r", "filetype:f"]).unwrap();
        assert_eq!((labels.process.as_str(), labels.mount.as_str()), ("u:r:svirt_t:s0:c1,c2", "u:object_r:f:s0:c1,c2"));
        let (one, other) = (policy.labels(&[]).unwrap(), policy.labels(&[]).unwrap());
        assert!(one.process.starts_with("system_u:system_r:container_t:s0:c") && one.process != other.process);
        assert_eq!(one.process.rsplit(':').next(), one.mount.rsplit(':').next());
        assert_eq!(policy.labels(&["disable"]).unwrap(), Labels::default());
        assert_eq!(shared(&one.mount).unwrap(), "system_u:object_r:container_file_t:s0");
        for bad in ["bad", "bad:x", "type:"] {
            assert!(policy.labels(&[bad]).unwrap_err().to_string().starts_with("bad label option"), "{bad}");
        }
    }
}
