//! Who makes networks: the network room for the drivers that are built in, a plugin for any other name.
//!
//! This is the only place that tells them apart.

use super::members::{Member, Plugged};
use super::record::Network;
use super::{addresses, endpoints, ipam, plugged};
use crate::Engine;
use crate::container::Record;
use gantry_api_types::{EndpointSettings, IpamConfig};
use gantry_model::{Error, Result};
use gantry_network::{Driver, Endpoint, NetworkDraft, NetworkSpec, Stack};
use std::os::fd::BorrowedFd;

/// Makes what the network needs in the kernel and completes its record. Blocks.
pub(super) fn create(engine: &Engine, mut network: Network) -> Result<Network> {
    if network.config_only {
        return Ok(network);
    }
    let driver = Driver::from_options(&network.driver, &network.options)?;
    let driver = driver.unwrap_or_else(|| Driver::Remote { name: network.driver.clone() });
    if let Driver::Remote { name } = &driver {
        // Before anything is made that would have to be taken back.
        plugged::check(engine, name)?;
    }
    let pools = match network.ipam.driver.as_str() {
        ipam::DEFAULT => ipam::pools(&network.ipam, network.ipv4, network.ipv6),
        ipam::NULL => return Err(Error::invalid("ipv4 pool is empty")),
        _ => addresses::request_pools(engine, &mut network)?,
    };
    let draft = NetworkDraft {
        id: network.id,
        name: network.name.clone(),
        internal: network.internal,
        ipv4: network.ipv4,
        ipv6: network.ipv6,
        pools,
        driver,
    };
    let made = check_pools(&draft).and_then(|()| Ok(engine.network.create(draft)?));
    let spec = made.inspect_err(|_| addresses::release_pools(engine, &network))?;
    complete(&mut network, &spec);
    if let Driver::Remote { name } = &spec.driver
        && let Err(e) = plugged::create(engine, name, &network, &spec)
    {
        if let Err(e) = engine.network.remove(&spec.id) {
            tracing::warn!("network {}: {e}", network.name);
        }
        addresses::release_pools(engine, &network);
        return Err(e);
    }
    network.spec = Some(spec);
    Ok(network)
}

/// Removes what is in the kernel; refused while somebody is on it. Blocks.
pub(super) fn remove(engine: &Engine, network: &Network) -> Result<()> {
    let Some(spec) = &network.spec else { return Ok(()) };
    if let Driver::Remote { name } = &spec.driver {
        plugged::delete(engine, name, network)?;
    }
    engine.network.remove(&spec.id)?;
    addresses::release_pools(engine, network);
    Ok(())
}

/// Reserves a place for a container; nothing changes in the kernel. Blocks.
pub(super) fn allocate(
    engine: &Engine,
    network: &Network,
    record: &Record,
    settings: &EndpointSettings,
) -> Result<(Endpoint, Option<Plugged>)> {
    let mut request = endpoints::request(engine, network, record, settings)?;
    let given = addresses::request_addresses(engine, network, &mut request)?;
    let endpoint = engine.network.allocate(&request).inspect_err(|_| addresses::give_back(engine, network, &given))?;
    let Some(Driver::Remote { name }) = network.spec.as_ref().map(|spec| &spec.driver) else {
        return Ok((endpoint, None));
    };
    let mut endpoint = endpoint;
    let joined = plugged::join(engine, name, record, settings, network.internal, &mut endpoint);
    let plugged = joined.inspect_err(|_| {
        if let Err(e) = engine.network.release(&endpoint) {
            tracing::warn!("network {}: {e}", network.name);
        }
        addresses::give_back(engine, network, &given);
    })?;
    Ok((endpoint, Some(plugged)))
}

/// Makes the interface of a reserved place in a network namespace; after an error nothing of it is there. Blocks.
pub(super) fn attach(engine: &Engine, member: &Member, netns: BorrowedFd<'_>, stack: Stack) -> Result<()> {
    match &member.plugged {
        Some(plugged) if plugged.source.is_empty() => Ok(()),
        Some(plugged) => Ok(engine.network.take_in(&plugged.source, netns, &member.ifname)?),
        None => Ok(engine.network.attach(&member.endpoint, netns, &member.ifname, stack)?),
    }
}

/// Removes the interface from a network namespace that goes on living. Blocks.
pub(super) fn detach(engine: &Engine, member: &Member, netns: BorrowedFd<'_>) -> Result<()> {
    Ok(engine.network.detach(&member.endpoint, netns, &member.ifname)?)
}

/// Gives a place back, with its interface if that is still there. Blocks.
pub(super) fn release(engine: &Engine, member: &Member) -> Result<()> {
    let left = if member.plugged.is_some() { plugged::leave(engine, member) } else { Ok(()) };
    let released = engine.network.release(&member.endpoint);
    if let Some(network) = engine.networks.get(&member.network) {
        addresses::give_back(engine, &network, &addresses::of(&member.endpoint));
    }
    left.and(released.map_err(Into::into))
}

/// A bridge has one address of a family.
fn check_pools(draft: &NetworkDraft) -> Result<()> {
    let of_family = |ipv4| draft.pools.iter().filter(|p| p.subnet.is_some_and(|s| s.is_ipv4() == ipv4)).count();
    if matches!(draft.driver, Driver::Bridge(_)) && (of_family(true) > 1 || of_family(false) > 1) {
        return Err(Error::forbidden("bridge driver doesn't support multiple subnets"));
    }
    Ok(())
}

/// Families that the client said nothing about are shown with what was chosen for them.
fn complete(network: &mut Network, spec: &NetworkSpec) {
    let chosen = |ipv4: bool| {
        let subnets = spec.subnets.iter().filter(move |s| s.subnet.is_ipv4() == ipv4);
        subnets.map(|s| IpamConfig {
            subnet: s.subnet.to_string(),
            gateway: s.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
            ..IpamConfig::default()
        })
    };
    let asked = network.ipam.config.take().unwrap_or_default();
    let (v4, v6): (Vec<_>, Vec<_>) =
        asked.into_iter().partition(|c| ipam::cidr(&c.subnet).is_some_and(|(_, subnet)| subnet.is_ipv4()));
    let mut all = Vec::new();
    for (asked, family) in [(v4, 4), (v6, 6)] {
        if asked.is_empty() {
            network.chosen_pools.push(family);
            all.extend(chosen(family == 4));
        }
        all.extend(asked);
    }
    network.ipam.config = Some(all);
}
