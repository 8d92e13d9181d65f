//! Hosts made of network namespaces, between which real packets go.
#![allow(dead_code, reason = "each test program uses its part of the laboratory")]

use gantry_linux::netlink::container::{ContainerInterface, configure, loopback_up};
use gantry_linux::netlink::route::{self, VethPair};
use gantry_linux::netlink::{Batch, Protocol, Socket, namespace};
use gantry_model::Id;
use gantry_network::{Allocation, Config, Endpoint, EndpointRequest, Manager, PortRequest, Proto};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::Duration;

/// The addresses of the host and of its neighbour on the wire between them.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

/// How long a packet may take that is expected, and one that is not.
const PATIENCE: Duration = Duration::from_secs(5);
const IMPATIENCE: Duration = Duration::from_millis(400);

/// A network namespace; it ends when nothing refers to it any more.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    pub(crate) fn new() -> Self {
        let make = || {
            namespace::unshare()?;
            loopback_up()?;
            namespace::current()
        };
        Self(thread::spawn(make).join().unwrap().expect("tests run as root"))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Runs `work` in a thread that is in this namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter_and_work = || {
            namespace::enter(self.fd()).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(enter_and_work).join()).unwrap_or_else(|e| std::panic::resume_unwind(e))
    }

    /// The names of its links.
    pub(crate) fn links(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.route(|socket| route::links(socket).unwrap()).into_iter().map(|l| l.name).collect();
        names.sort();
        names
    }

    pub(crate) fn route<T: Send>(&self, work: impl FnOnce(&mut Socket) -> T + Send) -> T {
        self.run(|| work(&mut Socket::open(Protocol::Route).unwrap()))
    }

    pub(crate) fn netfilter<T: Send>(&self, work: impl FnOnce(&mut Socket) -> T + Send) -> T {
        self.run(|| work(&mut Socket::open(Protocol::Netfilter).unwrap()))
    }

    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/net/{key}"), value).unwrap());
    }

    /// Answers every TCP connection with `name` and the client's address.
    pub(crate) fn serve_tcp(&self, address: &str, name: &'static str) {
        let listener = self.run(|| TcpListener::bind(address).unwrap());
        thread::spawn(move || {
            while let Ok((mut client, peer)) = listener.accept() {
                let _ = write!(client, "{name} {}", peer.ip());
            }
        });
    }

    /// Answers every datagram with `name` and the client's address.
    pub(crate) fn serve_udp(&self, address: &str, name: &'static str) {
        let socket = self.run(|| UdpSocket::bind(address).unwrap());
        thread::spawn(move || {
            while let Ok((_, peer)) = socket.recv_from(&mut [0; 64]) {
                let _ = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    /// What a server says.
    pub(crate) fn ask(&self, ip: impl Into<IpAddr>, port: u16) -> io::Result<String> {
        self.ask_within(SocketAddr::new(ip.into(), port), PATIENCE)
    }

    /// Whether a server that should be out of reach is so.
    pub(crate) fn cannot_reach(&self, ip: impl Into<IpAddr>, port: u16) -> bool {
        self.ask_within(SocketAddr::new(ip.into(), port), IMPATIENCE).is_err()
    }

    fn ask_within(&self, server: SocketAddr, patience: Duration) -> io::Result<String> {
        self.run(|| {
            let mut stream = TcpStream::connect_timeout(&server, patience)?;
            stream.set_read_timeout(Some(patience))?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }

    pub(crate) fn udp_client(&self) -> UdpSocket {
        let socket = self.run(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }
}

/// Sends a datagram and gives the answer.
pub(crate) fn ask_udp(client: &UdpSocket, ip: Ipv4Addr, port: u16) -> io::Result<String> {
    client.send_to(b"?", (ip, port))?;
    let mut answer = [0; 64];
    let len = client.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..len]).into_owned())
}

/// Whether bridged packets are shown to the firewall: both ways, or the only one on a kernel without br_netfilter.
pub(crate) fn bridge_netfilter_modes() -> &'static [bool] {
    if std::path::Path::new("/proc/sys/net/bridge").exists() { &[true, false] } else { &[false] }
}

/// A host with a neighbour on a wire. The neighbour routes everything through the host, as an attacker would.
pub(crate) struct Lab {
    pub(crate) host: Namespace,
    pub(crate) neighbour: Namespace,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (host, neighbour) = (Namespace::new(), Namespace::new());
        neighbour.route(|socket| {
            let mut batch = Batch::new();
            route::add_bridge(&mut batch, "wire", [2, 0, 0, 0, 0, 1], 1500);
            socket.transact(&mut batch).unwrap();
            let bridge = index(socket, "wire");
            let mut batch = Batch::new();
            let end = VethPair {
                name: "plug",
                bridge,
                peer_name: "wan0",
                peer_mac: [2, 0, 0, 0, 0, 2],
                peer_netns: host.fd(),
                mtu: 1500,
            };
            end.add(&mut batch);
            route::set_port(&mut batch, "plug", route::BridgePort::default());
            route::set_link_up(&mut batch, bridge);
            route::add_address(&mut batch, bridge, NEIGHBOUR, 24);
            socket.transact(&mut batch).unwrap();
        });
        host.route(|socket| {
            let wan = index(socket, "wan0");
            let mut batch = Batch::new();
            route::set_link_up(&mut batch, wan);
            route::add_address(&mut batch, wan, HOST, 24);
            route::add_default_route(&mut batch, wan, NEIGHBOUR);
            socket.transact(&mut batch).unwrap();
        });
        Self { host, neighbour }
    }

    /// Lets the neighbour send packets for any address to the host.
    pub(crate) fn route_everything_to_host(&self) {
        self.neighbour.route(|socket| {
            let mut batch = Batch::new();
            let wire = index(socket, "wire");
            route::add_default_route(&mut batch, wire, HOST);
            socket.transact(&mut batch).unwrap();
        });
    }

    pub(crate) fn set_bridge_netfilter(&self, on: bool) {
        if bridge_netfilter_modes().len() > 1 {
            self.host.sysctl("bridge/bridge-nf-call-iptables", if on { "1" } else { "0" });
        }
    }

    pub(crate) fn manager(&self, config: Config) -> Manager {
        self.host.run(|| Manager::open(config).unwrap())
    }

    pub(crate) fn default_manager(&self) -> Manager {
        self.manager(Config::default())
    }

    pub(crate) fn allocate(&self, manager: &Manager, ports: Vec<PortRequest>) -> gantry_network::Result<Allocation> {
        let request = EndpointRequest { container: Id::random(), ip: None, mac: None, ports };
        self.host.run(|| manager.allocate(&request))
    }

    /// A container that is plugged in and configured.
    pub(crate) fn start(&self, manager: &Manager, ports: Vec<PortRequest>) -> Container {
        let allocation = self.allocate(manager, ports).unwrap();
        let namespace = Namespace::new();
        let endpoint = allocation.endpoint;
        self.host.run(|| manager.attach(&endpoint, namespace.fd())).unwrap();
        namespace.run(|| {
            configure(&ContainerInterface {
                name: "eth0",
                address: endpoint.ip,
                prefix_len: endpoint.prefix_len,
                gateway: Some(endpoint.gateway),
                mtu: endpoint.mtu,
            })
            .unwrap();
        });
        Container { namespace, endpoint, holders: allocation.port_holders }
    }
}

/// A container, as far as its network goes.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Endpoint,
    pub(crate) holders: Vec<OwnedFd>,
}

/// The index of a link.
pub(crate) fn index(socket: &mut Socket, name: &str) -> u32 {
    route::link_by_name(socket, name).unwrap().unwrap_or_else(|| panic!("no link {name}")).index
}

/// `-p host_port:container_port`
pub(crate) fn tcp(host_port: u16, container_port: u16) -> PortRequest {
    PortRequest { container_port, proto: Proto::Tcp, host_ip: None, host_ports: Some((host_port, host_port)) }
}
