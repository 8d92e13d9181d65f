//! On a host where others have a say: Docker's firewall, and networks on the host's own interfaces.

mod lab;

use gantry_linux::netlink::Batch;
use gantry_linux::netlink::route::{self, MacvlanMode};
use gantry_network::{Driver, Error, IpvlanOptions, MacvlanOptions, Manager, NetworkDraft, PoolRequest};
use lab::{HOST, Lab, NEIGHBOUR, bridge, eventually, tcp};
use std::collections::BTreeMap;
use std::process::Command;

fn iptables(lab: &Lab, arguments: &str) -> String {
    let output = lab.host.run(|| Command::new("iptables").args(arguments.split(' ')).output().unwrap());
    assert!(output.status.success(), "iptables {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn docker(lab: &Lab) {
    for arguments in ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"] {
        iptables(lab, arguments);
    }
}

/// Docker comes before, Docker comes later, Docker writes its rules anew.
#[test]
fn beside_docker() {
    for docker_first in [true, false] {
        let lab = Lab::new();
        if docker_first {
            docker(&lab);
        }
        let manager = lab.default_manager();
        let network = lab.network(&manager, |_| ());
        let web = lab.start_on(&manager, network.id, &[tcp(8080, 80)]);
        web.namespace.serve_tcp("0.0.0.0:80", "web");
        lab.neighbour.serve_tcp("0.0.0.0:9000", "outside");
        if !docker_first {
            assert!(lab.neighbour.ask(HOST, 8080).is_ok());
            docker(&lab);
        }
        let works = || lab.neighbour.ask(HOST, 8080).is_ok() && web.namespace.ask(NEIGHBOUR, 9000).is_ok();
        assert!(eventually(works));
        iptables(&lab, "-F DOCKER-USER");
        assert!(eventually(works), "rules without a return at their end");
        iptables(&lab, "-I DOCKER-USER -p tcp --dport 80 -j DROP");
        assert!(lab.neighbour.cannot_reach(HOST, 8080), "the administrator's rules come first");
        iptables(&lab, "-D DOCKER-USER -p tcp --dport 80 -j DROP");
        assert!(lab.neighbour.ask(HOST, 8080).is_ok());
        // Another engine's network is not opened to Gantry's containers.
        let theirs = lab::Namespace::new();
        lab.host.add_bridge("docker0");
        lab.join(&theirs, "docker0", "10.200.0.2".parse().unwrap(), "10.200.0.1".parse().unwrap());
        theirs.serve_tcp("0.0.0.0:80", "theirs");
        assert!(lab.host.ask(std::net::Ipv4Addr::new(10, 200, 0, 2), 80).is_ok());
        assert!(web.namespace.cannot_reach(std::net::Ipv4Addr::new(10, 200, 0, 2), 80));

        let rules = iptables(&lab, "-S DOCKER-USER");
        let bridge = format!("br-{}", &network.id.to_string()[..12]);
        assert!(rules.contains(&bridge), "{rules}");
        lab.release(&manager, &web);
        lab.host.run(|| manager.remove(&network.id)).unwrap();
        let rules = iptables(&lab, "-S DOCKER-USER");
        assert!(!rules.contains(&bridge) && rules.contains("gantry0"), "{rules}");
        assert!(lab.host.run(|| manager.remove_if_unused()).unwrap());
        let rules = iptables(&lab, "-S DOCKER-USER");
        assert!(!rules.contains("gantry"), "{rules}");
    }
}

fn macvlan(parent: &str, mode: MacvlanMode) -> NetworkDraft {
    let subnet = Some("198.51.100.0/24".parse().unwrap());
    // Addresses of the wire, behind those that are in use.
    let range = Some("198.51.100.128/25".parse().unwrap());
    let pool = PoolRequest { subnet, range, gateway: Some(NEIGHBOUR.into()), aux: BTreeMap::new() };
    let driver = Driver::Macvlan(MacvlanOptions { parent: parent.to_owned(), mode, mtu: 0 });
    NetworkDraft { driver, pools: vec![pool], ..bridge("lan", gantry_network::BridgeOptions::default()) }
}

fn create(lab: &Lab, manager: &Manager, draft: NetworkDraft) -> gantry_network::Result<gantry_network::NetworkSpec> {
    lab.host.run(|| manager.create(draft))
}

