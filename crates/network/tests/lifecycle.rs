//! What is on the host, after which events.

mod lab;

use gantry_linux::netlink::nft::{self, Transaction};
use gantry_linux::netlink::{Batch, route};
use gantry_network::{AddressPool, BridgeChoice, Config, Error, MacAddr, Manager, Stack};
use lab::{HOST, Lab, Namespace, eventually, index, tcp};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::thread;

fn instance(name: &str) -> Config {
    Config { instance: name.into(), ..Config::default() }
}

/// The default network's subnet.
fn subnet(manager: &Manager) -> String {
    manager.default_bridge().unwrap().subnets[0].subnet.to_string()
}

#[test]
fn nothing_is_left_behind() {
    let lab = Lab::new();
    let before = lab.host.links();
    let manager = lab.default_manager();
    let with_bridge = lab.host.links();
    assert!(with_bridge.contains(&"gantry0".to_owned()));
    let containers: Vec<_> = (0..5).map(|i| lab.start(&manager, &[tcp(8000 + i, 80)])).collect();
    assert_eq!(lab.host.links().len(), with_bridge.len() + 5);
    assert!(!lab.host.run(|| manager.remove_if_unused()).unwrap(), "it is in use");
    for container in &containers {
        lab.release(&manager, container);
        lab.release(&manager, container);
        assert!(container.namespace.cannot_reach(container.gateway, 1), "cut off at once");
    }
    // Their namespaces live on, so that the links have to be removed.
    assert!(eventually(|| lab.host.links() == with_bridge));
    assert!(lab.host.run(|| manager.remove_if_unused()).unwrap());
    assert_eq!(lab.host.links(), before);
    assert!(!lab.host.netfilter(|socket| nft::table_exists(socket, "gantry").unwrap()));
}

/// A daemon that died leaves everything in place; the next one goes on with it.
#[test]
fn a_crash_in_between() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let survivor = lab.start(&manager, &[tcp(8080, 80)]);
    let lost = lab.start(&manager, &[tcp(9090, 80)]);
    for (container, name) in [(&survivor, "survivor"), (&lost, "lost")] {
        container.namespace.serve_tcp("0.0.0.0:80", name);
    }
    drop(manager);
    assert!(lab.neighbour.ask(HOST, 8080).is_ok(), "nobody is needed to keep a port open");

    let manager = lab.default_manager();
    assert!(lab.neighbour.ask(HOST, 8080).is_ok(), "nor does a start close it");
    lab.restore(&manager, &[], &[&survivor]);
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(lab.neighbour.cannot_reach(HOST, 9090), "nobody's port");
    assert!(!lab.host.links().contains(&lost.endpoint.host_ifname), "nobody's link");
    drop(lost);
    assert_ne!(lab.start(&manager, &[tcp(9090, 80)]).ip, survivor.ip);
    let error = lab.allocate(&manager, &[tcp(8080, 80)]).unwrap_err();
    assert!(matches!(error, Error::PortAllocated(_)), "{error}");
    lab.release(&manager, &survivor);
    assert!(lab.neighbour.cannot_reach(HOST, 8080));
}

#[test]
fn a_removed_bridge_and_a_flushed_firewall_come_back() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    let wreck = |table_only: bool| {
        lab.host.netfilter(|socket| {
            let mut change = Transaction::new("gantry");
            change.delete_table();
            change.commit(socket).unwrap();
        });
        if !table_only {
            lab.host.route(|socket| {
                let mut batch = Batch::new();
                route::delete_link(&mut batch, "gantry0");
                socket.transact(&mut batch).unwrap();
            });
        }
    };
    for _ in 0..3 {
        wreck(true);
        assert!(eventually(|| lab.neighbour.ask(HOST, 8080).is_ok()), "it is put right without being asked");
    }

    wreck(false);
    drop(manager);
    let manager = lab.default_manager();
    lab.restore(&manager, &[], &[&web]);
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(web.namespace.cannot_reach(HOST, 9090));
}

/// A table that another version of Gantry laid out differently.
#[test]
fn a_foreign_layout_is_replaced() {
    let lab = Lab::new();
    lab.host.netfilter(|socket| {
        let mut change = Transaction::new("gantry");
        change.add_table("");
        change.add_set(nft::Set { name: "published", key: &[nft::Type::Port], data: &[] });
        change.commit(socket).unwrap();
    });
    let manager = lab.default_manager();
    lab.restore(&manager, &[], &[]);
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
}

