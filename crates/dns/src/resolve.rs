//! What a name means to one container.

use crate::names::{Bearer, Names, Network};
use crate::view::{Attachment, View};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Whether a name is one of the container's networks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is, with these addresses.
    Addresses(Vec<IpAddr>),
    /// It is, and has no address of the family.
    NoAddress,
    /// It is none.
    Unknown,
}

/// Looks a name (in lower case, without the dot at its end) up in the networks of a container. Names may have dots, and
/// so may networks: `a.b.c` is `a.b.c` on any of them, or `a.b` on `c`, or `a` on `b.c`.
pub(crate) fn forward(names: &Names, view: &View, name: &str, family: Family) -> Found {
    let mut found = on_networks(names, view, name, None, family);
    for (at, _) in name.rmatch_indices('.') {
        if found != Found::Unknown {
            break;
        }
        found = on_networks(names, view, &name[..at], Some(&name[at + 1..]), family);
    }
    found
}

/// What an address is called, with the network's name.
pub(crate) fn reverse(names: &Names, view: &View, address: IpAddr) -> Option<String> {
    networks(names, view).find_map(|(_, network)| {
        let name = network.name_of(address)?;
        Some(format!("{name}.{}", network.name))
    })
}

fn networks<'a>(names: &'a Names, view: &'a View) -> impl Iterator<Item = (&'a Attachment, &'a Network)> {
    view.attachments.iter().filter_map(|attachment| Some((attachment, names.network(&attachment.network)?)))
}

/// Links come before names, on whichever network they are.
fn on_networks(names: &Names, view: &View, name: &str, network: Option<&str>, family: Family) -> Found {
    let wanted = |(_, found): &(&Attachment, &Network)| network.is_none_or(|name| found.name == name);
    let linked = |(attachment, network): (&Attachment, &'_ Network)| {
        let target = attachment.links.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        target.map_or(Found::Unknown, |(_, target)| pick(network.bearers(&target.to_lowercase()), family))
    };
    let by_link = first(networks(names, view).filter(wanted).map(linked));
    if by_link != Found::Unknown {
        return by_link;
    }
    first(networks(names, view).filter(wanted).map(|(_, network)| pick(network.bearers(name), family)))
}

/// The first with addresses, or else the first that knows the name.
fn first(all: impl Iterator<Item = Found>) -> Found {
    let mut outcome = Found::Unknown;
    for found in all {
        match found {
            Found::Addresses(_) => return found,
            Found::NoAddress => outcome = Found::NoAddress,
            Found::Unknown => {}
        }
    }
    outcome
}

fn pick(bearers: &[Bearer], family: Family) -> Found {
    if bearers.is_empty() {
        return Found::Unknown;
    }
    let address = |bearer: &Bearer| match family {
        Family::V4 => bearer.ipv4.map(Ipv4Addr::into),
        Family::V6 => bearer.ipv6.map(Ipv6Addr::into),
    };
    let addresses: Vec<IpAddr> = bearers.iter().filter_map(address).collect();
    if addresses.is_empty() { Found::NoAddress } else { Found::Addresses(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Place;
    use gantry_model::Id;

    struct World {
        names: Names,
        view: View,
    }

    impl World {
        /// `db` (a v4 address) and `cache` (both families) on `front`, `db` (another) and `a.b` on `back.end`.
        fn new() -> Self {
            let (front, back) = (Id::random(), Id::random());
            let mut names = Names::default();
            let mut join = |network: Id, called: &str, name: &str, v4: [u8; 4], v6: Option<&str>| {
                let place = Place {
                    network,
                    network_name: called.to_owned(),
                    name: name.to_owned(),
                    aliases: Vec::new(),
                    ipv4: Some(v4.into()),
                    ipv6: v6.map(|text| text.parse().unwrap()),
                };
                names.place(Id::random(), vec![place]);
            };
            join(front, "front", "db", [10, 0, 0, 1], None);
            join(front, "front", "cache", [10, 0, 0, 2], Some("fd00::2"));
            join(back, "back.end", "db", [10, 1, 0, 1], Some("fd01::1"));
            join(back, "back.end", "a.b", [10, 1, 0, 3], None);
            let attachment = |network: Id, links: &[(&str, &str)]| {
                let links = links.iter().map(|(a, t)| ((*a).to_owned(), (*t).to_owned())).collect();
                Attachment { network, links }
            };
            let attachments = vec![attachment(front, &[("Store", "DB"), ("gone", "nobody")]), attachment(back, &[])];
            Self { names, view: View { attachments, ..View::default() } }
        }

        fn v4(&self, name: &str) -> String {
            text(&forward(&self.names, &self.view, name, Family::V4))
        }

        fn v6(&self, name: &str) -> String {
            text(&forward(&self.names, &self.view, name, Family::V6))
        }
    }

    fn text(found: &Found) -> String {
        match found {
            Found::Addresses(all) => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_of_containers() {
        let world = World::new();
        assert_eq!(world.v4("db"), "10.0.0.1", "the first network's");
        assert_eq!(world.v6("db"), "fd01::1", "that network's which has one");
        assert_eq!(world.v6("cache"), "fd00::2");
        assert_eq!(world.v4("nobody"), "Unknown");
        assert_eq!(world.v4(""), "Unknown");
    }

    #[test]
    fn names_with_their_networks() {
        let world = World::new();
        assert_eq!(world.v4("db.front"), "10.0.0.1");
        assert_eq!(world.v4("db.back.end"), "10.1.0.1");
        assert_eq!(world.v4("a.b"), "10.1.0.3");
        assert_eq!(world.v4("a.b.back.end"), "10.1.0.3");
        assert_eq!(world.v6("db.front"), "NoAddress");
        assert_eq!(world.v4("cache.back.end"), "Unknown");
        assert_eq!(world.v4("front"), "Unknown");
        assert_eq!(world.v4(".front"), "Unknown");
    }

    #[test]
    fn links() {
        let world = World::new();
        assert_eq!(world.v4("store"), "10.0.0.1");
        assert_eq!(world.v4("store.front"), "10.0.0.1");
        assert_eq!(world.v6("store"), "NoAddress");
        assert_eq!(world.v4("store.back.end"), "Unknown");
        assert_eq!(world.v4("gone"), "Unknown");
    }

    #[test]
    fn addresses() {
        let world = World::new();
        let reverse = |ip: &str| super::reverse(&world.names, &world.view, ip.parse().unwrap());
        assert_eq!(reverse("10.0.0.1").as_deref(), Some("db.front"));
        assert_eq!(reverse("fd01::1").as_deref(), Some("db.back.end"));
        assert_eq!(reverse("10.9.9.9"), None);
    }

    #[test]
    fn whoever_is_on_no_network_knows_nobody() {
        let World { names, .. } = World::new();
        assert_eq!(forward(&names, &View::default(), "db", Family::V4), Found::Unknown);
    }
}
