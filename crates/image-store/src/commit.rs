//! A container's changes become an image.

use crate::{
    HistoryItem, ImageConfig, ImageDocument, ImageId, ImageStore, changes,
    config::RootFs,
    extract::ExtractError,
    files::Temporary,
    image::{Layer, chain_ids, check_layer_count},
    layout,
    lease::Lease,
    pack::{self, Found, PackError, Packed},
    pipeline::{self, Keep, Plan},
    records::ImageRecord,
};
use gantry_model::{Digest, Error, Platform, Reference, Result, Timestamp, error::Context};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, Dir, Mode, OFlags, openat, renameat},
    io::Errno,
};
use serde_json::Value;
use std::{
    fs::File,
    io::{self, PipeWriter},
    path::Path,
    thread,
};

/// Bytes that the packing thread may be ahead.
const PIPE: usize = 1 << 20;

/// What an image has on top of its base.
#[derive(Debug, Clone)]
pub enum Top<'a> {
    /// Nothing: only the document changes.
    Nothing,
    /// What is in the upper directory of an overlay, if there is anything.
    Upper(&'a OwnedFd),
    /// The same, of an overlay that nobody will use again: the files themselves become the layer's, where the file system
    /// is the store's. What is left of the directory afterwards is good for nothing but to be removed.
    Given(&'a OwnedFd),
    /// A layer of another image.
    Layer(Layer),
}

/// What to make an image of.
pub struct CommitOptions<'a> {
    /// The image that the container stands on; without one the new image has its own layer alone.
    pub base: Option<ImageId>,
    /// Its own layer.
    pub top: Top<'a>,
    /// What in it is not the container's doing.
    pub skip: &'a (dyn Fn(&Found, &[u8]) -> bool + Sync),
    /// Asked once everything was read: whether the layer was whole until then.
    pub check: &'a dyn Fn() -> Result<()>,
    /// What to call the image.
    pub name: Option<Reference>,
    /// By whom.
    pub author: String,
    /// A note.
    pub comment: String,
    /// The time that the image says it was made; now, unless somebody wants another. Then nothing in its own layer is
    /// newer than that.
    pub created: Option<Timestamp>,
    /// Steps between the base's and this one; what they changed is in the same layer.
    pub steps: Vec<HistoryItem>,
    /// The container's command.
    pub created_by: String,
    /// The engine that makes it.
    pub engine_version: String,
    /// The container's id, if there was one.
    pub container: String,
    /// Its configuration.
    pub container_config: Value,
    /// What containers made from the image run.
    pub config: ImageConfig,
}

/// Applies Dockerfile instructions to a configuration. Each text may have several lines.
pub fn apply_changes(instructions: &[String], config: ImageConfig) -> Result<ImageConfig> {
    changes::apply(instructions, config)
}

impl ImageStore {
    /// Makes an image of the base's layers and a container's own, if that has anything in it.
    pub fn commit(&self, options: CommitOptions<'_>) -> Result<ImageId> {
        let mut lease = Lease::new(&self.inner);
        let (base, mut layers) = match &options.base {
            Some(base) => self.base(base, &mut lease)?,
            None => (from_scratch(), Vec::new()),
        };
        let top = match &options.top {
            Top::Nothing => None,
            Top::Upper(upper) => self.pack_layer(upper, false, &options, &layers, &mut lease)?,
            Top::Given(upper) => self.pack_layer(upper, true, &options, &layers, &mut lease)?,
            Top::Layer(layer) if lease.use_blob(&layer.blob) && lease.use_layer(&layer.diff_id) => {
                Some(Layer { chain_id: chain_id(&layers, &layer.diff_id)?, ..layer.clone() })
            }
            Top::Layer(_) => return Err(Error::not_found("a layer is missing or damaged")),
        };
        (options.check)()?;
        let empty = top.is_none();
        layers.extend(top);
        check_layer_count(layers.len())?;

        let parent = options.base.clone().filter(|base| self.get(base).is_some());
        let name = options.name.clone();
        let document = describe(base, options, &layers, empty);
        let text = serde_json::to_string(&document).map_err(|e| Error::internal(e.to_string()))?;
        let id = ImageId::new(self.store_blob(text.as_bytes(), &mut lease)?);
        let manifest = layout::manifest(id.digest(), text.len() as u64, &layers);
        let digest = self.store_blob(&manifest, &mut lease)?;
        let mut record = ImageRecord::new(text, digest, manifest.len() as u64, layers);
        record.parent = parent;
        self.inner.commit_image(&id, record, name.as_slice(), lease)?;
        Ok(id)
    }

    /// Document and layers of an image, which may have been removed from under its container.
    fn base(&self, id: &ImageId, lease: &mut Lease) -> Result<(ImageDocument, Vec<Layer>)> {
        let record = {
            let state = self.inner.read_state();
            let known = state.get(id).map(|known| &known.record).or_else(|| state.detached.get(id));
            known.cloned().ok_or_else(|| Error::not_found(format!("No such image: {id}")))?
        };
        let there = |layer: &Layer| lease.use_blob(&layer.blob) && lease.use_layer(&layer.diff_id);
        if !record.layers.iter().all(there) {
            return Err(Error::not_found(format!("a layer of the image {id} is missing or damaged")));
        }
        Ok((record.image(id)?.document, record.layers))
    }

