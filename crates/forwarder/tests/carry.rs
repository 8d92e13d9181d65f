//! A forwarder in a thread, clients and servers around it.

use gantry_forwarder::{END, Kind, LEAVE, Limits, Port, run};
use std::io::{self, PipeWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LIMITS: Limits = Limits { connections: 1000, sessions: 1000, idle: Duration::from_secs(3600) };
/// Far beyond what anything here takes, also on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TARGET: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Forwarder {
    orders: PipeWriter,
    thread: JoinHandle<io::Result<()>>,
}

impl Forwarder {
    fn of_streams(listener: TcpListener, port: u16, limits: Limits) -> Self {
        listener.set_nonblocking(true).unwrap();
        let (orders, writer) = io::pipe().unwrap();
        let serve = move || {
            let ports = [Port { socket: listener.as_fd(), kind: Kind::Stream, port }];
            run(&ports, TARGET, orders.into(), limits)
        };
        Self { orders: writer, thread: thread::spawn(serve) }
    }

    fn of_datagrams(socket: UdpSocket, port: u16, limits: Limits) -> Self {
        socket.set_nonblocking(true).unwrap();
        let (orders, writer) = io::pipe().unwrap();
        let serve = move || {
            let ports = [Port { socket: socket.as_fd(), kind: Kind::Datagram, port }];
            run(&ports, TARGET, orders.into(), limits)
        };
        Self { orders: writer, thread: thread::spawn(serve) }
    }

    fn leave(&mut self) {
        self.orders.write_all(&[LEAVE]).unwrap();
    }

    fn end(mut self) {
        self.leave();
        self.thread.join().unwrap().unwrap();
    }
}

/// A server behind a forwarder; gives the address to connect to.
fn streams(limits: Limits, serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> (Forwarder, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((stream, _)) = server.accept() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let at = listener.local_addr().unwrap();
    (Forwarder::of_streams(listener, port, limits), at)
}

fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn echo(mut stream: TcpStream) {
    let mut buf = [0; 16 << 10];
    while let Ok(len @ 1..) = stream.read(&mut buf) {
        if stream.write_all(&buf[..len]).is_err() {
            return;
        }
    }
}

/// Bytes that are not the same again soon.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn round_trip(at: SocketAddr, bytes: &[u8]) {
    let mut stream = connect(at);
    let mut writing = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            writing.write_all(bytes).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == bytes, "{} of {} bytes came back", back.len(), bytes.len());
    });
}

#[test]
fn much_arrives_as_it_was() {
    let (forwarder, at) = streams(LIMITS, echo);
    round_trip(at, &pattern(20 << 20, 42));
    round_trip(at, b"little");
    round_trip(at, b"");
    forwarder.end();
}

#[test]
fn many_at_a_time() {
    let (forwarder, at) = streams(LIMITS, echo);
    thread::scope(|scope| {
        for n in 0..100 {
            scope.spawn(move || round_trip(at, &pattern(100_000 + n, n as u64)));
        }
    });
    forwarder.end();
}

#[test]
fn what_is_above_the_limit_waits() {
    let (forwarder, at) = streams(Limits { connections: 2, ..LIMITS }, echo);
    let mut held: Vec<_> = (0..2).map(|_| connect(at)).collect();
    for stream in &mut held {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let mut third = connect(at);
    third.write_all(b"x").unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(third.read_exact(&mut [0]).is_err());
    held.pop();
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    third.read_exact(&mut [0]).unwrap();
    drop((held, third));
    forwarder.end();
}

#[test]
fn each_half_is_closed_for_itself() {
    // Says something when the client has ended, and something before it does.
    let (forwarder, at) = streams(LIMITS, |mut stream| {
        stream.write_all(b"early ").unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        stream.write_all(format!("late {all}").as_bytes()).unwrap();
    });
    let mut stream = connect(at);
    stream.read_exact(&mut [0; 6]).unwrap();
    stream.write_all(b"text").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "late text");
    // The server ends first, and still reads.
    let (other, at) = streams(LIMITS, |mut stream| {
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        assert_eq!(stream.read_to_end(&mut all).unwrap(), 3 << 20);
    });
    let mut stream = connect(at);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    stream.write_all(&pattern(3 << 20, 3)).unwrap();
    drop(stream);
    forwarder.end();
    other.end();
}

