//! One build, as the builder's backend.

use super::base::{base, to_store};
use super::copy;
use super::files::image_id;
use super::git::GitUrl;
use super::options::ImageBuild;
use super::scratch::Scratch;
use super::spool::Spool;
use crate::operation::Reporter;
use crate::{Engine, blocking, version};
use gantry_image_builder::{Action, Backend, Base, BuildError, Console, FilesOf, Source, Step};
use gantry_image_store::pack::Found;
use gantry_image_store::{CommitOptions, Image, Top};
use gantry_model::error::Context;
use gantry_model::{Error, Id, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

/// An image that is looked for once.
type BaseCell = Arc<OnceCell<Arc<Image>>>;
/// Says what of a layer is left out.
type Skip = Box<dyn Fn(&Found, &[u8]) -> bool + Send + Sync>;

/// A build on its way.
pub(super) struct Builder {
    pub(super) engine: Arc<Engine>,
    pub(super) context: Arc<Spool>,
    pub(super) request: ImageBuild,
    pub(super) reporter: Reporter,
    /// Images whose layers stay, whatever clients remove, under ids of ours.
    holds: Mutex<Vec<Id>>,
    /// Base images by name and platform: one build sees one image under a name.
    bases: Mutex<HashMap<(String, Option<String>), BaseCell>>,
    /// Files of images and of URLs that were opened.
    opened: Mutex<HashMap<String, Arc<dyn Source>>>,
    /// For what has to lie somewhere as long as the build.
    scratch: OnceCell<Scratch>,
}

impl Drop for Builder {
    fn drop(&mut self) {
        let holds = std::mem::take(&mut *self.holds.lock().unwrap_or_else(PoisonError::into_inner));
        // It may write to the state file.
        let engine = self.engine.clone();
        self.engine.handle.spawn_blocking(move || {
            for id in holds {
                if let Err(e) = engine.images.release_layers(id) {
                    tracing::warn!("a build's image: {e}");
                }
            }
        });
    }
}

impl Builder {
    pub(super) fn new(engine: Arc<Engine>, context: Arc<Spool>, request: ImageBuild, reporter: Reporter) -> Self {
        Self {
            engine,
            context,
            request,
            reporter,
            holds: Mutex::default(),
            bases: Mutex::default(),
            opened: Mutex::default(),
            scratch: OnceCell::new(),
        }
    }

    /// Keeps an image's layers until the build's end.
    fn hold(&self, image: &str) -> Result<()> {
        let id = Id::random();
        self.engine.images.hold_layers(id, &image_id(image)?)?;
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).push(id);
        Ok(())
    }

    pub(super) async fn scratch(&self) -> Result<&Scratch> {
        let make = || async {
            let engine = self.engine.clone();
            blocking(move || engine.scratch()).await
        };
        self.scratch.get_or_try_init(make).await
    }

    /// Makes an image of what a step did.
    pub(super) async fn commit(&self, step: Step, upper: Option<Upper>, container: String) -> Result<String> {
        let engine = self.engine.clone();
        let id = blocking(move || commit(&engine, step, upper, container)).await?;
        self.hold(&id)?;
        Ok(id)
    }
}

/// A layer that was made, and what keeps it.
pub(super) struct Upper {
    pub(super) layer: OwnedFd,
    /// What in it is not the step's doing.
    pub(super) skip: Skip,
    /// Lasts until the image is there.
    pub(super) keep: Option<Scratch>,
    /// Nobody needs its files afterwards.
    pub(super) is_given: bool,
}

impl Upper {
    fn top(&self) -> Top<'_> {
        if self.is_given { Top::Given(&self.layer) } else { Top::Upper(&self.layer) }
    }
}

