//! Exec instances.

pub(crate) mod create;
pub(crate) mod inspect;
pub(crate) mod resize;
pub(crate) mod start;
