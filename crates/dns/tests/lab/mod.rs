//! Containers made of network namespaces, and servers to forward to.
#![allow(dead_code, reason = "each test program uses its part of the laboratory")]

use gantry_dns::{Attachment, Place, Server, ServerAddress, Upstream, View};
use gantry_linux::netlink::container::loopback_up;
use gantry_linux::netlink::namespace;
use gantry_model::Id;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// Where containers find their name server.
pub(crate) const NAME_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 11)), 53);

pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;

pub(crate) const NOERROR: u8 = 0;
pub(crate) const FORMERR: u8 = 1;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const NOTIMP: u8 = 4;
pub(crate) const REFUSED: u8 = 5;

/// How long an answer may take that is expected.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A container, as far as name resolution goes.
pub(crate) struct Container {
    pub(crate) id: Id,
    namespace: OwnedFd,
}

impl Container {
    pub(crate) fn new() -> Self {
        let made = Self::new_and_down();
        made.run(|| loopback_up().unwrap());
        made
    }

    /// As the kernel makes it: its loopback is down.
    pub(crate) fn new_and_down() -> Self {
        let make = || {
            namespace::unshare()?;
            namespace::current()
        };
        Self { id: Id::random(), namespace: thread::spawn(make).join().unwrap().expect("tests run as root") }
    }

    pub(crate) fn netns(&self) -> OwnedFd {
        self.namespace.try_clone().unwrap()
    }

    /// Runs `work` in a thread that is in this container's namespace.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        namespace::within(self.namespace.as_fd(), work).unwrap()
    }

    /// A client's socket.
    pub(crate) fn client(&self) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.connect(NAME_SERVER).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }

    pub(crate) fn connection(&self) -> TcpStream {
        self.run(|| {
            let stream = TcpStream::connect(NAME_SERVER).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
    }

    /// Asks by UDP.
    pub(crate) fn ask(&self, name: &str, rtype: u16) -> Reply {
        self.ask_with(&query(name, rtype, None))
    }

    pub(crate) fn ask_with(&self, message: &[u8]) -> Reply {
        exchange(&self.client(), message).unwrap()
    }

    /// Asks by TCP.
    pub(crate) fn ask_by_tcp(&self, name: &str, rtype: u16) -> Reply {
        exchange_tcp(&mut self.connection(), &query(name, rtype, None)).unwrap()
    }
}

pub(crate) fn exchange(client: &UdpSocket, message: &[u8]) -> io::Result<Reply> {
    client.send(message)?;
    let mut buffer = vec![0; 65_536];
    let len = client.recv(&mut buffer)?;
    buffer.truncate(len);
    assert_eq!(buffer[..2], message[..2], "the id");
    Ok(Reply(buffer))
}

pub(crate) fn exchange_tcp(stream: &mut TcpStream, message: &[u8]) -> io::Result<Reply> {
    stream.write_all(&framed(message))?;
    read_framed(stream).map(Reply)
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

pub(crate) fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; u16::from_be_bytes(len).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// A query as a client would send it.
pub(crate) fn query(name: &str, rtype: u16, udp_size: Option<u16>) -> Vec<u8> {
    let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(udp_size.is_some())];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&rtype.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    if let Some(size) = udp_size {
        let [high, low] = size.to_be_bytes();
        // With a cookie, so that it can be seen to arrive.
        bytes.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8]);
        bytes.extend_from_slice(b"biscuits");
    }
    bytes
}

/// The addresses of the loopback's kin.
pub(crate) fn last_octet(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(ip) => ip.octets()[15],
    }
}

/// What a client got.
pub(crate) struct Reply(pub(crate) Vec<u8>);

impl Reply {
    pub(crate) fn rcode(&self) -> u8 {
        self.0[3] & 15
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.0[2] & 2 != 0
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(u16::from_be_bytes([self.0[6], self.0[7]]))
    }

    /// The last octets of the addresses in the answer, sorted; the records are this server's own.
    pub(crate) fn last_octets(&self) -> Vec<u8> {
        let mut octets: Vec<_> = self.data().iter().map(|data| *data.last().unwrap()).collect();
        octets.sort_unstable();
        octets
    }

