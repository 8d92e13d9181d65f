//! Persisting records: durably before an answer where a client relies on it, lazily otherwise.

use crate::Engine;
use crate::container::{Container, Record};
use crate::engine::CONTAINERS;
use gantry_model::{ContainerStatus, Error, Result};
use gantry_state_db::{Batch, Result as DbResult};
use tokio::sync::oneshot;

impl Engine {
    /// Returns when the record as it is now is durable.
    pub(crate) async fn store(&self, container: &Container) -> Result<()> {
        let (tell, told) = oneshot::channel();
        self.submit_record(container, move |result| drop(tell.send(result)))?;
        told.await.map_err(|_| writer_stopped())??;
        Ok(())
    }

    /// Writes the record with the next group; for facts that the shim's files hold until then.
    /// `done` runs once they are durable.
    pub(crate) fn store_lazily(&self, container: &Container, done: impl FnOnce() + Send + 'static) {
        let id = container.id;
        let submitted = self.submit_record(container, move |result| match result {
            Ok(()) => done(),
            Err(e) => tracing::error!("container {id}: its state could not be written: {e}"),
        });
        if let Err(e) = submitted {
            tracing::error!("container {id}: {e}");
        }
    }

    /// The record stays locked until the writer has it: of two changes the later is written later, and
    /// nothing is written after a removal has begun, which would bring the container back to life.
    fn submit_record(&self, container: &Container, done: impl FnOnce(DbResult<()>) + Send + 'static) -> Result<()> {
        let record = container.read();
        if record.state.status == ContainerStatus::Removing {
            done(Ok(()));
            return Ok(());
        }
        self.db.submit(record_batch(&record)?, done);
        Ok(())
    }

    /// Deletes the record, together with what `beside` changes; durable on return.
    pub(crate) async fn forget(&self, container: &Container, beside: Batch) -> Result<()> {
        self.commit(beside.delete(CONTAINERS, &container.id.to_string())).await
    }

    /// Commits without blocking the runtime.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<()> {
        let (tell, told) = oneshot::channel();
        self.db.submit(batch, move |result| drop(tell.send(result)));
        told.await.map_err(|_| writer_stopped())??;
        Ok(())
    }
}

fn record_batch(record: &Record) -> Result<Batch> {
    Ok(Batch::new().put(CONTAINERS, &record.id.to_string(), record)?)
}

fn writer_stopped() -> Error {
    Error::internal("the state file's writer has stopped")
}
