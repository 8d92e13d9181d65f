//! Elements of the sets, as the kernel wants their bytes.

use super::{FORWARDED, FORWARDED_ON, OPEN, PUBLISHED, PUBLISHED_ON};
use crate::{PortBinding, Proto, Published};
use gantry_linux::netlink::nft::{Data, Element};
use std::net::{IpAddr, Ipv4Addr};

/// The elements for published ports, by set.
#[derive(Debug, Clone, Default)]
pub(crate) struct PortElements {
    published: [Vec<Element>; 2],
    published_on: [Vec<Element>; 2],
    open: [Vec<Element>; 2],
    /// On all addresses, and on certain ones.
    forwarded: [Vec<Element>; 2],
}

impl PortElements {
    /// Adds the ports of a container. `opens` says of a port whether it is open on the container's own address.
    pub(crate) fn add(&mut self, published: &Published, opens: impl Fn(&PortBinding) -> bool) {
        for port in &published.bindings {
            if port.is_forwarded([false, published.forwarded]) && published.forwarding_target().is_some() {
                let certain = usize::from(!port.host_ip.is_unspecified());
                self.forwarded[certain].push(Element { key: host_key(port), data: Data::None });
            }
            let Some(target) = published.translation(port) else { continue };
            let family = usize::from(target.is_ipv6());
            if port.host_port != 0 {
                let list = if port.host_ip.is_unspecified() { &mut self.published } else { &mut self.published_on };
                list[family].push(translation(target, port));
            }
            if opens(port) {
                let element = Element { key: endpoint_key(target, port.proto, port.container_port), data: Data::None };
                // The same port may be published on several host addresses.
                if !self.open[family].contains(&element) {
                    self.open[family].push(element);
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let lists = [&self.published, &self.published_on, &self.open, &self.forwarded];
        lists.iter().all(|lists| lists.iter().all(Vec::is_empty))
    }

    /// Each set's name with its elements.
    pub(super) fn for_each(&self, mut visit: impl FnMut(&'static str, &[Element])) {
        for (names, lists) in [
            (PUBLISHED, &self.published),
            (PUBLISHED_ON, &self.published_on),
            (OPEN, &self.open),
            ([FORWARDED, FORWARDED_ON], &self.forwarded),
        ] {
            for (name, list) in names.into_iter().zip(lists) {
                visit(name, list);
            }
        }
    }
}

/// A member that may talk to another, to one of its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LinkRule {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) proto: Proto,
    pub(crate) port: u16,
}

pub(super) fn links(links: &[LinkRule]) -> Vec<Element> {
    let element = |link: &LinkRule| {
        let mut key = link.from.octets().to_vec();
        key.extend(endpoint_key(link.to.into(), link.proto, link.port));
        Element { key, data: Data::None }
    };
    links.iter().map(element).collect()
}

fn translation(target: IpAddr, binding: &PortBinding) -> Element {
    let mut data = address(target);
    data.extend_from_slice(&port(binding.container_port));
    Element { key: host_key(binding), data: Data::Value(data) }
}

/// The host's side: the address only where it is a certain one.
fn host_key(binding: &PortBinding) -> Vec<u8> {
    if binding.host_ip.is_unspecified() {
        port_key(binding.proto, binding.host_port)
    } else {
        endpoint_key(binding.host_ip, binding.proto, binding.host_port)
    }
}

/// Address, protocol and port.
fn endpoint_key(ip: IpAddr, proto: Proto, number: u16) -> Vec<u8> {
    let mut key = address(ip);
    key.extend(port_key(proto, number));
    key
}

fn port_key(proto: Proto, number: u16) -> Vec<u8> {
    let mut key = vec![proto.number(), 0, 0, 0];
    key.extend_from_slice(&port(number));
    key
}

fn address(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// A port as it stands in a register: in network byte order, then zeros.
fn port(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [high, low, 0, 0]
}

/// An interface's name as it stands in registers.
pub(super) fn interface(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.resize(16, 0);
    key
}
