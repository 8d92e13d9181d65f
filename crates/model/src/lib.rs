//! Ids, names, error kinds and the container state machine: what every room of Gantry agrees on.
//!
//! Nothing in this crate does I/O.

pub mod error;
pub mod id;
pub mod names;
pub mod state;
pub mod timestamp;

pub use error::{Error, ErrorKind, Result};
pub use id::Id;
pub use state::ContainerStatus;
pub use timestamp::Timestamp;