fn commit(engine: &Engine, step: Step, upper: Option<Upper>, container: String) -> Result<String> {
    let skip = |found: &Found, path: &[u8]| upper.as_ref().is_some_and(|upper| (upper.skip)(found, path));
    let id = engine.images.commit(CommitOptions {
        base: step.parent.as_deref().map(image_id).transpose()?,
        top: upper.as_ref().map_or(Top::Nothing, Upper::top),
        skip: &skip,
        check: &|| Ok(()),
        name: None,
        author: step.author,
        comment: String::new(),
        created: step.created,
        steps: Vec::new(),
        created_by: step.created_by,
        engine_version: version::VERSION.to_owned(),
        container,
        container_config: serde_json::Value::Null,
        config: to_store(&step.config)?,
    })?;
    if let Some(upper) = upper {
        drop(upper.keep);
    }
    Ok(id.to_string())
}

/// A layer's directory.
pub(super) fn open_layer(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(std::io::Error::from).context(path.display())
}

impl Backend for Builder {
    async fn base(&self, name: &str, platform: Option<&str>) -> Result<Base> {
        let key = (name.to_owned(), platform.map(str::to_owned));
        let cell = self.bases.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone();
        let image = cell.get_or_try_init(|| self.find_base(name, platform)).await?;
        self.hold(image.id.as_str())?;
        base(image)
    }

    fn image(&self, id: &str) -> Option<Base> {
        let image = self.engine.images.get(&image_id(id).ok()?)?;
        self.hold(id).ok()?;
        base(&image).ok()
    }

    async fn files(&self, of: &FilesOf) -> Result<Arc<dyn Source>> {
        let key = match of {
            FilesOf::Context => return Ok(self.context.clone()),
            FilesOf::Image(id) => id.clone().unwrap_or_default(),
            FilesOf::Url { url, checksum } => format!("{url} {}", checksum.as_deref().unwrap_or_default()),
            FilesOf::Git { url, checksum, keep } => {
                format!("git {url} {} {keep}", checksum.as_deref().unwrap_or_default())
            }
        };
        let known = self.opened.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let source: Arc<dyn Source> = match of {
            FilesOf::Url { url, checksum } => Arc::new(self.fetch(url, checksum.as_deref()).await?),
            FilesOf::Git { url, checksum, keep } => {
                let git = GitUrl::parse(url).ok_or_else(|| Error::invalid(format!("{url} is no git repository")))?;
                Arc::new(self.engine.fetch_git(git.with(checksum.clone(), *keep)).await?)
            }
            FilesOf::Context | FilesOf::Image(_) => {
                let (engine, empty) = (self.engine.clone(), self.scratch().await?.empty());
                let id = (!key.is_empty()).then(|| key.clone());
                Arc::new(blocking(move || engine.image_files(id.as_deref(), empty)).await?)
            }
        };
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(key, source.clone());
        Ok(source)
    }

    async fn carry_out(&self, mut step: Step, console: &Console) -> Result<String, BuildError> {
        match std::mem::replace(&mut step.action, Action::None) {
            Action::None => Ok(self.commit(step, None, String::new()).await?),
            Action::MakeDirectory(path) => {
                let (engine, parent) = (self.engine.clone(), step.parent.clone());
                let made = blocking(move || copy::make_directory(&engine, parent.as_deref(), &path)).await?;
                Ok(self.commit(step, made, String::new()).await?)
            }
            Action::Copy(action) => {
                let (engine, parent, created) = (self.engine.clone(), step.parent.clone(), step.created);
                let made = blocking(move || copy::copy(&engine, parent.as_deref(), &action, created)).await?;
                Ok(self.commit(step, Some(made), String::new()).await?)
            }
            Action::Run(action) => self.run(step, *action, console).await,
        }
    }

    async fn graft(&self, step: Step, image: &str) -> Result<Option<String>> {
        let (engine, image) = (self.engine.clone(), image.to_owned());
        let grafted = blocking(move || super::imported::graft(&engine, step, &image)).await?;
        if let Some(id) = &grafted {
            self.hold(id)?;
        }
        Ok(grafted)
    }

    async fn imported(&self, step: &Step) -> Option<String> {
        let id = super::imported::step(self, step).await?;
        self.hold(&id).ok()?;
        Some(id)
    }
}
