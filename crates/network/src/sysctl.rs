//! Kernel settings of the network namespace that the calling thread is in.

use crate::{Error, Result};
use std::fs;

/// Sets `/proc/sys/net/<key>`. Not written when it says so already: the file may be read-only.
pub(crate) fn set(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    let now = fs::read_to_string(&path).map_err(Error::kernel(format!("read {path}")))?;
    if now.trim_end() == value {
        return Ok(());
    }
    fs::write(&path, value).map_err(Error::kernel(format!("write {value} to {path}")))
}

/// Whether the setting exists and is on.
pub(crate) fn is_on(key: &str) -> bool {
    fs::read_to_string(format!("/proc/sys/net/{key}")).is_ok_and(|text| text.trim_end() != "0")
}
