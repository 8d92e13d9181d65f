//! Questions that others have to answer.

mod lab;

use gantry_dns::Upstream;
use lab::*;
use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

/// A record of a type that nobody knows.
const RECORD: &[u8] = &[0xc0, 12, 0xff, 0x10, 0, 1, 0, 0, 0, 60, 0, 3, 1, 2, 3];

/// An address of the host on which nobody answers: the kernel says so at once.
fn nobody() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_and_come_as_they_are() {
    let (lab, container) = (Lab::new(), Container::new());
    let echo = |message: &[u8]| vec![answered(message, NOERROR, RECORD)];
    let (of_the_host, host_log) = fake_server(echo);
    let (of_the_container, container_log) = container.run(|| fake_server(echo));
    for (server, log) in [(of_host(of_the_host), host_log), (of_container(of_the_container), container_log)] {
        lab.serve(&container, upstream(&[server])).await;
        let asked = query("WwW.exAmple.org", 0xff10, Some(1400));
        let reply = container.ask_with(&asked);
        assert_eq!(reply.0, answered(&asked, NOERROR, RECORD));
        let seen = log.recv().unwrap();
        assert_eq!(seen.message[2..], asked[2..], "but for the id, with EDNS and its options");
        assert!(!seen.tcp);
        let asked = query("nobody", A, None);
        let reply = exchange_tcp(&mut container.connection(), &asked).unwrap();
        assert_eq!(reply.0, answered(&asked, NOERROR, RECORD));
        assert!(log.recv().unwrap().tcp, "whoever asks by TCP is asked for by TCP");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_ports_cannot_be_foreseen() {
    let (lab, container) = (Lab::new(), Container::new());
    let (server, log) = fake_server(|message| vec![answered(message, NOERROR, &[])]);
    lab.serve(&container, upstream(&[of_host(server)])).await;
    let (mut ids, mut ports) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..50 {
        container.ask("example.org", A);
        let seen = log.recv().unwrap();
        ids.insert(seen.message[..2].to_vec());
        ports.insert(seen.client.port());
    }
    assert!(ids.len() > 45 && ports.len() > 45, "{} {}", ids.len(), ports.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_answer_the_question_is_ignored() {
    let (lab, container) = (Lab::new(), Container::new());
    let (server, _log) = fake_server(|message| {
        let right = answered(message, NOERROR, RECORD);
        let forged = |at: usize, bits: u8| {
            let mut forged = answered(message, NOERROR, b"forged");
            forged[at] ^= bits;
            forged
        };
        vec![Vec::new(), vec![0; 11], message.to_vec(), forged(0, 1), forged(1, 1), forged(14, 1), forged(5, 3), right]
    });
    lab.serve(&container, upstream(&[of_host(server)])).await;
    let asked = query("example.org", A, None);
    assert_eq!(container.ask_with(&asked).0, answered(&asked, NOERROR, RECORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_is_asked_when_one_fails() {
    let (lab, container) = (Lab::new(), Container::new());
    let (refuses, _log) = fake_server(|message| vec![answered(message, REFUSED, &[])]);
    let (fails, _log) = fake_server(|message| vec![answered(message, SERVFAIL, &[])]);
    let (knows, _log) = fake_server(|message| vec![answered(message, NXDOMAIN, &[])]);
    let server = of_host;
    lab.serve(&container, upstream(&[server(refuses), server(nobody()), server(knows)])).await;
    assert_eq!(container.ask("example.org", A).rcode(), NXDOMAIN);
    assert_eq!(container.ask_by_tcp("example.org", A).rcode(), NXDOMAIN);
    lab.serve(&container, upstream(&[server(refuses), server(fails), server(nobody()), server(knows)])).await;
    let reply = container.ask("example.org", A);
    assert_eq!(reply.rcode(), SERVFAIL, "the fourth is not asked");
    assert_eq!(reply.0[12..], query("example.org", A, None)[12..], "with the question");
    lab.serve(&container, upstream(&[])).await;
    assert_eq!(container.ask("example.org", A).rcode(), SERVFAIL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_datagram_is_sent_again_and_a_silent_server_avoided() {
    let (lab, container) = (Lab::new(), Container::new());
    let (silent, silent_log) = fake_server(|_| Vec::new());
    let (good, _log) = fake_server(|message| vec![answered(message, NOERROR, RECORD)]);
    lab.serve(&container, upstream(&[of_host(silent), of_host(good)])).await;
    assert_eq!(container.ask("example.org", A).count(), 0);
    assert_eq!(silent_log.try_iter().count(), 3, "at once, after one and a half seconds, after three");
    let begin = Instant::now();
    container.ask("example.org", A);
    assert!(begin.elapsed().as_millis() < 1000, "the other one is asked first now");
    assert_eq!(silent_log.try_iter().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_for_the_client_is_cut() {
    let (lab, container) = (Lab::new(), Container::new());
    let (server, _log) = fake_server(|message| vec![answered(message, NOERROR, &[7; 3000])]);
    lab.serve(&container, upstream(&[of_host(server)])).await;
    let asked = query("example.org", A, None);
    let cut = container.ask_with(&asked);
    assert!(cut.is_truncated());
    assert_eq!(cut.0[12..], asked[12..]);
    assert!(!container.ask_by_tcp("example.org", A).is_truncated());
    let roomy = query("example.org", A, Some(8000));
    assert_eq!(container.ask_with(&roomy).0, answered(&roomy, NOERROR, &[7; 3000]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_forwarded() {
    let (lab, container) = (Lab::new(), Container::new());
    let (server, log) = fake_server(|message| vec![answered(message, REFUSED, &[])]);
    let internal = Upstream { forward: false, ..upstream(&[of_host(server)]) };
    lab.serve(&container, internal).await;
    assert_eq!(container.ask("example.org", A).rcode(), NXDOMAIN);
    let with_search_domains = Upstream { ndots: true, ..upstream(&[of_host(server)]) };
    lab.serve(&container, with_search_domains).await;
    for rtype in [A, AAAA] {
        let reply = container.ask("example", rtype);
        assert_eq!((reply.rcode(), reply.count()), (NOERROR, 0));
    }
    assert_eq!(log.try_iter().count(), 0);
    assert_eq!(container.ask("example.org", A).rcode(), SERVFAIL);
    assert_eq!(log.try_iter().count(), 1);
}
