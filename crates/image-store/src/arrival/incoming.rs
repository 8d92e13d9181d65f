//! One layer's blob on its way in: written at its offsets by whoever downloads, read behind the front by the pipeline.

use super::{
    ExtractFailure, WantedLayer,
    error::{Shared, is_no_space, no_space, says_no_space, unreadable, wrong_blob, wrong_layers},
    follow::Follow,
    lease::LayerLease,
};
use crate::{
    ImageStore,
    image::Layer,
    lease::Lease,
    partial::{Arrived, Partial},
    pipeline::{self, Keep, Plan},
    recover,
    store::Inner,
};
use gantry_model::{Error, ErrorKind, Result};
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Bytes that are written before the free space is looked at again.
const CHECK_SPACE: u64 = 64 << 20;

/// A layer that is being fetched, or whose blob is here and only has to be extracted.
///
/// While it lives nobody else can fetch the same blob.
#[derive(Debug)]
pub struct IncomingLayer {
    store: Arc<Inner>,
    wanted: WantedLayer,
    source: Source,
    /// Whether bytes of an earlier attempt are used.
    resumed: bool,
    /// How often the disk had been full when this began.
    full: u64,
    flow: Mutex<Flow>,
    moved: Condvar,
}

#[derive(Debug)]
enum Source {
    /// The store has the blob; the lease keeps it there.
    Stored {
        file: File,
        _lease: Lease,
    },
    Partial(Partial),
}

#[derive(Debug)]
struct Flow {
    /// `None` for a blob that the store has.
    arrived: Option<Arrived>,
    front: u64,
    unchecked: u64,
    end: Option<End>,
}

/// Why no more bytes are wanted.
#[derive(Debug, Clone)]
enum End {
    /// What arrived stays for the next attempt.
    Failed(Shared),
    /// What arrived is of no use, or in the way.
    Dropped(Shared),
    /// All of it is in the store.
    Published,
}

impl ImageStore {
    /// Opens what is here of a layer's blob, or begins it.
    pub fn incoming_layer(&self, wanted: &WantedLayer) -> Result<Arc<IncomingLayer>> {
        let store = &self.inner;
        if !store.fetching().insert(wanted.blob.clone()) {
            return Err(Error::conflict(format!("layer {} is being fetched already", wanted.blob)));
        }
        let opened = open(store, wanted).map_err(|e| clear(store, e));
        let (source, arrived) = opened.inspect_err(|_| {
            store.fetching().remove(&wanted.blob);
        })?;
        let front = arrived.as_ref().map_or(wanted.size, |arrived| arrived.complete.front());
        let resumed = arrived.as_ref().is_none_or(|arrived| arrived.complete.bytes() > 0);
        let flow = Flow { arrived, front, unchecked: CHECK_SPACE, end: None };
        Ok(Arc::new(IncomingLayer {
            store: store.clone(),
            wanted: wanted.clone(),
            source,
            resumed,
            full: store.times_full(),
            flow: Mutex::new(flow),
            moved: Condvar::new(),
        }))
    }
}

/// An error in words that a user understands, with room made where that was the trouble.
pub(super) fn clear(store: &Inner, error: Error) -> Error {
    if says_no_space(&error) {
        store.disk_is_full();
        return no_space();
    }
    error
}

fn open(store: &Arc<Inner>, wanted: &WantedLayer) -> Result<(Source, Option<Arrived>)> {
    let mut lease = Lease::new(store);
    if lease.use_sized_blob(&wanted.blob, wanted.size) {
        let file = File::open(store.files.blob(&wanted.blob))?;
        return Ok((Source::Stored { file, _lease: lease }, None));
    }
    let (partial, arrived) = Partial::open(&store.files, &wanted.blob, wanted.size)?;
    Ok((Source::Partial(partial), Some(arrived)))
}

/// For those who download.
impl IncomingLayer {
    /// The bytes that are not here yet.
    pub fn missing(&self) -> Vec<Range<u64>> {
        let flow = self.flow();
        flow.arrived.as_ref().map_or_else(Vec::new, |arrived| arrived.complete.gaps(self.wanted.size))
    }

    /// How many bytes are here.
    pub fn received(&self) -> u64 {
        let flow = self.flow();
        flow.arrived.as_ref().map_or(self.wanted.size, |arrived| arrived.complete.bytes())
    }

