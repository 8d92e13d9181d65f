//! From a [`spec::Plan`] to a running process: namespaces, mounts, cgroups, seccomp, capabilities.

pub mod spec;
