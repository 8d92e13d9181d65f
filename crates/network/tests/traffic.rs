//! Who reaches whom, with real packets.

mod lab;

use gantry_linux::netlink::nft::{Address, ChainType, Hook, Transaction, Verdict};
use gantry_linux::netlink::{Protocol, Socket, route};
use gantry_network::{Config, PortRequest, Proto, Stack};
use lab::{HOST, Lab, NEIGHBOUR, ask_udp, bridge_netfilter_modes, tcp};
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

#[test]
fn host_and_container_and_the_outside() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let container = lab.start(&manager, &[]);
    container.namespace.serve_tcp("0.0.0.0:80", "web");
    lab.host.serve_tcp("0.0.0.0:9000", "host");
    lab.neighbour.serve_tcp("0.0.0.0:9000", "outside");
    let ip = container.ip;

    assert_eq!(lab.host.ask(ip, 80).unwrap(), "web 172.17.0.1");
    assert_eq!(container.namespace.ask(Ipv4Addr::new(172, 17, 0, 1), 9000).unwrap(), format!("host {ip}"));
    assert_eq!(container.namespace.ask(NEIGHBOUR, 9000).unwrap(), format!("outside {HOST}"), "masquerade");
    assert_eq!(container.namespace.ask(ip, 80).unwrap(), format!("web {ip}"));
    assert_eq!(container.namespace.ask(LOCALHOST, 80).unwrap(), "web 127.0.0.1");
}

