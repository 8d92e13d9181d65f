//! Hosts made of network namespaces, between which real packets go.
#![allow(dead_code, reason = "each test program uses its part of the laboratory")]

use gantry_linux::netlink::container::{self, loopback_up};
use gantry_linux::netlink::route::{self, VethPair};
use gantry_linux::netlink::{Batch, Protocol, Socket, namespace};
use gantry_model::Id;
use gantry_network::{
    Attachment, BridgeOptions, Config, Driver, Endpoint, EndpointRequest, Forward, Gateways, Manager, NetworkDraft,
    NetworkSpec, PortRequest, Proto, Publication, Published, Stack, layout,
};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// The addresses of the host and of its neighbour on the wire between them.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(crate) const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub(crate) const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub(crate) const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The id that all of the laboratory's default networks have.
pub(crate) const DEFAULT: Id = Id::from_bytes([0xde; 32]);

/// How long a packet may take that is expected, and one that is not.
const PATIENCE: Duration = Duration::from_secs(30);
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

    /// Sends what goes to `target` by `gateway`, although it may be no neighbour by its address.
    pub(crate) fn route_by(&self, link: &str, target: IpAddr, gateway: IpAddr) {
        self.route(|socket| {
            let link = index(socket, link);
            let len = if target.is_ipv4() { 32 } else { 128 };
            let mut batch = Batch::new();
            route::replace_route(&mut batch, link, target, len, Some(gateway));
            socket.transact(&mut batch).unwrap();
        });
    }

    /// Sends everything by `gateway`.
    pub(crate) fn default_by(&self, link: &str, gateway: IpAddr) {
        self.route(|socket| {
            let link = index(socket, link);
            let mut batch = Batch::new();
            route::add_default_route(&mut batch, link, gateway);
            socket.transact(&mut batch).unwrap();
        });
    }

    pub(crate) fn delete_link(&self, name: &str) {
        self.route(|socket| {
            let mut batch = Batch::new();
            route::delete_link(&mut batch, name);
            socket.transact(&mut batch).unwrap();
        });
    }

    pub(crate) fn add_bridge(&self, name: &str) {
        self.route(|socket| {
            let mut batch = Batch::new();
            route::add_bridge(&mut batch, name, [2, 0, 0, 0, 0, 0x77], 1500);
            socket.transact(&mut batch).unwrap();
        });
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
                peer_mac: Some([2, 0, 0, 0, 0, 2]),
                peer_netns: host.fd(),
                mtu: 1500,
                segment: 0,
                peer_segment: 0,
            };
            end.add(&mut batch);
            route::set_port(&mut batch, "plug", route::BridgePort::default(), 0);
            route::set_link_up(&mut batch, bridge);
            route::add_address(&mut batch, bridge, NEIGHBOUR, 24);
            route::add_address(&mut batch, bridge, NEIGHBOUR6, 64);
            socket.transact(&mut batch).unwrap();
        });
        host.route(|socket| {
            let wan = index(socket, "wan0");
            let mut batch = Batch::new();
            route::set_link_up(&mut batch, wan);
            route::add_address(&mut batch, wan, HOST, 24);
            route::add_address(&mut batch, wan, HOST6, 64);
            route::add_default_route(&mut batch, wan, NEIGHBOUR);
            route::add_default_route(&mut batch, wan, NEIGHBOUR6);
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
            route::add_default_route(&mut batch, wire, HOST6);
            socket.transact(&mut batch).unwrap();
        });
    }

    pub(crate) fn set_bridge_netfilter(&self, on: bool) {
        if bridge_netfilter_modes().len() > 1 {
            for family in ["iptables", "ip6tables"] {
                self.host.sysctl(&format!("bridge/bridge-nf-call-{family}"), if on { "1" } else { "0" });
            }
        }
    }

    pub(crate) fn manager(&self, config: Config) -> Manager {
        self.host.run(|| Manager::open(config, DEFAULT, &[]).unwrap())
    }

    pub(crate) fn default_manager(&self) -> Manager {
        self.manager(Config::default())
    }

    /// A place on the default network, and ports.
    pub(crate) fn allocate(&self, manager: &Manager, ports: &[PortRequest]) -> gantry_network::Result<Allocation> {
        self.allocate_on(manager, DEFAULT, ports)
    }

    pub(crate) fn allocate_on(
        &self,
        manager: &Manager,
        network: Id,
        ports: &[PortRequest],
    ) -> gantry_network::Result<Allocation> {
        self.host.run(|| {
            let endpoint = manager.allocate(&EndpointRequest::new(network, Id::random()))?;
            match manager.reserve_ports(endpoint.container, Gateways::first_of([&endpoint]), ports) {
                Ok(publication) => {
                    let Publication { published, holders, forwards } = publication;
                    Ok(Allocation { endpoint, published, holders, forwards })
                }
                Err(e) => {
                    manager.release(&endpoint).unwrap();
                    Err(e)
                }
            }
        })
    }

    /// A container on the default network that is plugged in and configured.
    pub(crate) fn start(&self, manager: &Manager, ports: &[PortRequest]) -> Container {
        self.start_on(manager, DEFAULT, ports)
    }

    pub(crate) fn start_on(&self, manager: &Manager, network: Id, ports: &[PortRequest]) -> Container {
        self.plug_in(manager, self.allocate_on(manager, network, ports).unwrap())
    }

    pub(crate) fn plug_in(&self, manager: &Manager, allocation: Allocation) -> Container {
        let Allocation { endpoint, published, holders, .. } = allocation;
        let namespace = Namespace::new();
        self.host.run(|| {
            manager.attach(&endpoint, namespace.fd(), "eth0", Stack::Kernel).unwrap();
            manager.open_ports(&published).unwrap();
        });
        namespace.run(|| {
            let layout = layout([("eth0", &endpoint)], Gateways::first_of([&endpoint]));
            container::apply(&layout, |key, value| std::fs::write(format!("/proc/sys/net/{key}"), value)).unwrap();
        });
        Container {
            namespace,
            ip: endpoint.ipv4.map_or(Ipv4Addr::UNSPECIFIED, |(ip, _)| ip),
            ip6: endpoint.ipv6.map_or(Ipv6Addr::UNSPECIFIED, |(ip, _)| ip),
            gateway: endpoint.gateway_v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
            endpoint,
            published,
            holders,
        }
    }

    /// Takes all of a container's network away.
    pub(crate) fn release(&self, manager: &Manager, container: &Container) {
        self.host.run(|| {
            manager.close_ports(&container.endpoint.container).unwrap();
            manager.release(&container.endpoint).unwrap();
        });
    }

    /// What a new daemon does.
    pub(crate) fn restore(&self, manager: &Manager, networks: &[NetworkSpec], live: &[&Container]) {
        let live: Vec<_> = live.iter().map(|c| c.attachment()).collect();
        self.host.run(|| manager.restore(networks, &live)).unwrap();
    }

    /// Plugs a namespace in to a bridge of somebody else's.
    pub(crate) fn join(&self, namespace: &Namespace, name: &str, ip: Ipv4Addr, gateway: Ipv4Addr) {
        self.host.route(|socket| {
            let bridge = index(socket, name);
            let mut batch = Batch::new();
            let end = VethPair {
                name: "theirs",
                bridge,
                peer_name: "eth0",
                peer_mac: None,
                peer_netns: namespace.fd(),
                mtu: 1500,
                segment: 0,
                peer_segment: 0,
            };
            end.add(&mut batch);
            route::set_port(&mut batch, "theirs", route::BridgePort::default(), 0);
            route::set_link_up(&mut batch, bridge);
            route::add_address(&mut batch, bridge, gateway, 24);
            socket.transact(&mut batch).unwrap();
        });
        namespace.route(|socket| {
            let eth0 = index(socket, "eth0");
            let mut batch = Batch::new();
            route::set_link_up(&mut batch, eth0);
            route::add_address(&mut batch, eth0, ip, 24);
            route::add_default_route(&mut batch, eth0, gateway);
            socket.transact(&mut batch).unwrap();
        });
    }

    /// A bridge network.
    pub(crate) fn network(&self, manager: &Manager, change: impl FnOnce(&mut NetworkDraft)) -> NetworkSpec {
        let mut draft = bridge("net", BridgeOptions::default());
        change(&mut draft);
        self.host.run(|| manager.create(draft)).unwrap()
    }
}

