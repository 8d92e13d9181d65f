//! `PUT /containers/{id}/archive`.

use super::{path::Asked, path_error, view::View};
use crate::Engine;
use crate::container::{Container, Record};
use gantry_image_store::extract::{Limits, MergeOptions, merge};
use gantry_model::{Error, Result};
use gantry_runtime::view::owner;
use rustix::fs::{FileType, OFlags, StatVfsMountFlags, fstat, fstatvfs};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// How an archive is extracted.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractOptions {
    /// Neither replace a directory by something else nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Give everything to the container's user.
    pub copy_uid_gid: bool,
}

impl Engine {
    /// Extracts an archive, compressed or not, into a directory of a container.
    pub fn container_extract(
        &self,
        name: &str,
        path: &str,
        options: ExtractOptions,
        body: &mut (dyn Read + Send),
    ) -> Result<()> {
        let container = self.find(name)?;
        View::write(self, &container, |view| extract(view, &container, path, options, &mut *body))?;
        self.container_event(&container, "extract-to-dir", &[]);
        Ok(())
    }
}

fn extract(
    view: &View,
    container: &Container,
    path: &str,
    options: ExtractOptions,
    body: &mut (dyn Read + Send),
) -> Result<()> {
    let record = container.read().clone();
    let asked = Asked::parse(path);
    let failed = |e| path_error(container, path, &e);
    let into = view.open(&asked.path, OFlags::PATH).map_err(failed)?;
    let stat = fstat(&into).map_err(|e| failed(e.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::invalid("extraction point is not a directory"));
    }
    let resolved = view.evaluate(&asked.path).map_err(failed)?;
    check_writable(&record, &into, &resolved).map_err(|e| e.unwrap_or_else(|e| failed(e.into())))?;
    let owner = match record.config.user.as_str() {
        user if options.copy_uid_gid && !user.is_empty() => Some(owner(&view.root, user)?),
        _ => None,
    };
    let options = MergeOptions {
        root: &view.root,
        into: &into,
        path: &resolved,
        keep_kinds: options.no_overwrite_dir_non_dir,
        owner,
        ids: view.ids.as_ref(),
        // It may lead into a file system of the container's own, which is as full as its owner likes.
        limits: Limits { keep_free: 0, ..Limits::default() },
    };
    merge(body, &options)?;
    Ok(())
}

/// The kernel knows whether what was opened can be written to; the path only chooses the words.
fn check_writable(record: &Record, into: &OwnedFd, resolved: &str) -> Result<(), Result<Error, rustix::io::Errno>> {
    if !fstatvfs(into).map_err(Err)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let in_volume = record.mounts.iter().any(|m| Path::new(resolved).starts_with(&m.destination));
    let what = if in_volume { "mounted volume" } else { "container rootfs" };
    Err(Ok(Error::forbidden(format!("{what} is marked read-only"))))
}
