//! `GET /containers/{id}/changes`: what the container did to its image's files.

use crate::Engine;
use crate::own_layer::OwnLayer;
use gantry_api_types::ChangeItem;
use gantry_image_store::pack::{Found, Step, Walk};
use gantry_model::Result;
use gantry_model::error::Context;
use rustix::fs::{FileType, Stat};
use std::os::fd::OwnedFd;

const MODIFIED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;

/// A directory on the way down.
struct Level {
    /// The same directory in the image.
    below: Option<OwnedFd>,
    /// It was told already.
    told: bool,
}

impl Engine {
    /// Tells every change, a directory before what is in it. Blocks.
    pub fn container_changes(&self, name: &str, tell: &mut dyn FnMut(ChangeItem) -> Result<()>) -> Result<()> {
        let container = self.find(name)?;
        let layer = OwnLayer::open(self, &container)?;
        let mut levels = vec![Level { below: Some(layer.image.try_clone()?), told: true }];
        let mut walk = Walk::new(&layer.upper, b"/").context("reading the container's layer")?;
        while let Some(step) = walk.step().context("reading the container's layer")? {
            let Step::Found(found) = step else {
                levels.pop();
                continue;
            };
            let path = walk.path();
            if layer.is_ours(&found, &path[1..]) {
                continue;
            }
            let Some(parent) = levels.last_mut() else { break };
            let name = walk.name();
            let below = parent.below.as_ref().and_then(|dir| OwnLayer::look(dir, name));
            let is_dir = found.kind() == FileType::Directory;
            let kind = kind(&found, below.as_ref());
            if let Some(kind) = kind {
                if kind != MODIFIED && !std::mem::replace(&mut parent.told, true) {
                    let end = path.len() - name.len() - 1;
                    tell(item(&path[..end], MODIFIED))?;
                }
                tell(item(path, kind))?;
            }
            if is_dir {
                let below = parent.below.as_ref().and_then(|dir| OwnLayer::descend(dir, name));
                levels.push(Level { below, told: kind.is_some() });
                walk.enter(&found).context("reading the container's layer")?;
            }
        }
        Ok(())
    }
}

/// `None`: a directory that is only there because of what is in it.
fn kind(found: &Found, below: Option<&Stat>) -> Option<u8> {
    if found.is_whiteout() {
        return Some(DELETED);
    }
    let Some(below) = below else { return Some(ADDED) };
    let is_dir = |mode| FileType::from_raw_mode(mode) == FileType::Directory;
    let own = &found.stat;
    let same_time =
        own.st_mtime == below.st_mtime && (own.st_mtime_nsec == below.st_mtime_nsec || below.st_mtime_nsec == 0);
    let same = own.st_mode == below.st_mode && own.st_size == below.st_size && same_time;
    (!(same && is_dir(own.st_mode) && is_dir(below.st_mode))).then_some(MODIFIED)
}

fn item(path: &[u8], kind: u8) -> ChangeItem {
    ChangeItem { path: String::from_utf8_lossy(path).into_owned(), kind }
}
