//! The container's side of its network.

use crate::failure::{OrFail, Result, Stage};
use crate::spec::ContainerNet;
use gantry_linux::ifconfig::Configurator;

/// Configures the loopback and the interface that the daemon has put here.
pub(crate) fn configure(net: &ContainerNet) -> Result<()> {
    let configurator = Configurator::new().or_fail(Stage::Setup, || "open a socket to configure the network")?;
    configurator.up("lo").or_fail(Stage::Setup, || "bring lo up")?;
    let Some(interface) = &net.interface else { return Ok(()) };
    let name = interface.name.as_str();
    configurator
        .set_address(name, interface.address, interface.prefix_len)
        .or_fail(Stage::Setup, || format!("give {name} the address {}", interface.address))?;
    configurator.up(name).or_fail(Stage::Setup, || format!("bring {name} up"))?;
    match interface.gateway {
        Some(gateway) => {
            configurator.set_default_route(gateway).or_fail(Stage::Setup, || format!("route by {gateway}"))
        }
        None => Ok(()),
    }
}
