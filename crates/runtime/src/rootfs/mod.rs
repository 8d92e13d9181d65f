//! A container's root file system, assembled in its own mount namespace.

pub(crate) mod cgroup_mounts;
pub(crate) mod devices;
pub(crate) mod masks;
pub(crate) mod mounts;
pub(crate) mod overlay;
pub(crate) mod parts;
pub(crate) mod pivot;
pub(crate) mod resolve;
pub(crate) mod shifted;
pub(crate) mod tree;
