//! Swarm mode, which this node is not in: Docker's answers to everything but what would change that.

use crate::{request::Call, wire::Body};
use gantry_engine::NO_SWARM;
use gantry_model::{Error, Result};
use http::Response;
use serde_json::Value;

type Refusal = Result<Response<Body>>;

fn no_manager() -> Refusal {
    Err(Error::unavailable(NO_SWARM))
}

/// What has neither a body nor anything else that could be wrong.
pub(crate) async fn refuse(_: Call) -> Refusal {
    no_manager()
}

/// A list.
pub(crate) async fn list(call: Call) -> Refusal {
    call.query.filters()?;
    no_manager()
}

/// What is made, and the key that unlocks.
pub(crate) async fn create(mut call: Call) -> Refusal {
    object(&mut call).await?;
    no_manager()
}

/// A change of what had a certain version.
pub(crate) async fn update(mut call: Call) -> Refusal {
    object(&mut call).await?;
    let version = call.query.str("version");
    version.parse::<u64>().map_err(|_| Error::invalid(format!("invalid version {version:?}")))?;
    no_manager()
}

/// Output of a service or a task.
pub(crate) async fn logs(call: Call) -> Refusal {
    if !call.query.bool("stdout") && !call.query.bool("stderr") {
        return Err(Error::invalid("Bad parameters: you must choose at least one stream"));
    }
    no_manager()
}

/// Whether by force or not.
pub(crate) async fn leave(_: Call) -> Refusal {
    Err(Error::unavailable("This node is not part of a swarm"))
}

/// What would make this node part of one.
pub(crate) async fn enter(mut call: Call) -> Refusal {
    object(&mut call).await?;
    Err(Error::not_implemented("swarm mode is not there yet: this engine can neither begin nor join a swarm"))
}

async fn object(call: &mut Call) -> Result<()> {
    call.json::<serde_json::Map<String, Value>>().await.map(drop)
}