#[test]
fn failures_are_passed_on() {
    let (forwarder, at) = streams(LIMITS, |stream| {
        // Closing with something unread is a reset.
        stream.peek(&mut [0]).unwrap();
    });
    let mut stream = connect(at);
    stream.write_all(b"unread").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    forwarder.end();
    // Nobody listens there.
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let at = listener.local_addr().unwrap();
    let forwarder = Forwarder::of_streams(listener, unused, LIMITS);
    assert_eq!(connect(at).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    forwarder.end();
}

/// The client sends all the time, so that writing fails before reading does.
#[test]
fn a_failure_is_no_end() {
    let (forwarder, at) = streams(LIMITS, |mut stream| {
        stream.read_exact(&mut vec![0; 100_000]).unwrap();
    });
    for _ in 0..20 {
        let mut stream = connect(at);
        let mut reading = stream.try_clone().unwrap();
        let failed = thread::scope(|scope| {
            let writer = scope.spawn(move || {
                let chunk = pattern(100_000, 7);
                while stream.write_all(&chunk).is_ok() {}
            });
            let read = reading.read(&mut [0]);
            writer.join().unwrap();
            read
        });
        // One of the two threads gets the reset; the other sees the end, or that it is not connected.
        assert!(!matches!(failed, Ok(1..)));
    }
    forwarder.end();
}

#[test]
fn what_was_said_before_a_failure_arrives() {
    let (forwarder, at) = streams(LIMITS, |mut stream| {
        stream.peek(&mut [0]).unwrap();
        stream.write_all(b"too large").unwrap();
    });
    for _ in 0..20 {
        let mut stream = connect(at);
        stream.write_all(b"unread").unwrap();
        let mut buf = [0; 9];
        stream.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"too large");
    }
    forwarder.end();
}

#[test]
fn one_that_takes_nothing_keeps_nobody_else_waiting() {
    let (forwarder, at) = streams(LIMITS, echo);
    let mut slow = connect(at);
    slow.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let chunk = pattern(1 << 20, 9);
    let mut sent = 0;
    while let Ok(len @ 1..) = slow.write(&chunk) {
        sent += len;
    }
    round_trip(at, &pattern(1 << 20, 5));
    slow.shutdown(Shutdown::Write).unwrap();
    let mut back = 0;
    let mut buf = vec![0; 1 << 20];
    while let Ok(len @ 1..) = slow.read(&mut buf) {
        back += len;
    }
    assert_eq!(back, sent);
    forwarder.end();
}

#[test]
fn leaves_with_the_last_connection() {
    let (mut forwarder, at) = streams(LIMITS, echo);
    let mut stream = connect(at);
    let mut ask = || {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    };
    ask();
    forwarder.leave();
    ask();
    assert!(!forwarder.thread.is_finished());
    drop(stream);
    forwarder.end();
}

#[test]
fn hands_on_the_last_words() {
    let (mut forwarder, at) = streams(LIMITS, |mut stream| {
        stream.write_all(b"last words").unwrap();
        // Not closed.
        thread::sleep(PATIENCE);
    });
    let mut stream = connect(at);
    stream.read_exact(&mut [0; 4]).unwrap();
    forwarder.orders.write_all(&[END]).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, " words");
    forwarder.thread.join().unwrap().unwrap();
}

#[test]
fn ends_when_idle() {
    let (forwarder, at) = streams(Limits { idle: Duration::from_millis(200), ..LIMITS }, echo);
    // Before its last work: this thread may come late to the clock afterwards.
    let since = Instant::now();
    round_trip(at, b"text");
    forwarder.thread.join().unwrap().unwrap();
    assert!(since.elapsed() > Duration::from_millis(100));
}

fn udp_echo() -> u16 {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buf = vec![0; 64 << 10];
        while let Ok((len, peer)) = server.recv_from(&mut buf) {
            let _ = server.send_to(&buf[..len], peer);
        }
    });
    port
}

fn udp_client(at: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(at).unwrap();
    client
}

#[test]
fn datagrams() {
    let socket = UdpSocket::bind("[::]:0").unwrap();
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, socket.local_addr().unwrap().port()));
    let forwarder = Forwarder::of_datagrams(socket, udp_echo(), Limits { sessions: 3, ..LIMITS });
    // More than there is room for: the first one's session is made anew.
    let clients: Vec<_> = (0..5).map(|_| udp_client(at)).collect();
    let mut buf = vec![0; 64 << 10];
    for round in 0..3usize {
        for (n, client) in clients.iter().enumerate() {
            let text = pattern([1, 60_000, 0][round] + n * round, n as u64);
            client.send(&text).unwrap();
            let len = client.recv(&mut buf).unwrap();
            assert!(buf[..len] == text, "{len} of {}", text.len());
        }
    }
    forwarder.end();
}

#[test]
fn datagrams_to_nobody_do_no_harm() {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    let at = socket.local_addr().unwrap();
    // Below the ports that the kernel gives to whoever asks for any: nobody takes it in between.
    let first = 20_000 + std::process::id() % 10_000;
    let target = (first..).find_map(|port| UdpSocket::bind(("127.0.0.1", u16::try_from(port).unwrap())).ok()).unwrap();
    let port = target.local_addr().unwrap().port();
    drop(target);
    let forwarder = Forwarder::of_datagrams(socket, port, LIMITS);
    let client = udp_client(at);
    client.send(b"lost").unwrap();
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(client.recv(&mut [0; 8]).is_err());
    let target = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send(b"found").unwrap();
    let mut buf = [0; 8];
    assert_eq!(target.recv(&mut buf).unwrap(), 5);
    forwarder.end();
}