    /// The name that a PTR record gives.
    pub(crate) fn name(&self) -> String {
        let mut labels = Vec::new();
        let mut rest = self.data()[0];
        while let [len, more @ ..] = rest {
            let (label, next) = more.split_at((*len).into());
            if !label.is_empty() {
                labels.push(String::from_utf8_lossy(label).into_owned());
            }
            rest = next;
        }
        labels.join(".")
    }

    /// The records' data.
    fn data(&self) -> Vec<&[u8]> {
        let bytes = &self.0;
        let mut at = 12;
        while bytes[at] != 0 {
            at += 1 + usize::from(bytes[at]);
        }
        at += 5;
        let mut all = Vec::new();
        for _ in 0..self.count() {
            assert_eq!(bytes[at..at + 2], [0xc0, 12], "a pointer to the question");
            let len = usize::from(u16::from_be_bytes([bytes[at + 10], bytes[at + 11]]));
            all.push(&bytes[at + 12..at + 12 + len]);
            at += 12 + len;
        }
        all
    }
}

/// A container's name server, on a network `net` with `members` of it.
pub(crate) struct Lab {
    pub(crate) server: Server,
    pub(crate) network: Id,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { server: Server::new(), network: Id::random() }
    }

    pub(crate) fn member(&self, name: &str, aliases: &[&str], last: u8) -> Id {
        let place = Place {
            network: self.network,
            network_name: "net".to_owned(),
            name: name.to_owned(),
            aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
            ipv4: Some([10, 0, 0, last].into()),
            ipv6: None,
        };
        let container = Id::random();
        self.server.place(container, vec![place]);
        container
    }

    pub(crate) fn view(&self, upstream: Upstream) -> View {
        View { attachments: vec![Attachment { network: self.network, links: Vec::new() }], upstream }
    }

    pub(crate) async fn serve(&self, container: &Container, upstream: Upstream) {
        self.server.serve(container.id, container.netns(), self.view(upstream)).await.unwrap();
    }
}

/// Servers to forward to.
pub(crate) fn upstream(servers: &[ServerAddress]) -> Upstream {
    Upstream { servers: servers.to_vec(), forward: true, ndots: false }
}

/// What a fake server has been asked, and by whom.
pub(crate) struct Asked {
    pub(crate) message: Vec<u8>,
    pub(crate) client: SocketAddr,
    pub(crate) tcp: bool,
}

/// A server on a loopback address of the calling thread's namespace. `reply` makes the answers to a question, in order.
pub(crate) fn fake_server(
    reply: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + Clone + 'static,
) -> (SocketAddr, Receiver<Asked>) {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).unwrap();
    let (asked, log) = channel();
    let (log_udp, reply_udp) = (asked.clone(), reply.clone());
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((len, client)) = udp.recv_from(&mut buffer) {
            let message = buffer[..len].to_vec();
            let answers = reply_udp(&message);
            // The test may be over.
            if log_udp.send(Asked { message, client, tcp: false }).is_err() {
                return;
            }
            for answer in answers {
                udp.send_to(&answer, client).unwrap();
            }
        }
    });
    thread::spawn(move || {
        while let Ok((mut stream, client)) = tcp.accept() {
            let Ok(message) = read_framed(&mut stream) else { continue };
            let answers = reply(&message);
            if asked.send(Asked { message, client, tcp: true }).is_err() {
                return;
            }
            for answer in answers {
                let _ = stream.write_all(&framed(&answer));
            }
        }
    });
    (address, log)
}

/// The query as an answer with an outcome, and `tail` behind it.
pub(crate) fn answered(message: &[u8], rcode: u8, tail: &[u8]) -> Vec<u8> {
    let mut answer = message.to_vec();
    answer[2] |= 0x80;
    answer[3] |= rcode;
    answer.extend_from_slice(tail);
    answer
}

pub(crate) fn of_host(address: SocketAddr) -> ServerAddress {
    ServerAddress { address, from_host: true }
}

pub(crate) fn of_container(address: SocketAddr) -> ServerAddress {
    ServerAddress { address, from_host: false }
}
