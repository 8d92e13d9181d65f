//! Kernel settings of the network namespace that the calling thread is in.

use crate::{Error, Result};
use std::fs;
use std::path::Path;

/// Sets `/proc/sys/net/<key>`. Not written when it says so already: the file may be read-only.
pub(crate) fn set(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    let now = fs::read_to_string(&path).map_err(Error::kernel(format!("read {path}")))?;
    if now.trim_end() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::kernel(format!("write {value} to {path}")))
}

/// What the setting says.
pub(crate) fn get(key: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/net/{key}")).ok().map(|text| text.trim_end().to_owned())
}

/// Whether the setting exists and is on.
pub(crate) fn is_on(key: &str) -> bool {
    get(key).is_some_and(|value| value != "0")
}

/// Whether the kernel has IPv6.
pub(crate) fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// The names in a directory of settings.
pub(crate) fn list(key: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/sys/net/{key}")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