    /// Stores bytes at their place. An error means that no more of them are wanted.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let end = at.checked_add(bytes.len() as u64).filter(|end| *end <= self.wanted.size);
        let Some(end) = end else {
            let size = self.wanted.size;
            return Err(Error::invalid(format!("layer {} is longer than its {size} bytes", self.wanted.blob)));
        };
        let Source::Partial(partial) = &self.source else { return Ok(()) };
        self.check_open(bytes.len() as u64)?;
        // A registry that knows no ranges sends everything again. What is here may have been digested already: written
        // over by other bytes, it would be in the store under a digest that it does not have.
        let missing = self.flow().arrived.as_ref().map_or_else(Vec::new, |arrived| arrived.complete.gaps_in(at..end));
        for gap in missing {
            let (from, to) = (usize_of(gap.start - at), usize_of(gap.end - at));
            if let Err(e) = partial.write(gap.start, &bytes[from..to]) {
                return Err(self.give_up(&e));
            }
        }
        let mut flow = self.flow();
        if let Some(end) = &flow.end {
            return Err(end.error());
        }
        let Some(arrived) = &mut flow.arrived else { return Ok(()) };
        if let Err(e) = arrived.add(at..end) {
            drop(flow);
            return Err(self.give_up(&e));
        }
        let front = arrived.complete.front();
        if front != flow.front {
            flow.front = front;
            self.moved.notify_all();
        }
        Ok(())
    }

    /// Says that no more bytes will come. What is here stays for the next attempt.
    pub fn fail(&self, error: &Error) {
        self.end(End::Failed(error.into()));
    }

    /// Whether bytes are still wanted, and whether there is room for so many more.
    fn check_open(&self, length: u64) -> Result<()> {
        let mut flow = self.flow();
        if let Some(end) = &flow.end {
            return Err(end.error());
        }
        flow.unchecked += length;
        if flow.unchecked < CHECK_SPACE {
            return Ok(());
        }
        flow.unchecked = 0;
        drop(flow);
        let needed = self.store.limits.keep_free.saturating_add(CHECK_SPACE.min(self.wanted.size));
        match self.store.files.free() {
            Ok(free) if free < needed => Err(self.disk_is_full()),
            Ok(_) => Ok(()),
            Err(e) => Err(self.give_up(&e)),
        }
    }

    /// The disk refuses. Where it is full, what arrived goes: it fills it.
    fn give_up(&self, e: &io::Error) -> Error {
        if is_no_space(e) {
            return self.disk_is_full();
        }
        let error = Error::internal(format!("cannot store the layer: {e}"));
        self.end(End::Failed((&error).into()));
        error
    }

    fn disk_is_full(&self) -> Error {
        let error = no_space();
        self.end(End::Dropped((&error).into()));
        self.store.disk_is_full();
        error
    }
}

/// For the one who extracts.
impl IncomingLayer {
    /// Extracts the layer while its bytes arrive, and verifies them and the archive in them. `progress` gets the bytes
    /// of the blob that are done.
    pub fn extract(&self, progress: &mut dyn FnMut(u64)) -> Result<LayerLease, ExtractFailure> {
        match self.unpack(progress) {
            Ok(lease) => Ok(lease),
            Err(error) => Err(self.judge(error)),
        }
    }

    fn unpack(&self, progress: &mut dyn FnMut(u64)) -> Result<LayerLease, Unpacking> {
        let inner = &self.store;
        let WantedLayer { blob, diff_id, size, .. } = &self.wanted;
        let mut lease = Lease::arriving(inner);
        let known_size = inner.read_state().layer_size(diff_id);
        let known_size = known_size.filter(|_| lease.use_layer(diff_id));
        let directory = if known_size.is_some() { None } else { Some(inner.files.temporary_layer()?) };
        let diff = directory.as_ref().map(|directory| directory.path().join("diff"));
        let plan = Plan { known: None, keep: Keep::Digest, extract: diff.as_deref(), limits: inner.limits };
        let arrived = pipeline::run(&mut Follow::new(self), &plan, progress)?;
        if arrived.blob.as_ref() != Some(blob) {
            return Err(Unpacking::WrongBlob);
        }
        if arrived.diff_id != *diff_id {
            return Err(Unpacking::WrongArchive);
        }
        match &self.source {
            Source::Partial(partial) => self.publish(partial, &mut lease)?,
            Source::Stored { .. } if lease.use_blob(blob) => {}
            Source::Stored { .. } => return Err(Error::internal(format!("blob {blob} went away")).into()),
        }
        if let Some(directory) = directory {
            lease.add_layer(directory, diff_id)?;
        }
        let layer = Layer {
            blob: blob.clone(),
            blob_size: *size,
            compression: arrived.compression,
            diff_id: diff_id.clone(),
            chain_id: diff_id.clone(),
            size: known_size.or(arrived.extracted.map(|e| e.size)).unwrap_or_default(),
        };
        Ok(LayerLease::new(lease, layer))
    }

