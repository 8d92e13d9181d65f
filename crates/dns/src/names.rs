//! Who is called what on which network.

use gantry_model::Id;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A running container's place on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The network.
    pub network: Id,
    /// The network's own name: `web.backend` is `web` on `backend`.
    pub network_name: String,
    /// The container's name, which is also what its addresses are called.
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
    /// Its own name, in lower case.
    pub(crate) name: String,
    members: HashMap<Id, Place>,
    /// By name in lower case.
    bearers: HashMap<Box<str>, Vec<Bearer>>,
    /// Names of addresses, each with its container, for two may overlap for a moment.
    addresses: HashMap<IpAddr, Id>,
}

/// The names of all networks.
#[derive(Debug, Default)]
pub(crate) struct Names {
    networks: HashMap<Id, Network>,
    /// The networks that each container is on.
    of_container: HashMap<Id, Vec<Id>>,
}

impl Names {
    pub(crate) fn network(&self, id: &Id) -> Option<&Network> {
        self.networks.get(id)
    }

    /// A container has these places from now on, and no others.
    pub(crate) fn place(&mut self, container: Id, places: Vec<Place>) {
        let networks: Vec<Id> = places.iter().map(|place| place.network).collect();
        for place in places {
            let network = self.networks.entry(place.network).or_default();
            network.name = place.network_name.to_lowercase();
            network.remove(&container);
            network.insert(container, place);
        }
        let left = if networks.is_empty() {
            self.of_container.remove(&container)
        } else {
            self.of_container.insert(container, networks.clone())
        };
        for network in left.unwrap_or_default().iter().filter(|network| !networks.contains(network)) {
            self.leave(network, &container);
        }
    }

    /// What has no members is forgotten.
    fn leave(&mut self, network: &Id, container: &Id) {
        if let Some(found) = self.networks.get_mut(network) {
            found.remove(container);
            if found.members.is_empty() {
                self.networks.remove(network);
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

    fn insert(&mut self, container: Id, member: Place) {
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

fn names(member: &Place) -> impl Iterator<Item = String> {
    std::iter::once(&member.name).chain(&member.aliases).map(|name| name.to_lowercase())
}

fn addresses(member: &Place) -> impl Iterator<Item = IpAddr> {
    member.ipv4.map(IpAddr::V4).into_iter().chain(member.ipv6.map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(network: Id, name: &str, aliases: &[&str], last: u8) -> Place {
        Place {
            network,
            network_name: "Net".to_owned(),
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

    fn name_of(names: &Names, network: &Id, last: u8) -> Option<String> {
        names.network(network)?.name_of([10, 0, 0, last].into()).map(str::to_owned)
    }

    #[test]
    fn containers_come_change_and_go() {
        let (network, one, two) = (Id::random(), Id::random(), Id::random());
        let mut names = Names::default();
        names.place(one, vec![place(network, "Web", &["web", "app"], 1)]);
        names.place(two, vec![place(network, "db", &["app"], 2)]);
        assert_eq!(names.network(&network).unwrap().name, "net");
        assert_eq!(last_octets(&names, &network, "web"), [1]);
        assert_eq!(last_octets(&names, &network, "app"), [1, 2]);
        assert_eq!(name_of(&names, &network, 1).as_deref(), Some("Web"));
        names.place(one, vec![place(network, "shop", &[], 3)]);
        assert_eq!(last_octets(&names, &network, "web"), [0u8; 0]);
        assert_eq!(last_octets(&names, &network, "app"), [2]);
        assert_eq!(name_of(&names, &network, 1), None);
        assert_eq!(name_of(&names, &network, 3).as_deref(), Some("shop"));
        for container in [one, one, two] {
            names.place(container, Vec::new());
        }
        assert!(names.networks.is_empty() && names.of_container.is_empty());
    }

    #[test]
    fn networks_are_joined_and_left() {
        let (front, back, container) = (Id::random(), Id::random(), Id::random());
        let mut names = Names::default();
        names.place(container, vec![place(front, "web", &[], 1)]);
        names.place(container, vec![place(front, "web", &[], 1), place(back, "web", &[], 2)]);
        assert_eq!((last_octets(&names, &front, "web"), last_octets(&names, &back, "web")), (vec![1], vec![2]));
        names.place(container, vec![place(back, "web", &[], 2)]);
        assert!(names.network(&front).is_none());
        assert_eq!(last_octets(&names, &back, "web"), [2]);
    }

    #[test]
    fn an_address_that_changed_hands_is_its_new_owners() {
        let (network, one, two) = (Id::random(), Id::random(), Id::random());
        let mut names = Names::default();
        names.place(one, vec![place(network, "old", &[], 1)]);
        names.place(two, vec![place(network, "new", &[], 1)]);
        names.place(one, Vec::new());
        assert_eq!(name_of(&names, &network, 1).as_deref(), Some("new"));
    }
}
