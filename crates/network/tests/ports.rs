//! Which host ports a container gets, and what is said when it gets none.

mod lab;

use gantry_network::{Config, PortRequest, Proto};
use lab::{HOST, Lab, tcp};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};

fn range(first: u16, last: u16) -> PortRequest {
    PortRequest { host_ports: Some((first, last)), ..tcp(0, 80) }
}

fn on(ip: impl Into<IpAddr>, request: &PortRequest) -> PortRequest {
    PortRequest { host_ip: Some(ip.into()), ..request.clone() }
}

#[test]
fn a_port_of_another_container() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let first = lab.allocate(&manager, &[tcp(8080, 80)]).unwrap();
    let message = |request| lab.allocate(&manager, &[tcp(9090, 90), request]).unwrap_err().to_string();

    assert_eq!(message(tcp(8080, 80)), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    assert_eq!(message(on(HOST, &tcp(8080, 80))), "Bind for 198.51.100.1:8080 failed: port is already allocated");
    assert_eq!(message(range(8080, 8080)), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    lab.allocate(&manager, &[PortRequest { proto: Proto::Udp, ..tcp(8080, 80) }]).unwrap();

    // A failure keeps nothing: neither the port before the one that failed nor the address.
    let retry = lab.allocate(&manager, &[tcp(9090, 90)]).unwrap();
    assert_eq!(retry.published.bindings[0].host_port, 9090);
    lab.host.run(|| manager.close_ports(&first.endpoint.container)).unwrap();
    drop(first);
    lab.allocate(&manager, &[tcp(8080, 80)]).unwrap();
}

#[test]
fn a_port_of_another_program() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let _program = lab.host.run(|| TcpListener::bind("0.0.0.0:8080").unwrap());
    let error = lab.allocate(&manager, &[tcp(8080, 80)]).unwrap_err().to_string();
    assert_eq!(error, "failed to bind host port for 0.0.0.0:8080:172.17.0.2:80/tcp: address already in use");
    let error = lab.allocate(&manager, &[on(Ipv4Addr::new(192, 0, 2, 9), &tcp(80, 80))]).unwrap_err().to_string();
    assert!(error.ends_with("cannot assign requested address"), "{error}");

    let allocation = lab.allocate(&manager, &[range(8080, 8082)]).unwrap();
    assert_eq!(allocation.published.bindings[0].host_port, 8081);
}

/// The reservation holds against programs that set SO_REUSEADDR, as std's listener does, and against other daemons.
#[test]
fn held_ports_are_held() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let neighbour = lab.manager(Config { instance: "0a1b2c".into(), ..Config::default() });
    let udp = PortRequest { proto: Proto::Udp, ..tcp(8080, 80) };
    let held = lab.allocate(&manager, &[tcp(8080, 80), udp.clone()]).unwrap();
    assert!(lab.host.run(|| TcpListener::bind("0.0.0.0:8080").is_err()));
    assert!(lab.host.run(|| TcpListener::bind("127.0.0.1:8080").is_err()));
    assert!(lab.host.run(|| UdpSocket::bind("0.0.0.0:8080").is_err()));
    for request in [tcp(8080, 80), udp] {
        let error = lab.allocate(&neighbour, &[request]).unwrap_err().to_string();
        assert!(error.ends_with("address already in use"), "{error}");
    }
    // The daemon may go: whoever has the sockets has the ports.
    drop(manager);
    assert!(lab.host.run(|| TcpListener::bind("0.0.0.0:8080").is_err()));
    drop(held);
    assert!(lab.host.run(|| TcpListener::bind("0.0.0.0:8080").is_ok()));
}

/// A server that has just ended leaves connections in TIME_WAIT on its port, which must not be in the way.
#[test]
fn a_port_whose_server_has_just_ended() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    lab.host.run(|| {
        let server = TcpListener::bind("127.0.0.1:8080").unwrap();
        let client = TcpStream::connect("127.0.0.1:8080").unwrap();
        let (connection, _) = server.accept().unwrap();
        // The side that closes first waits.
        drop(connection);
        drop(client);
    });
    let held = lab.allocate(&manager, &[tcp(8080, 80)]).unwrap();
    assert!(lab.host.run(|| TcpListener::bind("0.0.0.0:8080").is_err()), "and it is held all the same");
    let neighbour = lab.manager(Config { instance: "0a1b2c".into(), ..Config::default() });
    assert!(lab.allocate(&neighbour, &[tcp(8080, 80)]).is_err());
    drop(held);
}

