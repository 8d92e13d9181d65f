//! Layers are extracted while the archive still arrives.
//!
//! The table of contents often comes last, so nobody has said yet which members are layers. What looks like one is
//! extracted into a directory with a temporary name, which is published when an image turns out to want it and removed
//! otherwise. Whatever goes wrong matters only then.

use crate::{
    files::Temporary,
    pipeline::{self, Keep, Plan},
    store::Inner,
};
use gantry_model::{Digest, Error, Result};
use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::Scope,
};

/// Compressed layers that are extracted at once; each is a small pipeline already.
const PARALLEL: usize = 2;

/// A layer that was extracted.
pub(super) struct Unpacked {
    pub(super) diff_id: Digest,
    /// Bytes of file data.
    pub(super) size: u64,
    pub(super) directory: Temporary,
}

/// A compressed member that lies on disk.
pub(super) struct Job {
    pub(super) member: Vec<u8>,
    pub(super) file: PathBuf,
    pub(super) blob: Digest,
}

pub(super) struct Done {
    pub(super) member: Vec<u8>,
    pub(super) blob: Digest,
    pub(super) result: Result<Unpacked>,
}

/// Threads that extract compressed members while the next ones arrive. When it is dropped before its end, what is left
/// to do is not done. They are slower than what fills the queue, so most of what turns out to be unwanted is not begun.
pub(super) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    store: Arc<Inner>,
    workers: usize,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    done: Sender<Done>,
    results: Receiver<Done>,
    stop: Stop,
    wanted: Arc<OnceLock<HashSet<Vec<u8>>>>,
}

/// Set when it is dropped.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'scope, 'env> Crew<'scope, 'env> {
    pub(super) fn new(scope: &'scope Scope<'scope, 'env>, store: &Arc<Inner>) -> Self {
        let (jobs, queue) = channel();
        let (done, results) = channel();
        Self {
            scope,
            store: store.clone(),
            workers: 0,
            jobs,
            queue: Arc::new(Mutex::new(queue)),
            done,
            results,
            stop: Stop(Arc::default()),
            wanted: Arc::default(),
        }
    }

    pub(super) fn add(&mut self, job: Job) {
        if self.workers < PARALLEL {
            self.workers += 1;
            let (store, queue, done) = (self.store.clone(), self.queue.clone(), self.done.clone());
            let (stop, wanted) = (self.stop.0.clone(), self.wanted.clone());
            self.scope.spawn(move || {
                let is_vain = |member: &Vec<u8>| {
                    stop.load(Ordering::Relaxed) || wanted.get().is_some_and(|wanted| !wanted.contains(member))
                };
                work(&store, &queue, &done, &is_vain);
            });
        }
        // The queue lives as long as this does.
        let _ = self.jobs.send(job);
    }

    /// Waits for the members that are wanted; an archive for several platforms has many that are not.
    pub(super) fn finish(self, members: HashSet<Vec<u8>>) -> Vec<Done> {
        let Self { jobs, done, results, stop, wanted, .. } = self;
        // Nobody else sets it.
        let _ = wanted.set(members);
        drop((jobs, done));
        let results = results.into_iter().collect();
        drop(stop);
        results
    }
}

fn work(store: &Inner, queue: &Mutex<Receiver<Job>>, done: &Sender<Done>, is_vain: &dyn Fn(&Vec<u8>) -> bool) {
    loop {
        // One thread waits in the queue and the others for the lock; both end with the sender.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { member, file, blob }) = job else { return };
        if is_vain(&member) {
            continue;
        }
        let result = File::open(file).map_err(Error::from).and_then(|file| {
            let mut file = Stoppable { inner: file, stop: || is_vain(&member) };
            unpack(store, &mut file, &blob, &mut |_| ())
        });
        if done.send(Done { member, blob, result }).is_err() {
            return;
        }
    }
}

/// Extracts a layer whose blob has this digest.
pub(super) fn unpack(
    store: &Inner,
    file: &mut dyn Read,
    blob: &Digest,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    let directory = store.files.temporary_layer()?;
    let root = directory.path().join("diff");
    let plan = Plan { known: Some(blob), keep: Keep::No, extract: Some(&root), limits: store.limits };
    let layer = pipeline::run(file, &plan, progress)?;
    Ok(Unpacked { diff_id: layer.diff_id, size: layer.extracted.map_or(0, |e| e.size), directory })
}

struct Stoppable<R, S> {
    inner: R,
    stop: S,
}

impl<R: Read, S: Fn() -> bool> Read for Stoppable<R, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if (self.stop)() {
            return Err(io::Error::other("nobody wants this layer"));
        }
        self.inner.read(buffer)
    }
}
