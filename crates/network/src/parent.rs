//! Parents of macvlan and ipvlan networks: interfaces of the host, VLANs on them, or dummies that lead nowhere.

use crate::bridge::Host;
use crate::default_bridge::link;
use crate::{Error, Result};
use gantry_linux::netlink::{Batch, Socket, namespace, route};
use rustix::io::Errno;
use std::os::fd::AsFd;

/// The parent's index; a VLAN sub-interface `eth0.10` and a dummy are made when missing.
pub(crate) fn ensure(socket: &mut Socket, name: &str, alias: &str, host: &Host, what: &'static str) -> Result<u32> {
    if let Some(link) = host.link(name) {
        return Ok(link.index);
    }
    let mut batch = Batch::new();
    if name.starts_with("dm-") || name.starts_with("di-") {
        route::add_dummy(&mut batch, name);
    } else {
        let (parent, id) = vlan(name).ok_or_else(|| Error::ParentMissing(name.to_owned()))?;
        let parent = host.link(parent).ok_or_else(|| Error::ParentMissing(parent.to_owned()))?;
        route::add_vlan(&mut batch, name, parent.index, id);
    }
    route::set_alias(&mut batch, name, alias);
    socket.transact(&mut batch).map_err(|e| match e.errno() {
        Some(Errno::OPNOTSUPP) if vlan(name).is_some() => Error::KernelLacks { what, kind: "vlan", hint: "" },
        Some(Errno::OPNOTSUPP) => {
            Error::KernelLacks { what, kind: "dummy", hint: "; name an interface of the host with the option parent" }
        }
        _ => Error::kernel(format!("create {name}"))(e.into()),
    })?;
    let index = link(socket, name)?.ok_or_else(|| Error::ParentMissing(name.to_owned()))?.index;
    let mut batch = Batch::new();
    route::set_link_up(&mut batch, index);
    socket.transact(&mut batch).map_err(|e| Error::kernel(format!("bring {name} up"))(e.into()))?;
    Ok(index)
}

/// Parent and number of a VLAN sub-interface.
pub(crate) fn vlan(name: &str) -> Option<(&str, u16)> {
    let (parent, id) = name.rsplit_once('.')?;
    let digits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    let id = id.parse().ok().filter(|id| digits && (1..4095).contains(id))?;
    (!parent.is_empty()).then_some((parent, id))
}

/// Tries to make an ipvlan interface: better to refuse the network than each container on it.
pub(crate) fn probe_ipvlan(socket: &mut Socket, parent: u32) -> Result<()> {
    const PROBE: &str = "gantry-probe";
    let here = namespace::current().map_err(Error::kernel("open the network namespace"))?;
    let mut batch = Batch::new();
    let (mode, flag) = (route::IpvlanMode::L2, route::IpvlanFlag::Bridge);
    route::Ipvlan { name: PROBE, parent, mode, flag, mtu: 0, netns: here.as_fd() }.add(&mut batch);
    match socket.transact(&mut batch) {
        Err(e) if e.errno() == Some(Errno::OPNOTSUPP) => Err(lacks_ipvlan()),
        Err(e) => Err(Error::kernel("try an ipvlan interface")(e.into())),
        Ok(()) => {
            let mut batch = Batch::new();
            route::delete_link(&mut batch, PROBE);
            socket.transact(&mut batch).map_err(|e| Error::kernel("remove an ipvlan interface")(e.into()))
        }
    }
}

/// What is said where the kernel has no ipvlan.
pub(crate) fn lacks_ipvlan() -> Error {
    Error::KernelLacks { what: "an ipvlan network", kind: "ipvlan", hint: "; macvlan may do" }
}

#[cfg(test)]
mod tests {
    use super::{lacks_ipvlan, vlan};

    #[test]
    fn sub_interfaces() {
        assert_eq!(vlan("eth0.10"), Some(("eth0", 10)));
        assert_eq!(vlan("bond0.5.100"), Some(("bond0.5", 100)));
        for none in ["eth0", "eth0.", "eth0.0", "eth0.4095", "eth0.x", ".10", "eth0.+1"] {
            assert_eq!(vlan(none), None, "{none}");
        }
    }

    #[test]
    fn what_the_kernel_lacks() {
        assert_eq!(
            lacks_ipvlan().to_string(),
            "an ipvlan network needs ipvlan interfaces, which this host's kernel does not have; macvlan may do"
        );
    }
}
