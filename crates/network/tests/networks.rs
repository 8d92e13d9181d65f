//! Many networks: who reaches whom, in both families, and what is refused.

mod lab;

use gantry_network::{
    AddressPool, BridgeOptions, Config, Driver, Error, GatewayMode, Gateways, Net, NetworkDraft, PoolRequest, Stack,
    layout,
};
use lab::{DEFAULT, HOST, HOST6, Lab, NEIGHBOUR, NEIGHBOUR6, bridge, tcp};
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

fn net(text: &str) -> Net {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pool(subnet: &str) -> PoolRequest {
    PoolRequest { subnet: Some(net(subnet)), ..PoolRequest::default() }
}

fn options(change: impl FnOnce(&mut BridgeOptions)) -> Driver {
    let mut options = BridgeOptions::default();
    change(&mut options);
    Driver::Bridge(options)
}

fn both_families(draft: &mut NetworkDraft) {
    draft.ipv6 = true;
}

#[test]
fn subnets_that_nobody_named() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let subnets = |draft: fn(&mut NetworkDraft)| {
        let spec = lab.network(&manager, draft);
        spec.subnets.iter().map(|s| (s.subnet, s.gateway)).collect::<Vec<_>>()
    };
    assert_eq!(subnets(|_| ()), [(net("172.18.0.0/16"), Some(ip("172.18.0.1")))]);
    let [first, second] = [subnets(both_families), subnets(both_families)];
    assert_eq!(first[0].0, net("172.19.0.0/16"));
    assert!(net("fd00::/8").contains_net(first[1].0) && first[1].0.prefix_len() == 64, "{first:?}");
    assert!(!first[1].0.overlaps(second[1].0), "{first:?} {second:?}");
    let six = subnets(|draft| (draft.ipv4, draft.ipv6) = (false, true));
    assert!(six.len() == 1 && !six[0].0.is_ipv4());
}

#[test]
fn subnets_that_were_asked_for() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let spec = lab.network(&manager, |draft| {
        draft.ipv6 = true;
        draft.pools = vec![
            PoolRequest {
                range: Some(net("10.1.5.0/24")),
                gateway: Some(ip("10.1.0.9")),
                aux: BTreeMap::from([("printer".to_owned(), ip("10.1.5.1"))]),
                ..pool("10.1.0.0/16")
            },
            PoolRequest { gateway: Some(ip("fd77::7")), ..pool("fd77::/64") },
            pool("10.2.0.0/30"),
        ];
    });
    let [a, b] = [(); 2].map(|()| lab.start_on(&manager, spec.id, &[]));
    assert_eq!(
        (a.ip.to_string(), a.gateway.to_string(), a.ip6.to_string()),
        ("10.1.5.0".into(), "10.1.0.9".into(), "fd77::1".into())
    );
    assert_eq!((b.ip.to_string(), b.ip6.to_string()), ("10.1.5.2".into(), "fd77::2".into()));
    b.namespace.serve_tcp("[::]:80", "b");
    lab.host.serve_tcp("[::]:9000", "host");
    assert!(a.namespace.ask(b.ip, 80).is_ok() && a.namespace.ask(b.ip6, 80).is_ok());
    assert!(a.namespace.ask(ip("10.1.0.9"), 9000).is_ok() && a.namespace.ask(ip("fd77::7"), 9000).is_ok());

    let refused = |change: &dyn Fn(&mut NetworkDraft)| {
        let mut draft = bridge("net", BridgeOptions::default());
        change(&mut draft);
        let before = lab.host.links();
        let error = lab.host.run(|| manager.create(draft)).unwrap_err();
        assert_eq!(lab.host.links(), before, "{error}");
        error
    };
    for overlapping in ["10.1.0.0/16", "10.1.7.0/24", "10.0.0.0/8", "172.17.0.0/16"] {
        let error = refused(&|draft| draft.pools = vec![pool(overlapping)]);
        assert!(matches!(error, Error::PoolOverlap(_)), "{overlapping}: {error}");
    }
    let twice = refused(&|draft| draft.pools = vec![pool("10.7.0.0/16"), pool("10.7.1.0/24")]);
    assert!(matches!(twice, Error::PoolOverlap(_)), "{twice}");
    let range = PoolRequest { range: Some(net("10.8.0.0/24")), ..pool("10.7.0.0/16") };
    assert!(matches!(refused(&|d| d.pools = vec![range.clone()]), Error::OutsideSubnet { .. }));
    let gateway = PoolRequest { gateway: Some(ip("10.8.0.1")), ..pool("10.7.0.0/16") };
    assert!(matches!(refused(&|d| d.pools = vec![gateway.clone()]), Error::OutsideSubnet { .. }));
    let isolated = refused(&|d| d.driver = options(|o| o.gateway_mode_v4 = GatewayMode::Isolated));
    assert!(matches!(isolated, Error::Config(_)), "{isolated}");
    let name = format!("br-{}", &spec.id.to_string()[..12]);
    let bridge = refused(&|d| d.driver = options(|o| o.ifname.clone_from(&name)));
    assert!(matches!(bridge, Error::BridgeTaken { .. }), "{bridge}");
}