    /// Moves the whole blob into the store. Its journal stays until an image has it.
    fn publish(&self, partial: &Partial, lease: &mut Lease) -> Result<()> {
        let mut flow = self.flow();
        if let Some(arrived) = &mut flow.arrived {
            arrived.flush()?;
        }
        lease.add_blob_file(partial.path(), &self.wanted.blob, self.wanted.size)?;
        flow.end = Some(End::Published);
        Ok(())
    }

    /// What a failure means for the bytes that are here.
    fn judge(&self, failure: Unpacking) -> ExtractFailure {
        let blob = &self.wanted.blob;
        let error = match failure {
            // The downloader's failure, which the pipeline only passed on.
            Unpacking::Stage(error) => match &self.flow().end {
                Some(end @ (End::Failed(_) | End::Dropped(_))) => return ExtractFailure::Failed(end.error()),
                None if error.kind() == ErrorKind::InvalidArgument => unreadable(blob, &error),
                // The blob is in the store, and its directory could not be put there.
                Some(End::Published) | None => error,
            },
            Unpacking::WrongBlob => wrong_blob(blob),
            Unpacking::WrongArchive => {
                // These are the blob's bytes, so another attempt would bring the same.
                let error = wrong_layers();
                self.end(End::Dropped((&error).into()));
                return ExtractFailure::Failed(error);
            }
        };
        if says_no_space(&error) {
            return ExtractFailure::Failed(self.disk_is_full());
        }
        if error.kind() != ErrorKind::InvalidArgument {
            self.end(End::Failed((&error).into()));
            return ExtractFailure::Failed(error);
        }
        // Wrong bytes fail in the decoder or the extractor before the digest can tell.
        self.end(End::Dropped((&error).into()));
        if matches!(self.source, Source::Stored { .. }) {
            // A manifest may call any blob a layer: what is no archive is not damaged for that.
            if recover::digest_of(&self.store.files.blob(blob)).is_ok_and(|found| found == *blob) {
                return ExtractFailure::Failed(error);
            }
            self.store.mark_damaged(blob, error.message());
        }
        ExtractFailure::Damaged { resumed: self.resumed, error }
    }

    /// Waits until there is something at `at`, and returns where it ends; `at` itself at the end of the blob.
    pub(super) fn wait_beyond(&self, at: u64) -> io::Result<u64> {
        let mut flow = self.flow();
        loop {
            if flow.front > at || at >= self.wanted.size {
                return Ok(flow.front.max(at));
            }
            if let Some(end) = &flow.end {
                return Err(io::Error::other(end.error()));
            }
            flow = self.moved.wait(flow).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.source {
            Source::Partial(partial) => partial.read(at, bytes),
            Source::Stored { file, .. } => file.read_at(bytes, at),
        }
    }

    fn flow(&self) -> MutexGuard<'_, Flow> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the arrival, unless it has ended; everybody is told why.
    fn end(&self, end: End) {
        let mut flow = self.flow();
        if flow.end.is_none() {
            flow.end = Some(end);
            self.moved.notify_all();
        }
    }
}

impl Drop for IncomingLayer {
    fn drop(&mut self) {
        let flow = self.flow.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Source::Partial(partial) = &self.source {
            match &flow.end {
                Some(End::Dropped(_)) => partial.remove(),
                Some(End::Published) => {}
                Some(End::Failed(_)) | None => match &mut flow.arrived {
                    Some(arrived) if arrived.complete.bytes() > 0 && self.full == self.store.times_full() => {
                        if let Err(e) = arrived.flush() {
                            tracing::debug!("cannot note what arrived of {}: {e}", self.wanted.blob);
                        }
                    }
                    _ => partial.remove(),
                },
            }
        }
        self.store.fetching().remove(&self.wanted.blob);
    }
}

impl End {
    fn error(&self) -> Error {
        match self {
            Self::Failed(e) | Self::Dropped(e) => e.into(),
            Self::Published => Error::internal("the layer is complete"),
        }
    }
}

/// An offset in a slice.
fn usize_of(offset: u64) -> usize {
    usize::try_from(offset).expect("a gap is no longer than the bytes it is looked for in")
}

/// Where extraction stopped.
enum Unpacking {
    Stage(Error),
    WrongBlob,
    WrongArchive,
}

impl From<Error> for Unpacking {
    fn from(e: Error) -> Self {
        Self::Stage(e)
    }
}