    /// Archives the upper directory into a blob and makes a layer of it, of its own files if they are `given`; `None` if there
    /// is nothing in it.
    fn pack_layer(
        &self,
        upper: &OwnedFd,
        given: bool,
        options: &CommitOptions<'_>,
        below: &[Layer],
        lease: &mut Lease,
    ) -> Result<Option<Layer>> {
        let store = &self.inner;
        let mut blob = store.files.temporary_file()?;
        let directory = store.files.temporary_layer()?;
        let diff = directory.path().join("diff");
        if given && store.files.free()? < store.limits.keep_free {
            return Err(ExtractError::NoSpace.into());
        }
        let plan = Plan {
            known: None,
            keep: Keep::Write(&blob.file().try_clone()?),
            extract: (!given).then_some(&diff),
            limits: store.limits,
        };
        let latest = options.created.map(Timestamp::unix_seconds);
        let pack = |end: &mut PipeWriter| pack::pack_layer(upper, options.skip, latest, given, end);
        let (packed, arrived) = through(&plan, pack)?;
        if packed.entries == 0 {
            return Ok(None);
        }
        if given && !take_files(upper, &diff)? {
            // It lies elsewhere.
            let mut archive = File::open(blob.path())?;
            let plan =
                Plan { known: Some(&arrived.diff_id), keep: Keep::No, extract: Some(&diff), limits: store.limits };
            pipeline::run(&mut archive, &plan, &mut |_| ())?;
        }
        layer(blob, directory, arrived, packed.size, below, lease).map(Some)
    }
}

/// Runs what `pack` writes through the pipeline.
fn through(
    plan: &Plan<'_>,
    pack: impl FnOnce(&mut PipeWriter) -> Result<Packed, PackError> + Send,
) -> Result<(Packed, pipeline::Layer)> {
    let (mut archive, mut end) = std::io::pipe()?;
    // A larger pipe is only faster.
    let _ = rustix::pipe::fcntl_setpipe_size(&archive, PIPE);
    let (packed, arrived) = thread::scope(|scope| {
        // The end moves in, so that the archive ends with the thread.
        let packer = scope.spawn(move || pack(&mut end));
        let arrived = pipeline::run(&mut archive, plan, &mut |_| ());
        drop(archive);
        let packed = packer.join().unwrap_or_else(|_| Err(PackError::Write(io::ErrorKind::Other.into())));
        (packed, arrived)
    });
    // An archive that broke off between two entries would look complete; where both fail, the one that reads the tree
    // only noticed that nobody listens.
    match (packed, arrived) {
        (Ok(packed), Ok(arrived)) => Ok((packed, arrived)),
        (Err(PackError::Write(_)) | Ok(_), Err(e)) => Err(e),
        (Err(e), _) => Err(e.into()),
    }
}

/// Moves everything in a directory to another one; false if that is on another file system, or another mount of it.
/// The directories themselves stay what they are: an archive does not tell what a layer's root is like.
fn take_files(from: &OwnedFd, to: &Path) -> Result<bool> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let to = openat(CWD, to, flags, Mode::empty()).map_err(io::Error::from)?;
    let listed = openat(from, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    // All names first: a directory that changes may be read twice or not at all.
    let mut names = Vec::new();
    for entry in Dir::new(listed.map_err(io::Error::from)?).map_err(io::Error::from)? {
        let name = entry.map_err(io::Error::from)?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    for name in &names {
        match renameat(from, name.as_c_str(), &to, name.as_c_str()) {
            Ok(()) => {}
            Err(Errno::XDEV) => return Ok(false),
            Err(e) => return Err(io::Error::from(e)).context("taking a layer's files"),
        }
    }
    Ok(true)
}

/// Gives the store a layer and its archive.
fn layer(
    blob: Temporary,
    directory: Temporary,
    arrived: pipeline::Layer,
    size: u64,
    below: &[Layer],
    lease: &mut Lease,
) -> Result<Layer> {
    let digest = arrived.blob.ok_or_else(|| Error::internal("the layer was not kept"))?;
    let chain_id = chain_id(below, &arrived.diff_id)?;
    lease.add_blob(blob, &digest)?;
    lease.add_layer(directory, &arrived.diff_id)?;
    Ok(Layer {
        blob: digest,
        blob_size: arrived.blob_size,
        compression: arrived.compression,
        diff_id: arrived.diff_id,
        chain_id,
        size,
    })
}

/// The id of a layer with this archive on these.
fn chain_id(below: &[Layer], diff_id: &Digest) -> Result<Digest> {
    let diff_ids: Vec<Digest> = below.iter().map(|layer| &layer.diff_id).chain([diff_id]).cloned().collect();
    chain_ids(&diff_ids).pop().ok_or_else(|| Error::internal("a layer has no chain id"))
}

/// What an image without a base begins with.
fn from_scratch() -> ImageDocument {
    let host = Platform::host();
    ImageDocument { architecture: host.architecture, os: host.os, variant: host.variant, ..ImageDocument::default() }
}

fn describe(base: ImageDocument, options: CommitOptions<'_>, layers: &[Layer], empty: bool) -> ImageDocument {
    let created = options.created.unwrap_or_else(Timestamp::now);
    let mut history = base.history;
    history.extend(options.steps);
    history.push(HistoryItem {
        created,
        created_by: options.created_by,
        author: options.author.clone(),
        comment: options.comment,
        empty_layer: empty,
        ..HistoryItem::default()
    });
    let mut other = serde_json::Map::new();
    if !options.container.is_empty() {
        other.insert("container".into(), options.container.into());
    }
    if !options.container_config.is_null() {
        other.insert("container_config".into(), options.container_config);
    }
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id.clone()).collect();
    ImageDocument {
        architecture: base.architecture,
        variant: base.variant,
        os: base.os,
        os_version: base.os_version,
        created,
        author: options.author,
        comment: String::new(),
        docker_version: options.engine_version,
        config: options.config,
        rootfs: Some(RootFs { kind: "layers".into(), diff_ids }),
        history,
        other,
    }
}
