//! Whom the daemon's TLS clients believe: the system's authorities, private ones, self-signed servers as Go does, and,
//! where somebody asks for it, everybody.

mod roots;
mod verify;

pub use roots::{files_in, parse, read, system};
pub use verify::{Believer, Gullible};
