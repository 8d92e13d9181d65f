//! Images. The engine's image calls block, so each runs on a blocking thread.

pub(crate) mod create;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod load;
mod platform;
pub(crate) mod prune;
pub(crate) mod push;
pub(crate) mod remove;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod tag;

use gantry_engine::Engine;
use gantry_model::{Error, Result};
use std::sync::Arc;

/// Runs `work` where it may block.
async fn blocking<T, F>(engine: &Arc<Engine>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&Engine) -> Result<T> + Send + 'static,
{
    let engine = Arc::clone(engine);
    match tokio::task::spawn_blocking(move || work(&engine)).await {
        Ok(result) => result,
        Err(e) => Err(Error::internal(format!("the operation broke off: {e}"))),
    }
}
