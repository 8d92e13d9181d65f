//! Exec: further processes in a running container.
//!
//! An exec instance lives in memory: it belongs to a client's session, and Docker forgets execs at
//! a restart as well. Its process belongs to the shim.

mod create;
mod events;
mod inspect;
mod instance;
mod plan;
mod registry;
mod resize;
mod run;
mod start;

pub(crate) use instance::{Exec, ExecState};
pub(crate) use registry::Execs;
pub(crate) use run::{ExecIo, ExecRun};
pub use start::ExecStarted;
