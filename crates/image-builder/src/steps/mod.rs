//! What the instructions do.

pub(crate) mod metadata;
pub(crate) mod ports;
pub(crate) mod remote;
pub(crate) mod run;
pub(crate) mod transfer;
