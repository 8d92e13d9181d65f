//! `POST /containers/create`.
//!
//! The container exists from the moment its record is durable: one commit, shared with the records
//! of its anonymous volumes and with whatever else is committed at that time. Directories made
//! before it have no owner until then; the next start sweeps them.

mod bind;
mod defaults;
pub(crate) mod limits;
mod merge;
mod mounts;
mod names;
pub(crate) mod validate;
mod volumes;
mod words;

use crate::Engine;
use crate::container::{Container, Dirs, Record, State};
use crate::engine::CONTAINERS;
use crate::links;
use crate::networks::members::Attached;
use crate::plan;
use gantry_api_types::{ContainerConfig, ContainerCreateRequest, ContainerCreateResponse, HostConfig};
use gantry_image_store::Image;
use gantry_model::error::Context;
use gantry_model::{Error, Id, Result, Timestamp};
use gantry_state_db::Batch;
use gantry_volumes::VOLUME_DRIVER;
pub(crate) use merge::complete;
use names::Reservation;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

/// A record ready to be stored, with everything that depends on it.
struct Draft {
    record: Record,
    volumes: volumes::Made,
    warnings: Vec<String>,
    /// Removes the container's directory unless the container becomes real.
    dirs: NewDirs,
}

impl Engine {
    /// Creates a container; it runs to its end also when the client goes away.
    pub async fn container_create(
        &self,
        name: Option<String>,
        request: ContainerCreateRequest,
        platform: Option<String>,
    ) -> Result<ContainerCreateResponse> {
        self.detached(move |engine| async move { engine.create(name, request, platform, false).await }).await
    }

    /// Creates the container of a build's step.
    pub(crate) async fn create_for_build(&self, request: ContainerCreateRequest) -> Result<ContainerCreateResponse> {
        self.detached(move |engine| async move { engine.create(None, request, None, true).await }).await
    }

    async fn create(
        self: &Arc<Self>,
        name: Option<String>,
        request: ContainerCreateRequest,
        platform: Option<String>,
        build: bool,
    ) -> Result<ContainerCreateResponse> {
        let id = Id::random();
        let image = self.image_for(&request, platform.as_deref())?;
        let reservation = Reservation::new(&self.containers, id, name.as_deref())?;
        let hold = Hold { engine: self, id, keep: false };
        let draft = {
            let (engine, name) = (self.clone(), reservation.name.clone());
            let draft = move || {
                // From here on the image's layers stay, whatever happens to the image.
                engine.images.hold_layers(id, &image.id)?;
                let mut draft = engine.draft(id, name, request, &image)?;
                draft.record.build = build;
                Ok::<_, Error>(draft)
            };
            let drafted = tokio::task::spawn_blocking(draft).await;
            drafted.map_err(|e| Error::internal(format!("the engine failed: {e}")))??
        };
        let Draft { record, volumes, warnings, dirs } = draft;
        let mut batch = Batch::new().put(CONTAINERS, &id.to_string(), &record)?;
        for staged in &volumes.staged {
            batch = batch.and(staged.batch()?);
        }
        self.commit(batch).await?;
        dirs.keep();
        hold.keep();
        let container = Arc::new(Container::new(record));
        self.containers.insert(container.clone());
        reservation.keep();
        self.publish_volumes(volumes);
        self.container_event(&container, "create", &[]);
        Ok(ContainerCreateResponse { id: id.to_string(), warnings })
    }

    /// The image to create from; everything that is wrong with the request by itself comes first.
    fn image_for(&self, request: &ContainerCreateRequest, platform: Option<&str>) -> Result<Arc<Image>> {
        let Some(config) = request.config.as_ref().filter(|c| **c != ContainerConfig::default()) else {
            return Err(Error::invalid("Config cannot be empty in order to create a container"));
        };
        validate::config(config)?;
        validate::host(self, &request.host_config)?;
        validate::together(config, &request.host_config)?;
        if config.image.is_empty() {
            return Err(Error::invalid("no image specified"));
        }
        let image = self.images.resolve(&config.image)?;
        check_platform(&image, &config.image, platform)?;
        Ok(image)
    }