/// Every way from one network to another that there is, from the host's neighbour too.
#[test]
fn networks_are_apart() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let [a, b] = [(); 2].map(|()| lab.network(&manager, both_families).id);
    let [a, b] = [a, b].map(|id| {
        lab.start_on(
            &manager,
            id,
            &[tcp(8000, 80)].map(|mut p| {
                p.host_ports = if id == a { Some((8001, 8001)) } else { Some((8002, 8002)) };
                p
            }),
        )
    });
    let default = lab.start(&manager, &[]);
    for (container, name) in [(&a, "a"), (&b, "b"), (&default, "default")] {
        container.namespace.serve_tcp("[::]:80", name);
        container.namespace.serve_tcp("[::]:81", name);
    }
    lab.host.serve_tcp("[::]:9000", "host");
    lab.neighbour.serve_tcp("[::]:9000", "outside");
    lab.route_everything_to_host();

    let asker = &a.namespace;
    assert_eq!(asker.ask(NEIGHBOUR, 9000).unwrap(), format!("outside ::ffff:{HOST}"), "masquerade");
    assert_eq!(asker.ask(NEIGHBOUR6, 9000).unwrap(), format!("outside {HOST6}"), "masquerade");
    assert!(asker.ask(HOST, 9000).is_ok() && asker.ask(HOST6, 9000).is_ok(), "the host");
    for (from, to) in [(&a, &b), (&b, &a), (&default, &a), (&a, &default)] {
        for port in [80, 81] {
            assert!(from.namespace.cannot_reach(to.ip, port));
            if !from.ip6.is_unspecified() && !to.ip6.is_unspecified() {
                assert!(from.namespace.cannot_reach(to.ip6, port));
            }
        }
        assert!(from.namespace.cannot_reach(to.gateway, 81), "by the other's gateway");
    }
    // By the link layer: the other network's address at one's own gateway's door.
    for target in [ip(&b.ip.to_string()), ip(&b.ip6.to_string())] {
        let gateway = if target.is_ipv4() { IpAddr::from(a.gateway) } else { a.endpoint.gateway_v6.unwrap().into() };
        asker.route_by("eth0", target, gateway);
        assert!(asker.cannot_reach(target, 80));
    }
    // What is published is there for everybody, also in other networks.
    for host in [IpAddr::from(HOST), HOST6.into()] {
        assert!(asker.ask(host, 8002).unwrap().starts_with('b'), "{host}");
        assert!(asker.ask(host, 8001).unwrap().starts_with('a'), "{host}: itself");
        assert!(lab.neighbour.ask(host, 8002).unwrap().starts_with('b'), "{host}");
        assert!(lab.host.ask(host, 8002).unwrap().starts_with('b'), "{host}");
        assert!(lab.neighbour.cannot_reach(host, 81));
    }
    assert!(asker.ask(b.gateway, 8002).is_ok() && default.namespace.ask(default.gateway, 8002).is_ok());
    for target in [IpAddr::from(b.ip), b.ip6.into()] {
        for port in [80, 81] {
            assert!(lab.neighbour.cannot_reach(target, port), "{target} from outside by a route");
        }
        assert!(lab.host.ask(target, 81).is_ok(), "{target} from the host");
    }
}