#[test]
fn daemons_side_by_side() {
    let lab = Lab::new();
    // As if another engine had the first subnet.
    lab.host.route(|socket| {
        let mut batch = Batch::new();
        route::add_bridge(&mut batch, "docker0", [2, 0, 0, 0, 0, 9], 1500);
        socket.transact(&mut batch).unwrap();
        let docker = index(socket, "docker0");
        let mut batch = Batch::new();
        route::add_address(&mut batch, docker, Ipv4Addr::new(172, 17, 0, 1), 16);
        socket.transact(&mut batch).unwrap();
    });
    let names = ["", "aaaaaa", "bbbbbb"];
    let managers: Vec<Manager> = thread::scope(|scope| {
        let open = |name| lab.manager(instance(name));
        let threads: Vec<_> = names.map(|name| scope.spawn(move || open(name))).into_iter().collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let mut subnets: Vec<_> =
        managers.iter().map(|m| subnet(m).split('.').nth(1).unwrap().parse::<u8>().unwrap()).collect();
    subnets.sort_unstable();
    assert_eq!(subnets, [18, 19, 20]);

    let web = lab.start(&managers[0], &[tcp(8080, 80)]);
    let other = lab.start(&managers[1], &[]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(other.namespace.ask(HOST, 8080).is_ok(), "by the published port");
    assert!(other.namespace.cannot_reach(web.ip, 80), "and by no other way");
    for manager in &managers[1..] {
        lab.restore(manager, &[], &[]);
    }
    assert!(lab.neighbour.ask(HOST, 8080).is_ok(), "a restart of one daemon is none of another's business");
}

#[test]
fn settings_of_the_subnet() {
    let lab = Lab::new();
    let config = Config {
        bip: Some((Ipv4Addr::new(10, 9, 0, 1), 16)),
        fixed_cidr: Some((Ipv4Addr::new(10, 9, 7, 0), 24)),
        default_gateway: Some(Ipv4Addr::new(10, 9, 7, 1)),
        mtu: 1400,
        ..Config::default()
    };
    let manager = lab.manager(config.clone());
    assert_eq!(subnet(&manager), "10.9.0.0/16");
    let endpoint = lab.allocate(&manager, &[]).unwrap().endpoint;
    assert_eq!(endpoint.ipv4, Some((Ipv4Addr::new(10, 9, 7, 0), 16)));
    assert_eq!((endpoint.gateway_v4, endpoint.mtu), (Some(Ipv4Addr::new(10, 9, 7, 1)), 1400));
    assert_eq!(endpoint.mac, Some(MacAddr::new([2, 0x42, 10, 9, 7, 0])));
    assert_eq!(lab.allocate(&manager, &[]).unwrap().endpoint.ipv4, Some((Ipv4Addr::new(10, 9, 7, 2), 16)));
    drop(manager);

    // Without the setting the bridge keeps its address; with another one it gets that.
    assert_eq!(subnet(&lab.default_manager()), "10.9.0.0/16");
    let moved = Config { bip: Some((Ipv4Addr::new(10, 8, 0, 1), 24)), ..Config::default() };
    assert_eq!(subnet(&lab.manager(moved)), "10.8.0.0/24");

    for wrong in [
        Config { bip: Some((Ipv4Addr::new(10, 8, 0, 0), 24)), ..Config::default() },
        Config { bip: Some((Ipv4Addr::new(10, 8, 0, 1), 32)), ..Config::default() },
        Config { fixed_cidr: Some((Ipv4Addr::new(10, 7, 0, 0), 24)), ..Config::default() },
        Config { default_gateway: Some(Ipv4Addr::new(10, 7, 0, 1)), ..Config::default() },
        Config { bridge: BridgeChoice::Existing("nowhere".into()), ..Config::default() },
        Config { bridge: BridgeChoice::Existing("wan0".into()), ..Config::default() },
    ] {
        assert!(lab.host.run(|| Manager::open(wrong.clone(), lab::DEFAULT, &[])).is_err(), "{wrong:?}");
    }
}

#[test]
fn pools_bridges_of_others_and_none() {
    let lab = Lab::new();
    let pools = vec![AddressPool { base: "10.5.0.0/16".parse().unwrap(), size: 24 }];
    let pooled = lab.manager(Config { address_pools: pools, ..instance("aaaaaa") });
    assert_eq!(subnet(&pooled), "10.5.0.0/24");

    let borrowed = Config { bridge: BridgeChoice::Existing("gantry-aaaaaa".into()), ..instance("bbbbbb") };
    let borrower = lab.manager(borrowed);
    assert_eq!(subnet(&borrower), "10.5.0.0/24");
    assert!(lab.host.run(|| borrower.remove_if_unused()).unwrap());
    assert!(lab.host.links().contains(&"gantry-aaaaaa".to_owned()), "not ours to remove");

    let none = lab.manager(Config { bridge: BridgeChoice::Disabled, ..instance("cccccc") });
    assert!(none.default_bridge().is_none());
    assert!(matches!(lab.allocate(&none, &[]), Err(Error::UnknownNetwork(_))));
    lab.restore(&none, &[], &[]);
}

/// A namespace that is no namespace: the attempt leaves nothing but the reservation.
#[test]
fn a_failed_attach() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let before = lab.host.links();
    let allocation = lab.allocate(&manager, &[tcp(8080, 80)]).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    lab.host
        .run(|| manager.attach(&allocation.endpoint, std::os::fd::AsFd::as_fd(&file), "eth0", Stack::Kernel))
        .unwrap_err();
    assert_eq!(lab.host.links(), before);
    let namespace = Namespace::new();
    lab.host.run(|| manager.attach(&allocation.endpoint, namespace.fd(), "eth0", Stack::Kernel)).unwrap();
    assert!(namespace.links().contains(&"eth0".to_owned()));
}

/// Eight clients at once, each starting and ending containers with the same port of its own.
#[test]
fn many_at_once() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let settled = lab.host.links();
    let alive = Mutex::new(HashSet::new());
    let client = &|port: u16| {
        for _ in 0..20 {
            let container = lab.start(&manager, &[tcp(port, 80)]);
            assert!(alive.lock().unwrap().insert(container.ip), "an address given out twice");
            assert!(container.namespace.cannot_reach(container.gateway, 1), "refused");
            // Off the list first: as soon as it is released, another client may get it.
            alive.lock().unwrap().remove(&container.ip);
            lab.release(&manager, &container);
        }
    };
    thread::scope(|scope| {
        for port in 8000..8008 {
            scope.spawn(move || client(port));
        }
    });
    assert!(eventually(|| lab.host.links() == settled));
    assert!(lab.host.run(|| manager.remove_if_unused()).unwrap());
}
