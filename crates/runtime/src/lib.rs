//! From a [`spec::Plan`] to a running process: namespaces, mounts, cgroups, seccomp, capabilities.
//!
//! The shim calls [`container::create`] and [`exec::exec`]; both clone a child that sets itself up
//! and reports through a socket. The daemon uses [`spawn`], [`cgroup`], [`overlay`] and, with the
//! feature `daemon`, the seccomp compiler.

pub mod capabilities;
pub mod cgroup;
pub mod channel;
mod child;
pub mod container;
pub mod exec;
pub mod failure;
pub mod fuzzing;
pub mod held_mount;
pub mod init;
mod link;
pub mod oci;
pub mod overlay;
mod rootfs;
#[cfg(feature = "daemon")]
pub mod seccomp;
pub mod spawn;
pub mod spec;
pub mod user_namespace;
pub mod view;
