//! Exec: further processes in a running container.
//!
//! An exec instance lives in memory: it belongs to a client's session, and Docker forgets execs at
//! a restart as well. Its process belongs to the shim.

mod create;
mod events;
mod inspect;
mod plan;
mod registry;
mod resize;
mod run;
mod start;

pub(crate) use registry::{Exec, ExecState, Execs};
pub(crate) use run::ExecRun;
pub use start::ExecStarted;
