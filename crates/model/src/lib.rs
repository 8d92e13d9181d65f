//! Ids, names, error kinds and the container state machine: what every room of Gantry agrees on.
//!
//! Nothing in this crate does I/O.

pub mod digest;
pub mod error;
pub mod go;
pub mod id;
pub mod id_map;
pub mod names;
pub mod platform;
pub mod reference;
pub mod signal;
pub mod state;
mod text;
pub mod timestamp;

pub use digest::Digest;
pub use error::{Error, ErrorKind, Result};
pub use id::Id;
pub use id_map::IdMaps;
pub use platform::Platform;
pub use reference::{AnyReference, Reference};
pub use state::ContainerStatus;
pub use timestamp::Timestamp;