#[test]
fn on_the_hosts_own_wire() {
    for (mode, together) in [(MacvlanMode::Bridge, true), (MacvlanMode::Private, false)] {
        let lab = Lab::new();
        let manager = lab.default_manager();
        let spec = create(&lab, &manager, macvlan("wan0", mode)).unwrap();
        let [a, b] = [(); 2].map(|()| lab.start_on(&manager, spec.id, &[]));
        a.namespace.serve_tcp("0.0.0.0:80", "a");
        assert_eq!(lab.neighbour.ask(a.ip, 80).unwrap(), format!("a {NEIGHBOUR}"), "no host in between");
        assert_eq!(b.namespace.ask(a.ip, 80).is_ok(), together, "{mode:?}");
        assert_eq!(b.ip.to_string(), "198.51.100.129");
        let taken = create(&lab, &manager, macvlan("wan0", mode)).unwrap_err();
        assert!(matches!(taken, Error::ParentTaken { .. } | Error::PoolOverlap(_)), "{taken}");
        for container in [&a, &b] {
            lab.release(&manager, container);
        }
        lab.host.run(|| manager.remove(&spec.id)).unwrap();
        assert!(lab.host.links().contains(&"wan0".to_owned()), "not ours to remove");
    }
}

#[test]
fn vlans_come_and_go_with_their_networks() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let before = lab.host.links();
    match create(&lab, &manager, macvlan("wan0.10", MacvlanMode::Bridge)) {
        // A kernel without them.
        Err(Error::KernelLacks { kind: "vlan", .. }) => {}
        spec => {
            let spec = spec.unwrap();
            assert!(lab.host.links().contains(&"wan0.10".to_owned()));
            drop(manager);
            let manager = lab.default_manager();
            lab.host.delete_link("wan0.10");
            lab.restore(&manager, std::slice::from_ref(&spec), &[]);
            assert!(lab.host.links().contains(&"wan0.10".to_owned()), "made again");
            lab.host.run(|| manager.remove(&spec.id)).unwrap();
            assert_eq!(lab.host.links(), before);
            let spec = create(&lab, &manager, macvlan("wan0.10", MacvlanMode::Bridge)).unwrap();
            drop(manager);
            let manager = lab.default_manager();
            lab.restore(&manager, &[], &[]);
            assert_eq!(lab.host.links(), before, "no record names {}", spec.name);
            return;
        }
    }
    assert_eq!(lab.host.links(), before);
}

#[test]
fn what_a_parent_cannot_be() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let error = create(&lab, &manager, macvlan("nowhere", MacvlanMode::Bridge)).unwrap_err();
    assert_eq!(error.to_string(), "the parent interface nowhere does not exist on this host");
    let error = create(&lab, &manager, macvlan("nowhere.7", MacvlanMode::Bridge)).unwrap_err();
    assert_eq!(error.to_string(), "the parent interface nowhere does not exist on this host");
    let can = |kind: &str| {
        lab.host.route(|socket| {
            let mut batch = Batch::new();
            if kind == "dummy" {
                route::add_dummy(&mut batch, "probe");
            }
            socket.transact(&mut batch).is_ok()
        })
    };
    if !can("dummy") {
        let error = create(&lab, &manager, macvlan("", MacvlanMode::Bridge)).unwrap_err();
        assert!(error.to_string().starts_with("a macvlan network needs dummy interfaces, which"), "{error}");
    }
    let (mode, flag) = (route::IpvlanMode::L2, route::IpvlanFlag::Bridge);
    let driver = Driver::Ipvlan(IpvlanOptions { parent: "wan0".to_owned(), mode, flag, mtu: 0 });
    let draft = NetworkDraft { driver, ..macvlan("wan0", MacvlanMode::Bridge) };
    match create(&lab, &manager, draft) {
        Err(error) => assert!(matches!(error, Error::KernelLacks { kind: "ipvlan", .. }), "{error}"),
        Ok(spec) => {
            let a = lab.start_on(&manager, spec.id, &[]);
            a.namespace.serve_tcp("0.0.0.0:80", "a");
            assert!(lab.neighbour.ask(a.ip, 80).is_ok());
        }
    }
}