/// A draft of a bridge network.
pub(crate) fn bridge(name: &str, options: BridgeOptions) -> NetworkDraft {
    NetworkDraft {
        id: Id::random(),
        name: name.to_owned(),
        driver: Driver::Bridge(options),
        internal: false,
        ipv4: true,
        ipv6: false,
        pools: Vec::new(),
    }
}

/// A place on a network with its ports.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) endpoint: Endpoint,
    pub(crate) published: Published,
    pub(crate) holders: Vec<OwnedFd>,
    pub(crate) forwards: Vec<Forward>,
}

/// A container, as far as its network goes.
pub(crate) struct Container {
    pub(crate) namespace: Namespace,
    pub(crate) endpoint: Endpoint,
    pub(crate) ip: Ipv4Addr,
    pub(crate) ip6: Ipv6Addr,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) published: Published,
    pub(crate) holders: Vec<OwnedFd>,
}

impl Container {
    pub(crate) fn attachment(&self) -> Attachment {
        Attachment { endpoints: vec![self.endpoint.clone()], published: Some(self.published.clone()) }
    }
}

/// For what the kernel or a thread does in the background.
pub(crate) fn eventually(condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(40);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

/// The index of a link.
pub(crate) fn index(socket: &mut Socket, name: &str) -> u32 {
    route::link_by_name(socket, name).unwrap().unwrap_or_else(|| panic!("no link {name}")).index
}

/// `-p host_port:container_port`
pub(crate) fn tcp(host_port: u16, container_port: u16) -> PortRequest {
    PortRequest { container_port, proto: Proto::Tcp, host_ip: None, host_ports: Some((host_port, host_port)) }
}
