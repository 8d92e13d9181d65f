//! What a client sends along: files, and among them a Dockerfile.

use super::options::ImageBuild;
use super::spool::Spool;
use crate::Engine;
use gantry_image_builder::dockerfile::MAX_SIZE;
use gantry_image_builder::{Dockerfile, Ignore, Source, Tree, ignore, source};
use gantry_model::{Error, Result};
use std::io::Read;
use std::sync::Arc;

/// The largest `.dockerignore`.
const MAX_IGNORE: usize = 4 << 20;

/// A build context that has arrived.
#[derive(Debug)]
pub struct BuildContext {
    pub(super) spool: Spool,
}

impl Engine {
    /// Reads a context, an archive of files. Blocks.
    pub fn build_context(&self, body: &mut dyn Read) -> Result<BuildContext> {
        let dir = self.build_dir()?.join("tmp");
        Ok(BuildContext { spool: Spool::read(body, &dir)? })
    }
}

impl BuildContext {
    /// Reads the Dockerfile and takes away what is not part of the context.
    pub(super) fn prepare(self, request: &ImageBuild) -> Result<(Dockerfile, Arc<Spool>)> {
        let Self { mut spool } = self;
        let (name, text) = dockerfile(&spool, &request.dockerfile)?;
        let own = format!("{name}.dockerignore");
        let rules = match spool.small_file(&own, MAX_IGNORE)? {
            Some(rules) => Some(rules),
            None => spool.small_file(ignore::FILE, MAX_IGNORE)?,
        };
        if let Some(rules) = rules {
            let rules = Ignore::parse(&String::from_utf8_lossy(&rules)).map_err(|e| Error::invalid(e.to_string()))?;
            spool = spool.without(&rules)?;
        }
        let file = Dockerfile::parse(&name, &text)?;
        Ok((file, Arc::new(spool)))
    }
}

/// The Dockerfile's path and text.
fn dockerfile(spool: &Spool, asked: &str) -> Result<(String, Vec<u8>)> {
    let name = if asked.is_empty() { "Dockerfile" } else { asked };
    let outside = || Error::invalid(format!("Forbidden path outside the build context: {name} ()"));
    let clean = Tree::clean(name.as_bytes()).map_err(|_| outside())?;
    let mut clean = String::from_utf8_lossy(&clean).into_owned();
    // People who do not say how it is called may have written it small.
    if asked.is_empty() && spool.look(clean.as_bytes())?.is_none() && spool.look(b"dockerfile")?.is_some() {
        "dockerfile".clone_into(&mut clean);
    }
    let missing = || Error::invalid(format!("Cannot locate specified Dockerfile: {name}"));
    let place = source::resolve(spool, clean.as_bytes())?.ok_or_else(missing)?;
    if place.path.is_empty() {
        return Err(missing());
    }
    let text = spool.small_file(&clean, MAX_SIZE)?.ok_or_else(missing)?;
    if text.is_empty() {
        return Err(Error::invalid(format!("The Dockerfile ({name}) cannot be empty")));
    }
    Ok((clean, text))
}
