//! `/containers/{id}/archive`: files out of a container and into it.
//!
//! The calls block: archives are streams. Everything happens on a view of the container's files (`view.rs`) by
//! descriptors; no program and no library of the container's is ever run or loaded (CVE-2019-14271).

mod extract;
mod path;
mod view;

pub use extract::ExtractOptions;
pub(crate) use view::View;

use crate::Engine;
use crate::container::Container;
use gantry_image_store::pack::{Found, pack_object};
use gantry_model::{Error, Result, Timestamp};
use path::Asked;
use rustix::fs::{FileType, Stat};
use serde::Serialize;
use std::io::{self, Write};
use std::sync::Arc;

/// What a client is told about a file, in the header `X-Docker-Container-Path-Stat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathStat {
    /// The last component of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Type and permissions as Go's `fs.FileMode` numbers them.
    pub mode: u32,
    /// The time of the last change.
    pub mtime: String,
    /// Where a symbolic link leads in the end.
    pub link_target: String,
}

/// A file or directory of a container, ready to be archived.
#[derive(Debug)]
pub struct ArchiveSource {
    /// What it is.
    pub stat: PathStat,
    container: Arc<Container>,
    found: Found,
    /// What the archive calls it.
    name: Vec<u8>,
    /// Keeps what the descriptors lead to.
    view: View,
}

impl Engine {
    /// Looks at a file of a container.
    pub fn container_archive(&self, name: &str, path: &str) -> Result<ArchiveSource> {
        let container = self.find(name)?;
        let view = View::to_read(self, &container)?;
        let asked = Asked::parse(path);
        let failed = |e| path_error(&container, path, &e);
        let found = view.find(&asked).map_err(failed)?;
        let link_target = match found.kind() {
            FileType::Symlink => view.evaluate(&asked.path).map_err(failed)?,
            _ => String::new(),
        };
        let stat = PathStat {
            name: asked.name().to_owned(),
            size: found.stat.st_size,
            mode: go_mode(&found.stat),
            mtime: modified(&found.stat).to_string(),
            link_target,
        };
        let name = asked.name().trim_start_matches('/').as_bytes().to_vec();
        Ok(ArchiveSource { stat, container, found, name, view })
    }

    /// Writes the archive of a file.
    pub fn write_archive(&self, source: &ArchiveSource, out: &mut dyn Write) -> Result<()> {
        self.container_event(&source.container, "archive-path", &[]);
        pack_object(&source.found, &source.name, source.view.ids.as_ref(), out)?;
        Ok(())
    }
}

/// What it means that a path cannot be opened.
fn path_error(container: &Container, path: &str, error: &io::Error) -> Error {
    match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::NOENT) => {
            Error::not_found(format!("Could not find the file {path} in container {}", container.id))
        }
        Some(rustix::io::Errno::NOTDIR) => Error::invalid(format!("lstat {path}: not a directory")),
        Some(rustix::io::Errno::LOOP) => Error::invalid(format!("too many links in {path}")),
        Some(rustix::io::Errno::NAMETOOLONG) => Error::invalid(format!("lstat {path}: file name too long")),
        Some(rustix::io::Errno::INVAL) if path.contains('\0') => Error::invalid("a path contains NUL"),
        _ => Error::internal(format!("lstat {path}: {error}")),
    }
}

fn modified(stat: &Stat) -> Timestamp {
    Timestamp::from_unix_nanos(i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec))
}

/// Go's numbers for what the kernel says.
fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| stat.st_mode & bit != 0).fold(0, |all, (_, go)| all | go);
    kind | special | stat.st_mode & 0o777
}