    /// Everything that blocks: files, volumes.
    fn draft(&self, id: Id, name: String, request: ContainerCreateRequest, image: &Image) -> Result<Draft> {
        let ContainerCreateRequest { config, host_config: mut host, networking_config } = request;
        let mut config = config.unwrap_or_default();
        let (path, args) = merge::merge(&mut config, &image.document.config)?;
        // Once more, with what the image says.
        validate::config(&config)?;
        let mut warnings = Vec::new();
        limits::check(&mut host, &self.cgroups.support(), limits::Purpose::Create, &mut warnings)?;
        defaults::host(self, &mut host)?;
        defaults::config(&mut config, &host, id);
        let labels = self.modules.labels(&host)?;
        let links = links::resolve(self, &host)?;
        host.links = None;
        let networks = defaults::networks(self, &host, &config, networking_config)?;
        note_ignored(&host, &mut warnings);
        plan::seccomp::check(self, &host)?;
        let wanted = mounts::resolve(self, &config, &host)?;
        let layers = self.images.rootfs(image);
        let dirs = NewDirs::make(&self.dirs(&id))?;
        let volumes = volumes::make(self, id, wanted, &layers)?;
        let record = Record {
            id,
            name,
            created: Timestamp::now(),
            image: image.id.to_string(),
            image_ref: config.image.clone(),
            platform: image_os(image).to_owned(),
            config,
            host_config: host,
            path,
            args,
            mounts: volumes.points.clone(),
            inherited: volumes.inherited.clone(),
            layers,
            networks,
            links,
            labels,
            state: State::created(),
            attached: Attached::default(),
            build: false,
        };
        warnings.extend(plan::host_warnings(self, &record)?);
        Ok(Draft { record, volumes, warnings, dirs })
    }

    /// Gives the volumes their names; their records are durable, so that what fails here is
    /// finished by the next start.
    fn publish_volumes(&self, made: volumes::Made) {
        for (name, driver) in &made.new {
            self.volume_event(name, driver, "create");
        }
        made.images.into_iter().for_each(volumes::ImageHold::keep);
        for staged in made.staged {
            let name = staged.name().to_owned();
            match staged.publish() {
                Ok(()) => self.volume_event(&name, VOLUME_DRIVER, "create"),
                Err(e) => tracing::error!("{e}"),
            }
        }
    }
}

/// `linux`, also for images that do not say.
pub(crate) fn image_os(image: &Image) -> &str {
    if image.document.os.is_empty() { "linux" } else { &image.document.os }
}

/// What is accepted and does nothing.
fn note_ignored(host: &HostConfig, warnings: &mut Vec<String>) {
    let published = host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if host.network_mode == "host" && published {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
}

/// Architectures in Go's words; empty is not said.
const ARCHITECTURES: [&str; 9] = ["", "amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le"];

/// `os[/arch[/variant]]` against what the image is.
fn check_platform(image: &Image, name: &str, platform: Option<&str>) -> Result<()> {
    let Some(platform) = platform.filter(|p| !p.is_empty()) else { return Ok(()) };
    let unknown =
        || Error::invalid(format!("{platform:?}: unknown operating system or architecture: invalid argument"));
    let mut parts = platform.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let (os, arch) = match second {
        Some(arch) => (first, normal_arch(arch)),
        None if matches!(first, "linux" | "windows" | "darwin" | "freebsd") => (first, ""),
        None => ("linux", normal_arch(first)),
    };
    if !ARCHITECTURES.contains(&arch) {
        return Err(unknown());
    }
    let document = &image.document;
    let fits = os == image_os(image) && (arch.is_empty() || arch == document.architecture);
    if fits {
        return Ok(());
    }
    let wanted = if arch.is_empty() { os.to_owned() } else { format!("{os}/{arch}") };
    Err(Error::not_found(format!(
        "image with reference {name} was found but does not match the specified platform: wanted {wanted}, actual: {}/{}",
        image_os(image),
        document.architecture
    )))
}

/// Go's word for an architecture.
fn normal_arch(arch: &str) -> &str {
    match arch {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" => "386",
        "armhf" | "armel" => "arm",
        other => other,
    }
}

/// Gives the image's layers back unless the container becomes real.
struct Hold<'a> {
    engine: &'a Arc<Engine>,
    id: Id,
    keep: bool,
}

impl Hold<'_> {
    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // It may write to the state file.
        let (engine, id) = (self.engine.clone(), self.id);
        self.engine.handle.spawn_blocking(move || {
            if let Err(e) = engine.images.release_layers(id) {
                tracing::warn!("container {id}: {e}");
            }
        });
    }
}

/// A new container's directories.
struct NewDirs(Option<Dirs>);

impl NewDirs {
    fn make(dirs: &Dirs) -> Result<Self> {
        let made = Self(Some(dirs.clone()));
        let make = |path: &Path, mode| DirBuilder::new().mode(mode).create(path).context(path.display());
        make(dirs.data(), 0o710)?;
        make(&dirs.data().join("rw"), 0o710)?;
        make(&dirs.upper(), 0o755)?;
        // It is the container's `/`, which every user must pass whatever the daemon's umask is.
        fs::set_permissions(dirs.upper(), fs::Permissions::from_mode(0o755)).context(dirs.upper().display())?;
        make(&dirs.work(), 0o700)?;
        make(&dirs.merged(), 0o700)?;
        Ok(made)
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for NewDirs {
    fn drop(&mut self) {
        if let Some(dirs) = &self.0
            && let Err(e) = fs::remove_dir_all(dirs.data())
            && e.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{}: {e}", dirs.data().display());
        }
    }
}
