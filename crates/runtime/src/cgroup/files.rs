//! Reading and writing a cgroup's files.

use crate::failure::{Failure, Result, Stage, errno_text};
use std::fmt::Display;
use std::fs;
use std::io;
use std::io::Write;
use std::path::Path;

/// Writes a value with one `write(2)`; the kernel never sees half of it.
pub(super) fn write(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(dir.join(file))?.write_all(value.as_bytes())
}

/// [`write`], as part of applying limits.
pub(super) fn set(dir: &Path, file: &str, value: impl Display) -> Result<()> {
    let value = value.to_string();
    write(dir, file, &value).map_err(|e| {
        let why = match e.kind() {
            io::ErrorKind::NotFound => "the kernel lacks this controller or setting".to_owned(),
            _ => errno_text(&e),
        };
        Failure {
            stage: Stage::Setup,
            errno: e.raw_os_error().unwrap_or(0),
            message: format!("failed to write {value:?} to cgroup file {file}: {why}"),
        }
    })
}

/// [`set`] unless there is nothing to set.
pub(super) fn set_some<T: Display>(dir: &Path, file: &str, value: Option<T>) -> Result<()> {
    value.map_or(Ok(()), |value| set(dir, file, value))
}

/// The value of a key in a file of `key value` lines.
pub(super) fn keyed(dir: &Path, file: &str, key: &str) -> io::Result<Option<u64>> {
    let text = fs::read_to_string(dir.join(file))?;
    Ok(text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    }))
}

/// Makes a directory and its missing parents; one that exists is fine.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// The number that a file holds; `None` if it has none, for instance because it says `max`.
pub(super) fn read_number(dir: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(dir.join(file)).ok()?.trim().parse().ok()
}
