//! The daemon's side of a shim: the connection, and the task that follows a container's life.

mod link;
mod supervise;

pub(crate) use link::{Incoming, ShimLink, ShimReader, failure_error};
pub(crate) use supervise::{Launch, supervise};