/// From everywhere that a published port can be used from, with and without br_netfilter.
#[test]
fn a_published_port() {
    for bridge_netfilter in bridge_netfilter_modes() {
        let lab = Lab::new();
        lab.set_bridge_netfilter(*bridge_netfilter);
        let manager = lab.default_manager();
        let web = lab.start(&manager, &[tcp(8080, 80)]);
        let other = lab.start(&manager, &[]);
        web.namespace.serve_tcp("0.0.0.0:80", "web");

        assert_eq!(lab.neighbour.ask(HOST, 8080).unwrap(), format!("web {NEIGHBOUR}"), "the source address is kept");
        assert_eq!(lab.host.ask(HOST, 8080).unwrap(), format!("web {HOST}"));
        assert_eq!(lab.host.ask(LOCALHOST, 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(lab.host.ask(Ipv4Addr::new(172, 17, 0, 1), 8080).unwrap(), "web 172.17.0.1");
        assert_eq!(other.namespace.ask(HOST, 8080).unwrap(), "web 172.17.0.1", "a neighbour container");
        assert_eq!(web.namespace.ask(HOST, 8080).unwrap(), "web 172.17.0.1", "itself");
        assert_eq!(web.namespace.ask(Ipv4Addr::new(172, 17, 0, 1), 8080).unwrap(), "web 172.17.0.1", "by the gateway");

        lab.release(&manager, &web);
        assert!(lab.host.cannot_reach(HOST, 8080));
        assert!(lab.neighbour.cannot_reach(HOST, 8080));
    }
}

/// Somebody switches br_netfilter on, and off again, while containers run.
#[test]
fn itself_whatever_br_netfilter_becomes() {
    let lab = Lab::new();
    lab.set_bridge_netfilter(false);
    let manager = lab.default_manager();
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    for on in [true, false] {
        lab.set_bridge_netfilter(on);
        let other = lab.start(&manager, &[]);
        assert_eq!(web.namespace.ask(HOST, 8080).unwrap(), "web 172.17.0.1", "after another was plugged in");
        lab.release(&manager, &other);
    }
    // Nothing but a change of the firewall, as when another engine starts.
    lab.set_bridge_netfilter(true);
    lab.host.run(|| {
        let mut socket = Socket::open(Protocol::Netfilter).unwrap();
        let mut change = Transaction::new("somebody");
        change.add_table("");
        change.commit(&mut socket).unwrap();
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while web.namespace.cannot_reach(HOST, 8080) {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn unpublished_ports_stay_closed() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    web.namespace.serve_tcp("0.0.0.0:81", "secret");
    lab.route_everything_to_host();

    assert!(lab.neighbour.ask(HOST, 8080).is_ok());
    assert!(lab.neighbour.cannot_reach(HOST, 81));
    assert!(lab.neighbour.cannot_reach(web.ip, 81), "by the container's own address");
    assert!(lab.neighbour.cannot_reach(web.ip, 80), "round the published address");
}

#[test]
fn ports_on_certain_addresses() {
    let on = |ip: Ipv4Addr| PortRequest { host_ip: Some(ip.into()), ..tcp(8080, 80) };
    let lab = Lab::new();
    let manager = lab.default_manager();
    let local = lab.start(&manager, &[on(LOCALHOST)]);
    let public = lab.start(&manager, &[on(HOST)]);
    local.namespace.serve_tcp("0.0.0.0:80", "local");
    public.namespace.serve_tcp("0.0.0.0:80", "public");

    assert_eq!(lab.host.ask(LOCALHOST, 8080).unwrap(), "local 172.17.0.1");
    assert_eq!(lab.neighbour.ask(HOST, 8080).unwrap(), format!("public {NEIGHBOUR}"));
    assert_eq!(local.namespace.ask(HOST, 8080).unwrap(), "public 172.17.0.1");
}

/// CVE-2020-8558: a neighbour sends packets for 127.0.0.1 to the host's hardware address.
#[test]
fn loopback_ports_are_the_hosts_alone() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let on_loopback = PortRequest { host_ip: Some(LOCALHOST.into()), ..tcp(8080, 80) };
    let web = lab.start(&manager, &[on_loopback]);
    let evil = lab.start(&manager, &[]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    lab.host.serve_tcp("127.0.0.1:9000", "host");
    assert!(lab.host.ask(LOCALHOST, 8080).is_ok());
    // The attackers' own kernels have to be talked into sending such packets: their loopback gives the address
    // up, and route_localnet lets it out by the wire.
    for (attacker, wire) in [(&lab.neighbour, "wire"), (&evil.namespace, "eth0")] {
        attacker.sysctl(&format!("ipv4/conf/{wire}/route_localnet"), "1");
        attacker.route(|socket| {
            let mut batch = gantry_linux::netlink::Batch::new();
            gantry_linux::netlink::route::delete_address(&mut batch, 1, LOCALHOST, 8);
            socket.transact(&mut batch).unwrap();
        });
    }
    lab.route_everything_to_host();
    for attacker in [&lab.neighbour, &evil.namespace] {
        assert!(attacker.cannot_reach(LOCALHOST, 9000), "a service of the host");
        assert!(attacker.cannot_reach(LOCALHOST, 8080), "a port published on the loopback");
    }
}

#[test]
fn containers_among_themselves() {
    let modes = bridge_netfilter_modes().iter().flat_map(|on| [(true, *on), (false, *on)]);
    for (icc, bridge_netfilter) in modes {
        let lab = Lab::new();
        lab.set_bridge_netfilter(bridge_netfilter);
        let manager = lab.manager(Config { icc, ..Config::default() });
        let (a, b) = (lab.start(&manager, &[]), lab.start(&manager, &[tcp(8080, 80)]));
        b.namespace.serve_tcp("0.0.0.0:80", "b");
        lab.host.serve_tcp("0.0.0.0:9000", "host");

        assert!(a.namespace.ask(b.gateway, 9000).is_ok(), "the host is there for all");
        assert!(lab.neighbour.ask(HOST, 8080).is_ok(), "and the port is open");
        if icc {
            assert_eq!(a.namespace.ask(b.ip, 80).unwrap(), format!("b {}", a.ip));
        } else {
            assert!(a.namespace.cannot_reach(b.ip, 80));
        }
        if !icc && !bridge_netfilter {
            assert_eq!(a.namespace.ask(HOST, 8080).unwrap(), "b 172.17.0.1", "what is published is published");
        }
    }
}

#[test]
fn datagrams_find_the_container_of_the_moment() {
    let udp = || vec![PortRequest { proto: Proto::Udp, ..tcp(5353, 53) }];
    let lab = Lab::new();
    let manager = lab.default_manager();
    // One client that never stops sending from the same port, before, between and after the containers.
    let client = lab.neighbour.udp_client();
    client.send_to(b"early", (HOST, 5353)).unwrap();
    let local = lab.host.udp_client();
    local.send_to(b"early", (LOCALHOST, 5353)).unwrap();
    for name in ["first", "second"] {
        let server = lab.start(&manager, &udp());
        server.namespace.serve_udp("0.0.0.0:53", name);
        assert_eq!(ask_udp(&client, HOST, 5353).unwrap(), format!("{name} {NEIGHBOUR}"));
        assert_eq!(ask_udp(&lab.host.udp_client(), LOCALHOST, 5353).unwrap(), format!("{name} 172.17.0.1"));
        lab.release(&manager, &server);
        drop(server);
        client.send_to(b"between", (HOST, 5353)).unwrap();
    }
}

#[test]
fn the_hosts_firewall_and_the_users_chain_decide() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let web = lab.start(&manager, &[tcp(8080, 80)]);
    web.namespace.serve_tcp("0.0.0.0:80", "web");
    let drop_all = |change: &mut Transaction<'_>, chain: &str| {
        change.add_rule(chain, |r| {
            r.address_in(Address::Source, true, NEIGHBOUR, 32).verdict(Verdict::Drop);
        });
    };
    assert!(lab.neighbour.ask(HOST, 8080).is_ok());

    lab.host.netfilter(|socket| {
        let mut change = Transaction::new("filter");
        change.add_table("the administrator's");
        change.add_base_chain("forward", ChainType::Filter, Hook::Forward, 10);
        drop_all(&mut change, "forward");
        change.commit(socket).unwrap();
    });
    assert!(lab.neighbour.cannot_reach(HOST, 8080), "a drop elsewhere is final");
    assert!(lab.host.ask(HOST, 8080).is_ok());

    lab.host.netfilter(|socket| {
        let mut change = Transaction::new("filter");
        change.delete_table();
        change.commit(socket).unwrap();
        let mut change = Transaction::new("gantry");
        drop_all(&mut change, "gantry-user");
        change.commit(socket).unwrap();
    });
    assert!(lab.neighbour.cannot_reach(HOST, 8080), "the user's chain");
    lab.restore(&manager, &[], &[&web]);
    assert!(lab.neighbour.cannot_reach(HOST, 8080), "which outlives a restart of the daemon");
    assert!(lab.host.ask(HOST, 8080).is_ok());
}

/// Senders whose pieces stay on the host have large ones; a size that somebody has chosen for the host's own stays.
#[test]
fn what_stays_on_the_host_goes_in_large_pieces() {
    const LARGE: Option<u32> = Some(256 << 10);
    const WIRE: Option<u32> = Some(64 << 10);
    let lab = Lab::new();
    let segment = |namespace: &lab::Namespace, name: &str| {
        namespace.route(|socket| route::link_by_name(socket, name).unwrap().unwrap().segment)
    };
    if segment(&lab.host, "lo").is_none() {
        return; // A kernel before 6.3.
    }
    let manager = lab.default_manager();
    assert_eq!(segment(&lab.host, "lo"), LARGE);
    let outward = lab.start(&manager, &[]);
    assert_eq!(segment(&lab.host, &outward.endpoint.host_ifname), LARGE);
    assert_eq!(segment(&outward.namespace, "eth0"), WIRE, "a wire's hardware could cut no more");
    assert_eq!(segment(&lab.host, "gantry0"), LARGE);
    let held = lab.allocate(&manager, &[]).unwrap();
    let namespace = lab::Namespace::new();
    let runtimes =
        |manager: &gantry_network::Manager| manager.attach(&held.endpoint, namespace.fd(), "eth0", Stack::Runtime);
    lab.host.run(|| runtimes(&manager)).unwrap();
    assert_eq!(segment(&lab.host, &held.endpoint.host_ifname), WIRE, "gVisor's buffers hold no more");
    let inner = lab.network(&manager, |draft| draft.internal = true);
    let inward = lab.start_on(&manager, inner.id, &[]);
    assert_eq!(segment(&inward.namespace, "eth0"), LARGE);

    // As docs/operations.md says.
    let command = ["link", "set", "lo", "gso_max_size", "65535"];
    assert!(lab.host.run(|| Command::new("ip").args(command).status().unwrap().success()));
    lab.network(&manager, |_| ());
    assert_eq!(segment(&lab.host, "lo"), Some(65_535));
}
