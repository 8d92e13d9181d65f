//! The container's side of its network.

use super::procfs::Procfs;
use crate::failure::{OrFail, Result, Stage};
use crate::spec::ContainerNet;
use gantry_linux::netlink::container;

/// Configures the loopback and the interfaces that the daemon has put here.
pub(crate) fn configure(net: &ContainerNet, procfs: &Procfs) -> Result<()> {
    container::apply(net, |key, value| procfs.write(&format!("sys/net/{key}"), value))
        .or_fail(Stage::Setup, || "configure the network")
}
