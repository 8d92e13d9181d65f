//! Netlink, the kernel's message protocol for network configuration.

pub mod container;
