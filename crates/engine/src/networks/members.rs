//! The networks that a running container is on.

use gantry_linux::netlink::container::{Layout, Route};
use gantry_model::Id;
use gantry_network::{Endpoint, Gateways, PortBinding, Published, layout};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::net::IpAddr;

/// A container's places on networks and its published ports. They are the run's, and kept in its file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Attached {
    /// In the order in which they were joined.
    pub(crate) members: Vec<Member>,
    /// The published ports.
    pub(crate) published: Option<Published>,
}

/// A place on a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    /// The network.
    pub(crate) network: Id,
    /// Its name, by which the container's record knows it.
    pub(crate) name: String,
    /// Its driver, for events.
    pub(crate) driver: String,
    /// Whether it leads nowhere.
    pub(crate) internal: bool,
    /// The client's wish that this one lead to the outside.
    pub(crate) priority: i64,
    /// The interface's name in the container.
    pub(crate) ifname: String,
    /// Settings of the interface, below `net/`.
    pub(crate) settings: Vec<(String, String)>,
    /// What the network has given.
    pub(crate) endpoint: Endpoint,
    /// What a plugin has given besides.
    #[serde(default)]
    pub(crate) plugged: Option<Plugged>,
}

/// A plugin's part of a place on a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plugged {
    /// The interface on the host that becomes the container's; empty if there is none.
    pub(crate) source: String,
    /// What the interface's name in the container begins with; empty for `eth`.
    #[serde(default)]
    pub(crate) prefix: String,
    /// Further routes.
    pub(crate) routes: Vec<StaticRoute>,
    /// The plugin was told that this is the container's way out, and publishes its ports.
    #[serde(default)]
    pub(crate) way_out: bool,
    /// The ports that it says to have published.
    #[serde(default)]
    pub(crate) ports: Vec<PortBinding>,
}

/// A route of a plugin's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StaticRoute {
    /// Where it goes.
    pub(crate) destination: IpAddr,
    /// How much of that counts.
    pub(crate) prefix_len: u8,
    /// The next router.
    pub(crate) gateway: Option<IpAddr>,
}

impl Attached {
    /// The place on a network.
    pub(crate) fn on(&self, network: &Id) -> Option<&Member> {
        self.members.iter().find(|member| member.network == *network)
    }

    /// The place on the network of that name.
    pub(crate) fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }

    /// What the default bridge has given.
    pub(crate) fn bridge(&self) -> Option<&Endpoint> {
        self.named("bridge").map(|member| &member.endpoint)
    }

    /// Which of them leads to the outside: the client's wish, then what leads anywhere, then what does so with both
    /// families, then the name's order, as in Docker.
    pub(crate) fn gateways(&self) -> Gateways<'_> {
        let mut ranked: Vec<&Member> = self.members.iter().collect();
        ranked.sort_by_key(|member| {
            let families = u8::from(member.endpoint.leads_out_v4()) + 2 * u8::from(member.endpoint.leads_out_v6());
            (Reverse(member.priority), member.internal, Reverse(families), member.name.as_str())
        });
        let ranked: Vec<&Endpoint> = ranked.into_iter().map(|member| &member.endpoint).collect();
        Gateways::first_of(ranked.iter().copied())
    }

    /// What its network namespace is to look like.
    pub(crate) fn layout(&self) -> Layout {
        let members = self.members.iter().map(|member| (member.ifname.as_str(), &member.endpoint));
        let mut layout = layout(members, self.gateways());
        for (interface, member) in layout.interfaces.iter_mut().zip(&self.members) {
            interface.settings.extend(member.settings.iter().cloned());
        }
        for member in &self.members {
            let routes = member.plugged.iter().flat_map(|plugged| &plugged.routes);
            layout.routes.extend(routes.map(|route| Route {
                interface: member.ifname.clone(),
                destination: route.destination,
                prefix_len: route.prefix_len,
                gateway: route.gateway,
            }));
        }
        layout
    }

    /// A name for one more interface: the first free number behind the prefix.
    pub(crate) fn next_ifname(&self, prefix: &str) -> String {
        let mut numbers = 0..;
        let is_free = |name: &String| self.members.iter().all(|member| member.ifname != *name);
        numbers.by_ref().map(|n| format!("{prefix}{n}")).find(is_free).expect("numbers do not end before members do")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn member(name: &str, priority: i64, internal: bool) -> Member {
        let (network, container) = (Id::random(), Id::random());
        let gateway_v4 = (!internal).then_some(Ipv4Addr::new(10, 0, 0, 1));
        Member {
            network,
            name: name.to_owned(),
            driver: "bridge".to_owned(),
            internal,
            priority,
            ifname: format!("eth-{name}"),
            settings: Vec::new(),
            endpoint: Endpoint {
                id: Id::random(),
                network,
                container,
                ipv4: Some((Ipv4Addr::new(10, 0, 0, 2), 24)),
                ipv6: None,
                link_local: Vec::new(),
                gateway_v4,
                gateway_v6: None,
                mac: None,
                host_ifname: String::new(),
                mtu: 0,
                gatewayless: false,
                ignore_routers: true,
            },
            plugged: None,
        }
    }

    fn gateway(members: Vec<Member>) -> Option<String> {
        let attached = Attached { members, published: None };
        let chosen = attached.gateways().v4?.id;
        attached.members.iter().find(|m| m.endpoint.id == chosen).map(|m| m.name.clone())
    }

    #[test]
    fn the_way_out() {
        assert_eq!(gateway(vec![member("b", 0, false), member("a", 0, false)]).as_deref(), Some("a"));
        assert_eq!(gateway(vec![member("b", 1, false), member("a", 0, false)]).as_deref(), Some("b"));
        assert_eq!(gateway(vec![member("a", 9, true), member("b", 0, false)]).as_deref(), Some("b"));
        assert_eq!(gateway(vec![member("a", 0, true)]), None);
    }

    #[test]
    fn interface_names() {
        let mut attached = Attached::default();
        assert_eq!(attached.next_ifname("eth"), "eth0");
        attached.members.push(Member { ifname: "eth0".to_owned(), ..member("a", 0, false) });
        assert_eq!(attached.next_ifname("eth"), "eth1");
        assert_eq!(attached.next_ifname("lan"), "lan0");
    }
}