#[test]
fn sources_are_kept_in_both_families() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let id = lab.network(&manager, both_families).id;
    let web = lab.start_on(&manager, id, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    let bound: Vec<_> = web.published.bindings.iter().map(|b| b.host_ip.to_string()).collect();
    assert_eq!(bound, ["0.0.0.0", "::"]);
    assert_eq!(lab.neighbour.ask(HOST, 8080).unwrap(), format!("web ::ffff:{NEIGHBOUR}"));
    assert_eq!(lab.neighbour.ask(HOST6, 8080).unwrap(), format!("web {NEIGHBOUR6}"));
    let gateway = web.endpoint.gateway_v6.unwrap();
    let other = lab.start_on(&manager, id, &[]);
    assert_eq!(other.namespace.ask(HOST6, 8080).unwrap(), format!("web {gateway}"), "a neighbour");
    assert_eq!(web.namespace.ask(HOST6, 8080).unwrap(), format!("web {gateway}"), "itself");
    lab.release(&manager, &web);
    assert!(lab.neighbour.cannot_reach(HOST6, 8080));
}

#[test]
fn internal_networks_lead_nowhere() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let internal = lab.network(&manager, |draft| (draft.internal, draft.ipv6) = (true, true));
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    let [a, b] = [(); 2].map(|()| lab.start_on(&manager, internal.id, &[]));
    b.namespace.serve_tcp("[::]:80", "b");
    lab.host.serve_tcp("[::]:9000", "host");
    lab.neighbour.serve_tcp("[::]:9000", "outside");
    lab.route_everything_to_host();
    assert!(a.namespace.ask(b.ip, 80).is_ok() && a.namespace.ask(b.ip6, 80).is_ok());
    assert!(lab.host.ask(b.ip, 80).is_ok() && lab.host.ask(b.ip6, 80).is_ok(), "from the host");
    let gateway = internal.subnets[0].gateway.unwrap();
    assert!(a.namespace.ask(gateway, 9000).is_ok(), "to the host");
    assert_eq!(a.endpoint.gateway_v4, None);
    assert!(a.namespace.cannot_reach(NEIGHBOUR, 9000));
    // Even if it makes itself routes.
    for gateway in internal.subnets.iter().map(|s| s.gateway.unwrap()) {
        a.namespace.default_by("eth0", gateway);
    }
    assert!(a.namespace.cannot_reach(NEIGHBOUR, 9000) && a.namespace.cannot_reach(NEIGHBOUR6, 9000));
    assert!(a.namespace.cannot_reach(HOST, 8080), "a published port of another network");
    assert!(a.namespace.cannot_reach(web.ip, 80));
    assert!(lab.neighbour.cannot_reach(b.ip, 80) && lab.neighbour.cannot_reach(b.ip6, 80));
    assert!(web.namespace.cannot_reach(b.ip, 80));
}

#[test]
fn an_isolated_bridge_has_no_address() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let spec = lab.network(&manager, |draft| {
        draft.internal = true;
        draft.ipv6 = true;
        draft.driver = options(|o| {
            (o.gateway_mode_v4, o.gateway_mode_v6) = (GatewayMode::Isolated, GatewayMode::Isolated);
        });
    });
    assert!(spec.subnets.iter().all(|s| s.gateway.is_none()));
    let [a, b] = [(); 2].map(|()| lab.start_on(&manager, spec.id, &[]));
    b.namespace.serve_tcp("[::]:80", "b");
    assert!(a.namespace.ask(b.ip, 80).is_ok() && a.namespace.ask(b.ip6, 80).is_ok());
    assert!(lab.host.cannot_reach(b.ip, 80) && lab.host.cannot_reach(b.ip6, 80));
}

