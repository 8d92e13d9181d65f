//! Containers that want to do harm.

mod lab;

use lab::*;
use std::io::{Read, Write};

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 2);
    lab.serve(&container, upstream(&[])).await;
    let good = query("web", A, None);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = good.clone();
        change(&mut message);
        container.ask_with(&message).rcode()
    };
    assert_eq!(with(&|m| m[5] = 0), FORMERR);
    assert_eq!(with(&|m| m[4] = 0xff), FORMERR);
    assert_eq!(with(&|m| m.truncate(12)), FORMERR);
    assert_eq!(with(&|m| m[12] = 0xc0), FORMERR);
    assert_eq!(with(&|m| m[2] = 0x28), NOTIMP);
    assert_eq!(with(&|m| m.resize(4097, 0)), FORMERR);
    assert_eq!(with(&|m| m.resize(60_000, 0)), FORMERR);
    // These get no answer; the question behind them does.
    let client = container.client();
    for silent in [&[][..], &good[..11], &[&good[..2], &[0x80], &good[3..]].concat()] {
        client.send(silent).unwrap();
    }
    assert_eq!(exchange(&client, &good).unwrap().last_octets(), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 2);
    lab.serve(&container, upstream(&[])).await;
    let mut cut = container.connection();
    cut.write_all(&[0xff]).unwrap();
    cut.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(cut.read(&mut [0; 1]).unwrap(), 0);
    let mut liar = container.connection();
    liar.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    liar.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(liar.read(&mut [0; 1]).unwrap(), 0);
    let mut good = container.connection();
    good.write_all(&framed(&[])).unwrap();
    for _ in 0..3 {
        assert_eq!(exchange_tcp(&mut good, &query("web", A, None)).unwrap().last_octets(), [2]);
    }
    // Two questions in one packet, and one byte by byte.
    let asked = framed(&query("web", A, None));
    good.write_all(&[asked.clone(), asked.clone()].concat()).unwrap();
    for byte in &asked {
        good.write_all(&[*byte]).unwrap();
    }
    for _ in 0..3 {
        assert_eq!(Reply(read_framed(&mut good).unwrap()).last_octets(), [2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 2);
    lab.serve(&container, upstream(&[])).await;
    let mut held: Vec<_> = (0..64).map(|_| container.connection()).collect();
    for connection in &mut held {
        assert_eq!(exchange_tcp(connection, &query("web", A, None)).unwrap().count(), 1);
    }
    let mut refused = container.connection();
    assert_eq!(refused.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(container.ask("web", A).last_octets(), [2], "by UDP all goes on");
    held.clear();
    while exchange_tcp(&mut container.connection(), &query("web", A, None)).is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_for_others_is_refused() {
    let (lab, flooder, other) = (Lab::new(), Container::new(), Container::new());
    lab.member("web", &[], 2);
    let (silent, _log) = fake_server(|_| Vec::new());
    let (good, _log) = fake_server(|message| vec![answered(message, NXDOMAIN, &[])]);
    lab.serve(&flooder, upstream(&[of_host(silent)])).await;
    lab.serve(&other, upstream(&[of_host(good)])).await;
    let client = flooder.client();
    let mut refused = 0;
    for _ in 0..3000 {
        client.send(&query("example.org", A, None)).unwrap();
        // In between, so that the socket's buffer is not what drops them.
        assert_eq!(exchange_some(&client, &mut refused), 2);
    }
    assert!(refused > 0, "a thousand may wait");
    assert_eq!(other.ask("example.org", A).rcode(), NXDOMAIN, "others are not concerned");
}

/// Asks for what is known and counts the refusals that come before the answer.
fn exchange_some(client: &std::net::UdpSocket, refused: &mut usize) -> u8 {
    client.send(&query("web", A, None)).unwrap();
    loop {
        let mut buffer = vec![0; 512];
        let len = client.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        let reply = Reply(buffer);
        match reply.rcode() {
            NOERROR => return reply.last_octets()[0],
            REFUSED => *refused += 1,
            rcode => assert_eq!(rcode, SERVFAIL),
        }
    }
}
