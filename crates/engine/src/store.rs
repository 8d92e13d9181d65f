//! Persisting records: durably before an answer where a client relies on it, lazily otherwise.

use crate::Engine;
use crate::container::{Container, Record};
use crate::engine::CONTAINERS;
use gantry_model::{Error, Result};
use gantry_state_db::Batch;
use tokio::sync::oneshot;

impl Engine {
    /// Returns when the record as it is now is durable.
    pub(crate) async fn store(&self, container: &Container) -> Result<()> {
        let (batch, _) = record_batch(&container.read())?;
        self.commit(batch).await
    }

    /// Returns when `record` is durable.
    pub(crate) async fn store_record(&self, record: &Record) -> Result<()> {
        let (batch, _) = record_batch(record)?;
        self.commit(batch).await
    }

    /// Writes the record with the next group; for facts that the shim's files hold until then.
    /// `done` runs once they are durable.
    pub(crate) fn store_lazily(&self, container: &Container, done: impl FnOnce() + Send + 'static) {
        let (batch, id) = match record_batch(&container.read()) {
            Ok(made) => made,
            Err(e) => return tracing::error!("container {}: {e}", container.id),
        };
        self.db.submit(batch, move |result| match result {
            Ok(()) => done(),
            Err(e) => tracing::error!("container {id}: its state could not be written: {e}"),
        });
    }

    /// Deletes the record, together with what `beside` changes; durable on return.
    pub(crate) async fn forget(&self, container: &Container, beside: Batch) -> Result<()> {
        self.commit(beside.delete(CONTAINERS, &container.id.to_string())).await
    }

    /// Commits without blocking the runtime.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<()> {
        let (tell, told) = oneshot::channel();
        self.db.submit(batch, move |result| drop(tell.send(result)));
        told.await.map_err(|_| Error::internal("the state file's writer has stopped"))??;
        Ok(())
    }
}

fn record_batch(record: &Record) -> Result<(Batch, String)> {
    let id = record.id.to_string();
    Ok((Batch::new().put(CONTAINERS, &id, record)?, id))
}
