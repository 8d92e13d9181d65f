//! Who is called what on which network.

use gantry_model::Id;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A running container on a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// Its name, which is also what its addresses are called.
    pub name: String,
    /// Other names: aliases, the short id, the host name. Several containers may share one; each question is then
    /// answered with all of them, in an order that changes.
    pub aliases: Vec<String>,
    /// Its IPv4 address on this network.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address on this network.
    pub ipv6: Option<Ipv6Addr>,
}

/// A container that answers to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bearer {
    container: Id,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
}

/// The names of one network.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// The network's own name: `web.backend` is `web` on `backend`.
    pub(crate) name: String,
    members: HashMap<Id, Member>,
    /// By name in lower case.
    bearers: HashMap<Box<str>, Vec<Bearer>>,
    /// Names of addresses, each with its container, for two may overlap for a moment.
    addresses: HashMap<IpAddr, Id>,
}

/// The names of all networks.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<Id, Network>);

impl Names {
    pub(crate) fn network(&self, id: &Id) -> Option<&Network> {
        self.0.get(id)
    }

    /// Puts a member into a network, or changes it.
    pub(crate) fn join(&mut self, network: Id, network_name: &str, container: Id, member: Member) {
        let network = self.0.entry(network).or_default();
        network_name.clone_into(&mut network.name);
        network.name.make_ascii_lowercase();
        network.remove(&container);
        network.insert(container, member);
    }

    /// Takes a member out of a network. What has no members is forgotten.
    pub(crate) fn leave(&mut self, network: &Id, container: &Id) {
        if let Some(found) = self.0.get_mut(network) {
            found.remove(container);
            if found.members.is_empty() {
                self.0.remove(network);
            }
        }
    }
}

impl Network {
    /// The containers that a name in lower case stands for; empty if there are none.
    pub(crate) fn bearers(&self, name: &str) -> &[Bearer] {
        self.bearers.get(name).map_or(&[], Vec::as_slice)
    }

    /// What the container is called that has an address.
    pub(crate) fn name_of(&self, address: IpAddr) -> Option<&str> {
        let container = self.addresses.get(&address)?;
        self.members.get(container).map(|member| member.name.as_str())
    }

    fn insert(&mut self, container: Id, member: Member) {
        let bearer = Bearer { container, ipv4: member.ipv4, ipv6: member.ipv6 };
        for name in names(&member) {
            let bearers = self.bearers.entry(name.into()).or_default();
            // Its name may be an alias, too.
            if !bearers.contains(&bearer) {
                bearers.push(bearer);
            }
        }
        self.addresses.extend(addresses(&member).map(|address| (address, container)));
        self.members.insert(container, member);
    }

    fn remove(&mut self, container: &Id) {
        let Some(member) = self.members.remove(container) else { return };
        for name in names(&member) {
            if let Some(bearers) = self.bearers.get_mut(name.as_str()) {
                bearers.retain(|bearer| bearer.container != *container);
                if bearers.is_empty() {
                    self.bearers.remove(name.as_str());
                }
            }
        }
        for address in addresses(&member) {
            if self.addresses.get(&address) == Some(container) {
                self.addresses.remove(&address);
            }
        }
    }
}

fn names(member: &Member) -> impl Iterator<Item = String> {
    std::iter::once(&member.name).chain(&member.aliases).map(|name| name.to_lowercase())
}

fn addresses(member: &Member) -> impl Iterator<Item = IpAddr> {
    member.ipv4.map(IpAddr::V4).into_iter().chain(member.ipv6.map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, aliases: &[&str], last: u8) -> Member {
        Member {
            name: name.to_owned(),
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
            ipv4: Some([10, 0, 0, last].into()),
            ipv6: None,
        }
    }

    fn last_octets(names: &Names, network: &Id, name: &str) -> Vec<u8> {
        let bearers = names.network(network).map_or(&[][..], |n| n.bearers(name));
        bearers.iter().map(|b| b.ipv4.unwrap().octets()[3]).collect()
    }

    #[test]
    fn members_come_change_and_go() {
        let (network, one, two) = (Id::random(), Id::random(), Id::random());
        let mut names = Names::default();
        names.join(network, "Net", one, member("Web", &["web", "app"], 1));
        names.join(network, "Net", two, member("db", &["app"], 2));
        assert_eq!(names.network(&network).unwrap().name, "net");
        assert_eq!(last_octets(&names, &network, "web"), [1]);
        assert_eq!(last_octets(&names, &network, "app"), [1, 2]);
        let name_of = |names: &Names, last: u8| {
            let network = names.network(&network)?;
            network.name_of([10, 0, 0, last].into()).map(str::to_owned)
        };
        assert_eq!(name_of(&names, 1).as_deref(), Some("Web"));
        names.join(network, "net", one, member("shop", &[], 3));
        assert_eq!(last_octets(&names, &network, "web"), [0u8; 0]);
        assert_eq!(last_octets(&names, &network, "app"), [2]);
        assert_eq!((name_of(&names, 1), name_of(&names, 3).as_deref()), (None, Some("shop")));
        names.leave(&network, &one);
        names.leave(&network, &one);
        names.leave(&network, &two);
        assert!(names.network(&network).is_none());
    }

    #[test]
    fn an_address_that_changed_hands_is_its_new_owners() {
        let (network, one, two) = (Id::random(), Id::random(), Id::random());
        let mut names = Names::default();
        names.join(network, "net", one, member("old", &[], 1));
        names.join(network, "net", two, member("new", &[], 1));
        names.leave(&network, &one);
        assert_eq!(names.network(&network).unwrap().name_of([10, 0, 0, 1].into()), Some("new"));
    }
}
