//! The one thread that writes, so that batches which arrive during an fsync share the next.

use crate::{Batch, Result, db::StateFile};
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

/// Batches in one transaction: bounds what a failed commit takes with it.
const GROUP: usize = 256;

pub(crate) type Done = Box<dyn FnOnce(Result<()>) + Send>;

struct Job {
    batch: Batch,
    done: Done,
}

/// The writer thread; it ends, and the file is closed, when this is dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` only while dropping.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(file: Arc<StateFile>) -> Result<Self> {
        let (jobs, queue) = channel();
        let path_error = file.io("cannot start the writer thread");
        let thread = thread::Builder::new()
            .name("state-db".into())
            .spawn(move || write_groups(&file, &queue))
            .map_err(|_| path_error)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(crate) fn submit(&self, batch: Batch, done: Done, file: &StateFile) {
        if batch.is_empty() {
            return done(Ok(()));
        }
        let refused = match &self.jobs {
            Some(jobs) => jobs.send(Job { batch, done }).err().map(|e| e.0.done),
            None => Some(done),
        };
        if let Some(done) = refused {
            done(Err(file.io("the writer has stopped")));
        }
    }
}

impl Drop for Writer {
    /// Waits for what was submitted. On the writer's own thread (the last handle died in a callback) there is nothing
    /// to wait for: the queue is drained after this returns.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
        {
            // A panic there was already printed, and everyone who waited has been told.
            drop(thread.join());
        }
    }
}

fn write_groups(file: &StateFile, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let (batches, waiting): (Vec<Batch>, Vec<Done>) =
            std::iter::once(first).chain(queue.try_iter().take(GROUP - 1)).map(|job| (job.batch, job.done)).unzip();
        let result = file.store(&batches);
        for done in waiting {
            done(result.clone());
        }
    }
}