#[test]
fn members_that_do_not_reach_each_other() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let spec = lab.network(&manager, |draft| {
        draft.ipv6 = true;
        draft.driver = options(|o| o.icc = false);
    });
    let [a, b, c] = [(); 3].map(|()| lab.start_on(&manager, spec.id, &[]));
    for (container, name) in [(&a, "a"), (&b, "b"), (&c, "c")] {
        container.namespace.serve_tcp("[::]:80", name);
        container.namespace.serve_tcp("[::]:81", name);
    }
    assert!(a.namespace.cannot_reach(b.ip, 80) && a.namespace.cannot_reach(b.ip6, 80));
    lab.host
        .run(|| manager.allow_links(&a.endpoint, &[(b.endpoint.clone(), vec![(80, gantry_network::Proto::Tcp)])]))
        .unwrap();
    assert_eq!(a.namespace.ask(b.ip, 80).unwrap(), format!("b ::ffff:{}", a.ip), "by a link");
    assert!(a.namespace.cannot_reach(b.ip, 81), "another port");
    assert!(a.namespace.cannot_reach(c.ip, 80), "another container");
    assert!(b.namespace.cannot_reach(a.ip, 80), "the other way");
    lab.host.run(|| manager.forget_links(a.endpoint.container)).unwrap();
    assert!(a.namespace.cannot_reach(b.ip, 80));
}

#[test]
fn gateway_modes() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let start = |change: fn(&mut BridgeOptions), port| {
        let spec = lab.network(&manager, |draft| {
            draft.ipv6 = true;
            draft.driver = options(change);
        });
        let container = lab.start_on(&manager, spec.id, &[tcp(port, 80)]);
        container.namespace.serve_tcp("[::]:80", "published");
        container.namespace.serve_tcp("[::]:81", "other");
        container
    };
    let routed = start(|o| (o.gateway_mode_v4, o.gateway_mode_v6) = (GatewayMode::Routed, GatewayMode::Routed), 8001);
    let open = start(
        |o| (o.gateway_mode_v4, o.gateway_mode_v6) = (GatewayMode::NatUnprotected, GatewayMode::NatUnprotected),
        8002,
    );
    let trusting = start(|o| o.trusted_interfaces = vec!["wan0".to_owned()], 8003);
    let plain = start(|_| (), 8004);
    lab.neighbour.serve_tcp("[::]:9000", "outside");
    lab.route_everything_to_host();
    let reach = |container: &lab::Container, port| {
        let both = [IpAddr::from(container.ip), container.ip6.into()].map(|ip| !lab.neighbour.cannot_reach(ip, port));
        assert_eq!(both[0], both[1], "both families alike");
        both[0]
    };
    assert_eq!([80, 81].map(|port| reach(&routed, port)), [true, false]);
    assert_eq!([80, 81].map(|port| reach(&open, port)), [true, true]);
    assert_eq!([80, 81].map(|port| reach(&trusting, port)), [true, false]);
    assert_eq!([80, 81].map(|port| reach(&plain, port)), [false, false]);
    assert!(lab.neighbour.cannot_reach(HOST, 8001), "nothing is translated");
    assert_eq!(routed.published.bindings.iter().map(|b| b.host_port).collect::<Vec<_>>(), [0, 0]);
    for port in [8002, 8003, 8004] {
        assert!(lab.neighbour.ask(HOST, port).is_ok(), "{port}");
    }
    assert_eq!(routed.namespace.ask(NEIGHBOUR, 9000).unwrap(), format!("outside ::ffff:{}", routed.ip));
    assert_eq!(routed.namespace.ask(NEIGHBOUR6, 9000).unwrap(), format!("outside {}", routed.ip6));
    assert!(plain.namespace.ask(routed.ip, 80).is_ok(), "published on its own address, for containers too");
}