#[test]
fn ranges_and_any_port() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let mut kept = Vec::new();
    for expected in 7000..7003 {
        let allocation = lab.allocate(&manager, &[range(7000, 7002)]).unwrap();
        assert_eq!(allocation.published.bindings[0].host_port, expected);
        kept.push(allocation);
    }
    let error = lab.allocate(&manager, &[range(7000, 7002)]).unwrap_err().to_string();
    assert_eq!(error, "Bind for 0.0.0.0:7000-7002 failed: all ports are allocated");

    let any = PortRequest { host_ports: None, ..tcp(0, 80) };
    let zero = PortRequest { host_ports: Some((0, 0)), ..tcp(0, 80) };
    let mut ports = HashSet::new();
    for _ in 0..50 {
        let allocation = lab.allocate(&manager, &[any.clone(), zero.clone()]).unwrap();
        let v4 = allocation.published.bindings.iter().filter(|p| p.host_ip.is_ipv4());
        assert!(v4.clone().all(|p| p.host_port >= 1024 && ports.insert(p.host_port)) && v4.count() == 2);
        kept.push(allocation);
    }
    let sctp = PortRequest { proto: Proto::Sctp, ..any };
    assert_ne!(lab.allocate(&manager, &[sctp]).unwrap().published.bindings[0].host_port, 0);
}

#[test]
fn what_cannot_be_published() {
    let lab = Lab::new();
    let manager = lab.manager(Config { forwarders: false, ..Config::default() });
    let error = lab.allocate(&manager, &[on(Ipv6Addr::LOCALHOST, &tcp(80, 80))]).unwrap_err();
    assert_eq!(error.to_string(), "cannot publish a port on ::1: the network has no IPv6 addresses");
    let neither = Config { instance: "0a1b2c".into(), firewall: false, forwarders: false, ..Config::default() };
    let manager = lab.manager(neither);
    assert!(lab.allocate(&manager, &[tcp(8080, 80)]).is_err());
    assert!(lab.allocate(&manager, &[]).is_ok());
}

/// For a container without an address of IPv6, those who hold its ports can serve the host's.
#[test]
fn ports_of_ipv6_that_others_serve() {
    let lab = Lab::new();
    let manager = lab.default_manager();
    let udp = PortRequest { proto: Proto::Udp, ..tcp(8081, 81) };
    let sctp = PortRequest { proto: Proto::Sctp, ..tcp(8082, 82) };
    let on_v6 = on(Ipv6Addr::UNSPECIFIED, &PortRequest { host_ports: None, ..tcp(0, 83) });
    let allocation = lab.allocate(&manager, &[tcp(8080, 80), udp, sctp, on_v6]).unwrap();
    let published = &allocation.published;
    assert!(published.forwarded);
    assert_eq!(published.forwarding_target(), Some(Ipv4Addr::new(172, 17, 0, 2).into()));
    let bindings = published.bindings.iter().filter(|p| p.proto != Proto::Sctp);
    let found: Vec<_> = bindings.clone().map(|p| (p.host_ip.is_ipv6(), p.container_port)).collect();
    assert_eq!(found, [(false, 80), (true, 80), (false, 81), (true, 81), (true, 83)]);
    assert_eq!(published.bindings.iter().filter(|p| p.proto == Proto::Sctp).count(), 1);
    assert!(bindings.clone().all(|p| published.target(p) == published.forwarding_target()));
    // Only their sockets are to be served, and the one without a wish is there, too.
    let forwards: Vec<_> = allocation.forwards.iter().map(|f| (f.proto, f.container_port)).collect();
    assert_eq!(forwards, [(Proto::Tcp, 80), (Proto::Udp, 81), (Proto::Tcp, 83)]);
    let ports: Vec<_> = bindings.filter(|p| p.host_ip.is_ipv6()).map(|p| p.host_port).collect();
    for (forward, port) in allocation.forwards.iter().zip(ports) {
        let bound = rustix::net::getsockname(&allocation.holders[forward.holder]).unwrap();
        assert_eq!(std::net::SocketAddr::try_from(bound).unwrap(), (Ipv6Addr::UNSPECIFIED, port).into());
    }
    assert!(lab.host.run(|| TcpListener::bind("[::1]:8080").is_err() && UdpSocket::bind("[::]:8081").is_err()));
    lab.host.run(|| manager.close_ports(&allocation.endpoint.container)).unwrap();
    drop(allocation);
    lab.allocate(&manager, &[tcp(8080, 80)]).unwrap();

    // Who asks for a certain address of IPv4 gets no other.
    let certain = Config { default_bind_ip: HOST.into(), instance: "0a1b2c".into(), ..Config::default() };
    let manager = lab.manager(certain);
    let allocation = lab.allocate(&manager, &[tcp(9090, 80)]).unwrap();
    assert!(allocation.published.bindings.iter().all(|p| p.host_ip == HOST) && !allocation.published.forwarded);
}
