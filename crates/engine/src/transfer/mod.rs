//! Layers on their way here, shared by everybody who wants them.
//!
//! A layer is fetched once however many pulls wait for it: the first starts a task, the others watch it, and when the
//! last one leaves, the task ends. What had arrived stays in the store and the next fetch goes on from there.
//!
//! ```text
//! pull --- Interest --.
//!                      >-- Fetch: task --- ranges --> IncomingLayer (a sparse file) --> extraction, on a thread
//! pull --- Interest --'                    ranges --'
//! ```

mod attempts;
mod fetch;
mod later;
mod ranges;
mod small;
mod source;
mod stage;
mod writer;

pub(crate) use attempts::Attempts;
pub(crate) use later::Later;
pub(crate) use small::small_blob;
pub(crate) use source::Source;
pub(crate) use stage::{Phase, Snapshot};

use crate::config::RegistryConfig;
use fetch::Job;
use gantry_image_store::{ImageStore, LayerLease, WantedLayer};
use gantry_model::Digest;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::task::AbortHandle;

/// Layers that are unpacked at the same time, at most: each has threads and buffers.
const MOST_UNPACKED: usize = 8;

/// The daemon's transfers and their limits.
#[derive(Debug)]
pub(crate) struct Transfers {
    limits: RwLock<Limits>,
    active: Mutex<HashMap<Digest, Slot>>,
}

/// A layer that is here, held by those who fetched it until their images have it.
pub(crate) type Lease = Arc<Later<LayerLease>>;

/// What fetches compete for.
#[derive(Debug, Clone)]
struct Limits {
    /// Layers being fetched or unpacked. Taken before `downloads`, and kept longer.
    unpacking: Arc<Semaphore>,
    /// Layers being fetched (`max-concurrent-downloads`).
    downloads: Arc<Semaphore>,
    /// Connections beyond one for each of those: a limit of one layer means one connection.
    extra: Arc<Semaphore>,
    /// Layers being sent (`max-concurrent-uploads`).
    uploads: Arc<Semaphore>,
    /// How often a layer is tried (`max-download-attempts`).
    attempts: u32,
}

#[derive(Debug)]
struct Slot {
    fetch: Weak<Fetch>,
    /// Held while a fetch of this blob or what it left behind (a thread that still unpacks) is alive: the store opens
    /// a partial blob for one at a time.
    gate: Arc<AsyncMutex<()>>,
}

impl Limits {
    fn new(config: &RegistryConfig) -> Self {
        let downloads = config.max_concurrent_downloads.max(1);
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Self {
            unpacking: semaphore(downloads.max(cores).min(MOST_UNPACKED.max(downloads))),
            downloads: semaphore(downloads),
            extra: semaphore(downloads - 1),
            uploads: semaphore(config.max_concurrent_uploads.max(1)),
            attempts: config.max_download_attempts.max(1),
        }
    }
}

/// A fetch, kept alive by those who are interested.
#[derive(Debug)]
pub(crate) struct Fetch {
    snapshot: watch::Receiver<Snapshot>,
    task: AbortHandle,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One client's interest in a layer.
#[derive(Debug)]
pub(crate) struct Interest {
    /// How far the fetch is.
    pub(crate) snapshot: watch::Receiver<Snapshot>,
    /// Whether somebody else had started it, with access of their own.
    pub(crate) joined: bool,
    _fetch: Arc<Fetch>,
}

impl Transfers {
    pub(crate) fn new(config: &RegistryConfig) -> Self {
        Self { limits: RwLock::new(Limits::new(config)), active: Mutex::default() }
    }

    /// Takes over other limits. What runs keeps those it began with.
    pub(crate) fn reconfigure(&self, config: &RegistryConfig) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Limits::new(config);
    }

    /// What limits uploads of layers.
    pub(crate) fn uploads(&self) -> Arc<Semaphore> {
        self.limits().uploads
    }

    /// How often a layer is tried.
    pub(crate) fn attempts(&self) -> u32 {
        self.limits().attempts
    }

    fn limits(&self) -> Limits {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins to fetch a layer, or joins whoever fetches it.
    pub(crate) fn fetch(&self, store: &ImageStore, wanted: &WantedLayer, source: &Source) -> Interest {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|_, slot| slot.fetch.strong_count() > 0 || Arc::strong_count(&slot.gate) > 1);
        let running = active.get(&wanted.blob).and_then(|slot| slot.fetch.upgrade());
        if let Some(fetch) = running.filter(|fetch| !fetch.snapshot.borrow().has_failed()) {
            return Interest { snapshot: fetch.snapshot.clone(), joined: true, _fetch: fetch };
        }
        let gate = active.get(&wanted.blob).map(|slot| slot.gate.clone()).unwrap_or_default();
        let (tell, snapshot) = watch::channel(Snapshot::new(wanted.size));
        let job = Job {
            store: store.clone(),
            wanted: wanted.clone(),
            source: source.clone(),
            limits: self.limits(),
            gate: gate.clone(),
            tell,
        };
        let task = tokio::spawn(job.run()).abort_handle();
        let fetch = Arc::new(Fetch { snapshot: snapshot.clone(), task });
        active.insert(wanted.blob.clone(), Slot { fetch: Arc::downgrade(&fetch), gate });
        Interest { snapshot, joined: false, _fetch: fetch }
    }
}