/// A container that is connected to more networks while it runs.
#[test]
fn connecting_and_disconnecting() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let [first, second] = [(); 2].map(|()| lab.network(&manager, both_families).id);
    let internal = lab.network(&manager, |draft| draft.internal = true).id;
    lab.neighbour.serve_tcp("[::]:9000", "outside");
    let peer = lab.start_on(&manager, second, &[]);
    peer.namespace.serve_tcp("[::]:80", "peer");

    // It starts without a way out, with a port that leads nowhere yet.
    let web = lab.start_on(&manager, internal, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    assert!(web.namespace.cannot_reach(NEIGHBOUR, 9000) && lab.neighbour.cannot_reach(HOST, 8080));
    let container = web.endpoint.container;
    let connect = |network| {
        let request = gantry_network::EndpointRequest::new(network, container);
        lab.host.run(|| manager.allocate(&request)).unwrap()
    };
    let apply = |members: &[(&str, &gantry_network::Endpoint)]| {
        let gateways = Gateways::first_of(members.iter().map(|(_, e)| *e));
        let layout = layout(members.iter().copied(), gateways);
        lab.host.run(|| {
            manager.configure(web.namespace.fd(), &layout).unwrap();
            manager.move_ports(&container, gateways).unwrap();
        });
    };
    let one = connect(first);
    lab.host.run(|| manager.attach(&one, web.namespace.fd(), "eth1", Stack::Kernel)).unwrap();
    apply(&[("eth0", &web.endpoint), ("eth1", &one)]);
    assert!(web.namespace.ask(NEIGHBOUR, 9000).is_ok() && web.namespace.ask(NEIGHBOUR6, 9000).is_ok());
    assert!(lab.neighbour.ask(HOST, 8080).is_ok(), "the port leads there now");
    assert!(web.namespace.cannot_reach(peer.ip, 80));

    let two = connect(second);
    lab.host.run(|| manager.attach(&two, web.namespace.fd(), "eth2", Stack::Kernel)).unwrap();
    // The gateway changes to the new network.
    apply(&[("eth2", &two), ("eth0", &web.endpoint), ("eth1", &one)]);
    assert!(web.namespace.ask(peer.ip, 80).is_ok() && web.namespace.ask(peer.ip6, 80).is_ok());
    assert!(web.namespace.ask(NEIGHBOUR, 9000).is_ok() && lab.neighbour.ask(HOST, 8080).is_ok());
    lab.host.run(|| manager.detach(&one, web.namespace.fd(), "eth1")).unwrap();
    lab.host.run(|| manager.release(&one)).unwrap();
    assert!(web.namespace.ask(NEIGHBOUR, 9000).is_ok() && lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(!web.namespace.links().contains(&"eth1".to_owned()));

    lab.host.run(|| manager.detach(&two, web.namespace.fd(), "eth2")).unwrap();
    lab.host.run(|| manager.release(&two)).unwrap();
    apply(&[("eth0", &web.endpoint)]);
    assert!(web.namespace.cannot_reach(NEIGHBOUR, 9000) && lab.neighbour.cannot_reach(HOST, 8080));
    let error = lab.host.run(|| manager.remove(&internal)).unwrap_err();
    assert!(error.to_string().ends_with("has active endpoints"), "{error}");
    lab.host.run(|| manager.remove(&first)).unwrap();
}

/// The daemon is killed; bridges, records and reality have come apart.
#[test]
fn networks_after_a_crash() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let kept = lab.network(&manager, both_families);
    let lost = lab.network(&manager, |_| ());
    let gone = lab.network(&manager, |_| ());
    let web = lab.start_on(&manager, kept.id, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    let bridge_of = |id: gantry_model::Id| format!("br-{}", &id.to_string()[..12]);
    drop(manager);
    lab.host.delete_link(&bridge_of(kept.id));
    lab.host.delete_link(&bridge_of(gone.id));

    let manager = lab.default_manager();
    lab.restore(&manager, &[kept.clone(), gone.clone()], &[&web]);
    let links = lab.host.links();
    assert!(links.contains(&bridge_of(kept.id)) && links.contains(&bridge_of(gone.id)), "made again: {links:?}");
    assert!(!links.contains(&bridge_of(lost.id)), "no record names it");
    for host in [IpAddr::from(HOST), HOST6.into()] {
        assert!(lab.neighbour.ask(host, 8080).is_ok(), "{host}");
    }
    let next = lab.start_on(&manager, kept.id, &[]);
    assert!(next.ip != web.ip && next.ip6 != web.ip6);
    lab.release(&manager, &web);
    lab.release(&manager, &next);
    for id in [kept.id, gone.id, lost.id] {
        lab.host.run(|| manager.remove(&id)).unwrap();
    }
    assert!(lab.host.run(|| manager.remove_if_unused()).unwrap());
}

/// A bridge of the administrator's is used and not removed.
#[test]
fn somebody_elses_bridge() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    lab.host.add_bridge("br-admin");
    let spec = lab.network(&manager, |draft| draft.driver = options(|o| o.ifname = "br-admin".to_owned()));
    let web = lab.start_on(&manager, spec.id, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    lab.release(&manager, &web);
    lab.host.run(|| manager.remove(&spec.id)).unwrap();
    assert!(lab.host.links().contains(&"br-admin".to_owned()));
}

#[test]
fn hundreds_of_networks() {
    const COUNT: usize = 300;
    let lab = Lab::new();
    let pools = vec![AddressPool { base: net("10.0.0.0/8"), size: 24 }];
    let config = Config { address_pools: pools, ..Config::default() };
    let manager = lab.manager(config.clone());
    let start = Instant::now();
    let specs: Vec<_> = (0..COUNT).map(|_| lab.network(&manager, |_| ())).collect();
    let made = start.elapsed();
    let subnets: HashSet<_> = specs.iter().map(|s| s.subnets[0].subnet).collect();
    assert_eq!(subnets.len(), COUNT);
    drop(manager);
    let start = Instant::now();
    let manager = lab.manager(config);
    lab.restore(&manager, &specs, &[]);
    let restored = start.elapsed();
    println!("{COUNT} networks: made in {made:?}, restored in {restored:?}");
    assert!(restored.as_millis() < 5 * COUNT as u128, "{restored:?}");
    let web = lab.start_on(&manager, specs[COUNT / 2].id, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("[::]:80", "web");
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(lab.host.run(|| manager.network(&DEFAULT)).is_some());
}

#[test]
fn the_default_network_with_ipv6() {
    let lab = Lab::new();
    let fixed = Some(net("fd44:1::/64"));
    lab.neighbour.serve_tcp("[::]:9000", "outside");
    for config in
        [Config { ipv6: true, ..Config::default() }, Config { ipv6: true, fixed_cidr_v6: fixed, ..Config::default() }]
    {
        let manager = lab.manager(config.clone());
        let subnet = manager.default_bridge().unwrap().subnets[1].subnet;
        assert!(config.fixed_cidr_v6.is_none_or(|fixed| fixed == subnet), "{subnet}");
        let web = lab.start(&manager, &[tcp(8080, 80)]);
        web.namespace.serve_tcp("[::]:80", "web");
        assert!(subnet.contains(web.ip6.into()));
        assert!(lab.neighbour.ask(HOST6, 8080).is_ok());
        assert!(web.namespace.ask(NEIGHBOUR6, 9000).is_ok());
        drop(manager);
        let manager = lab.manager(config);
        assert_eq!(manager.default_bridge().unwrap().subnets[1].subnet, subnet, "it keeps its subnet");
        lab.restore(&manager, &[], &[&web]);
        assert!(lab.neighbour.ask(HOST6, 8080).is_ok());
        lab.release(&manager, &web);
    }
}

/// A network that cannot be made when the daemon starts keeps its subnet and comes back with what it needs.
#[test]
fn a_parent_that_comes_later() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let parent = "late0";
    lab.host.add_bridge(parent);
    let draft = NetworkDraft {
        driver: Driver::Macvlan(gantry_network::MacvlanOptions {
            parent: parent.to_owned(),
            mode: gantry_linux::netlink::route::MacvlanMode::Bridge,
            mtu: 0,
        }),
        pools: vec![pool("10.77.0.0/24")],
        ..bridge("late", BridgeOptions::default())
    };
    let spec = lab.host.run(|| manager.create(draft)).unwrap();
    drop(manager);
    lab.host.delete_link(parent);
    let manager = lab.default_manager();
    lab.restore(&manager, std::slice::from_ref(&spec), &[]);
    let error = lab.allocate_on(&manager, spec.id, &[]).unwrap_err();
    assert!(error.to_string().contains("late0 does not exist"), "{error}");
    let mut other = bridge("other", BridgeOptions::default());
    other.pools = vec![pool("10.77.0.0/25")];
    assert!(matches!(lab.host.run(|| manager.create(other)), Err(Error::PoolOverlap(_))));
    lab.host.add_bridge(parent);
    assert!(lab.allocate_on(&manager, spec.id, &[]).is_ok());
}
