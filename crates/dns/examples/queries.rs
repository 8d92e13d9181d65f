//! How many questions one container gets answered in a second, and what a name server takes.

use gantry_dns::{Attachment, Place, Server, ServerAddress, Upstream, View};
use gantry_linux::netlink::container::loopback_up;
use gantry_linux::netlink::namespace;
use gantry_model::Id;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(3);
const CLIENTS: usize = 4;
/// Questions that a client has under way.
const WINDOW: usize = 16;

fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(measure());
}

async fn measure() {
    let (server, network) = (Server::new(), Id::random());
    for last in 0..100 {
        let place = Place {
            network,
            network_name: "net".to_owned(),
            name: format!("web{last}"),
            aliases: Vec::new(),
            ipv4: Some([10, 0, 0, last].into()),
            ipv6: None,
        };
        server.place(Id::random(), vec![place]);
    }
    let upstream_address = echo_server();
    let view = View {
        attachments: vec![Attachment { network, links: Vec::new() }],
        upstream: Upstream {
            servers: vec![ServerAddress { address: upstream_address, from_host: true }],
            forward: true,
            ndots: false,
        },
    };
    let many: Vec<_> = (0..200).map(|_| new_namespace()).collect();
    let before = (resident(), descriptors());
    let begin = Instant::now();
    for netns in &many {
        let netns = netns.try_clone().expect("a descriptor");
        server.serve(Id::random(), netns, view.clone()).await.expect("this needs root");
    }
    let each = begin.elapsed() / many.len() as u32;
    let memory = (resident() - before.0) / many.len();
    let descriptors = (descriptors() - before.1) as f64 / many.len() as f64;
    println!("one name server: {each:?} to open, {memory} bytes, {descriptors} descriptors");
    for (what, name) in [("known names", "web7"), ("forwarded names", "example")] {
        let processor = processor_time();
        let rate = ask(many[0].as_fd(), name);
        let processor = processor_time().saturating_sub(processor).as_micros() as f64 / (rate * PERIOD.as_secs_f64());
        println!("{what}: {rate:.0} questions a second ({processor:.1} us of processor time each, clients included)");
    }
}

/// The rate at which clients in the namespace get answers.
fn ask(netns: std::os::fd::BorrowedFd<'_>, name: &str) -> f64 {
    let total: usize = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| namespace::within(netns, || client(name)).expect("the namespace")))
            .collect();
        clients.into_iter().map(|client| client.join().expect("a client")).sum()
    });
    total as f64 / PERIOD.as_secs_f64()
}

fn client(name: &str) -> usize {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect("127.0.0.11:53").expect("the server's address");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, name.len() as u8];
    message.extend_from_slice(name.as_bytes());
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    let begin = Instant::now();
    let mut answered = 0;
    let mut buffer = [0; 512];
    for _ in 0..WINDOW {
        socket.send(&message).expect("sent");
    }
    while begin.elapsed() < PERIOD {
        if socket.recv(&mut buffer).is_ok() {
            answered += 1;
        }
        socket.send(&message).expect("sent");
    }
    answered
}

/// A server in the host's namespace that says everything is well.
fn echo_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("its address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, client)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            let _ = socket.send_to(&buffer[..len], client);
        }
    });
    address
}

fn new_namespace() -> OwnedFd {
    let make = || {
        namespace::unshare().expect("this needs root");
        loopback_up().expect("the loopback");
        namespace::current().expect("the namespace")
    };
    thread::spawn(make).join().expect("made")
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("readable");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("readable").count()
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
