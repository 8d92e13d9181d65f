//! `squash`: what the steps of a build did becomes one layer on the image that its last stage began with.
//!
//! The layers are laid, one after the other, through an overlay onto that image, so that the kernel says what of it is
//! still visible: its upper directory is the new layer, with the marks for what is gone.

use super::backend::open_layer;
use super::copy::NewLayer;
use super::files::image_id;
use crate::{Engine, blocking, version};
use gantry_image_builder::Built;
use gantry_image_store::extract::{Limits, MergeOptions, merge};
use gantry_image_store::pack::{Form, Found, Step, Walk, pack};
use gantry_image_store::{CommitOptions, Image, Top};
use gantry_model::error::Context;
use gantry_model::{Error, Result, Timestamp};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat2, statat, unlinkat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io, thread};

impl Engine {
    /// The image of a build with one layer instead of those of its steps.
    pub(super) async fn squash(self: &Arc<Self>, built: &Built, repeatable: bool) -> Result<String> {
        let (engine, image, base) = (self.clone(), built.image.clone(), built.base.clone());
        blocking(move || squash(&engine, &image, base.as_deref(), repeatable)).await
    }
}

fn squash(engine: &Engine, id: &str, base: Option<&str>, repeatable: bool) -> Result<String> {
    let find = |id: &str| {
        let missing = || Error::not_found(format!("No such image: {id}"));
        engine.images.get(&image_id(id)?).ok_or_else(missing)
    };
    let (image, below) = (find(id)?, base.map(find).transpose()?);
    let layer = NewLayer::new(engine, base)?;
    for dir in own_layers(engine, &image, below.as_deref())?.iter().rev() {
        put(&layer.view.root, dir)?;
    }
    let upper = layer.finish()?;
    let since = below.as_ref().map_or(0, |below| below.document.history.len());
    let mut steps = image.document.history.get(since..).unwrap_or_default().to_vec();
    for step in &mut steps {
        step.empty_layer = true;
    }
    let created: Option<Timestamp> = repeatable.then_some(image.document.created);
    let comment = base.map_or_else(|| format!("create new from {id}"), |base| format!("merge {id} to {base}"));
    let squashed = engine.images.commit(CommitOptions {
        base: base.map(image_id).transpose()?,
        top: Top::Given(&upper.layer),
        skip: &|_, _| false,
        check: &|| Ok(()),
        name: None,
        author: image.document.author.clone(),
        comment,
        created,
        steps,
        created_by: String::new(),
        engine_version: version::VERSION.to_owned(),
        container: String::new(),
        container_config: serde_json::Value::Null,
        config: image.document.config.clone(),
    })?;
    drop(upper.keep);
    Ok(squashed.to_string())
}

/// Directories of the layers that an image has on another one, the topmost first.
fn own_layers(engine: &Engine, image: &Image, below: Option<&Image>) -> Result<Vec<std::path::PathBuf>> {
    let shared = below.map_or(0, |below| below.layers.len());
    let own = image.layers.get(shared..).unwrap_or_default();
    // A layer that is there twice has one directory, in its upper place.
    let count = own.iter().map(|layer| &layer.diff_id).collect::<HashSet<_>>().len();
    let mut dirs = engine.images.rootfs_of(&image.id)?;
    dirs.truncate(count);
    Ok(dirs)
}

/// Does to a root what a layer does to those below it.
fn put(root: &OwnedFd, dir: &Path) -> Result<()> {
    let top = open_layer(dir)?;
    hide(root, &top).context("squashing layers")?;
    let options = MergeOptions {
        root,
        into: root,
        path: "/",
        keep_kinds: false,
        owner: None,
        ids: None,
        limits: Limits::default(),
    };
    let (mut archive, mut end) = io::pipe()?;
    thread::scope(|scope| {
        // The end moves in, so that the archive ends with the thread.
        let packer = scope.spawn(move || pack(&top, Form::Tree, None, &|found, _| found.is_whiteout(), &mut end));
        let merged = merge(&mut archive, &options);
        drop(archive);
        let packed = packer.join().map_err(|_| Error::internal("the packing thread panicked"))?;
        merged?;
        packed?;
        Ok(())
    })
}

/// Removes what a layer marks as removed, and what its opaque directories hide.
fn hide(root: &OwnedFd, top: &OwnedFd) -> io::Result<()> {
    let mut walk = Walk::new(top, b"")?;
    while let Some(step) = walk.step()? {
        let Step::Found(found) = step else { continue };
        if found.is_whiteout() || is_opaque(&found)? {
            remove(root, walk.path())?;
        }
        if found.kind() == FileType::Directory {
            walk.enter(&found)?;
        }
    }
    Ok(())
}

fn is_opaque(found: &Found) -> io::Result<bool> {
    if found.kind() == FileType::Directory { found.is_opaque() } else { Ok(false) }
}

/// Removes a path, if it is there, without following any link.
fn remove(root: &OwnedFd, path: &[u8]) -> io::Result<()> {
    let at = path.iter().rposition(|&b| b == b'/');
    let (parent, name) = at.map_or((&b"."[..], path), |at| (&path[..at], &path[at + 1..]));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let parent = match openat2(root, parent, flags, Mode::empty(), resolve) {
        Ok(parent) => parent,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(&parent, name, AtFlags::empty())?);
    }
    // The descriptor pins the parent; std removes below it without following links.
    let prefix = format!("/proc/self/fd/{}/", parent.as_raw_fd());
    fs::remove_dir_all(std::ffi::OsStr::from_bytes(&[prefix.as_bytes(), name].concat()))
}
