//! What the networks' own names are answered with, by real packets to 127.0.0.11:53.

mod lab;

use gantry_dns::{Attachment, Place, Upstream, View};
use gantry_model::Id;
use lab::*;
use std::net::{TcpListener, UdpSocket};

#[tokio::test(flavor = "multi_thread")]
async fn names_aliases_and_addresses() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &["app", "0123456789ab"], 2);
    lab.serve(&container, Upstream::default()).await;
    for name in ["web", "WEB", "app", "0123456789ab", "web.net", "app.net"] {
        for reply in [container.ask(name, A), container.ask_by_tcp(name, A)] {
            assert_eq!((reply.rcode(), reply.last_octets()), (NOERROR, vec![2]), "{name}");
        }
    }
    assert_eq!(container.ask("2.0.0.10.in-addr.arpa", PTR).name(), "web.net");
    for (name, rtype, rcode) in [
        ("web", AAAA, NOERROR),
        ("web", MX, NOERROR),
        ("web", TXT, NOERROR),
        ("nobody", A, NXDOMAIN),
        ("web.other", A, NXDOMAIN),
        ("web.net", TXT, NXDOMAIN),
        ("9.0.0.10.in-addr.arpa", PTR, NXDOMAIN),
    ] {
        let reply = container.ask(name, rtype);
        assert_eq!((reply.rcode(), reply.count()), (rcode, 0), "{name} {rtype}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_come_and_go() {
    let (lab, container) = (Lab::new(), Container::new());
    let web = lab.member("web", &[], 2);
    lab.serve(&container, Upstream::default()).await;
    let other = Id::random();
    let db = Place {
        network: other,
        network_name: "other".into(),
        name: "db".into(),
        aliases: Vec::new(),
        ipv4: Some([10, 1, 0, 9].into()),
        ipv6: None,
    };
    lab.server.place(Id::random(), vec![db]);
    assert_eq!(container.ask("db", A).rcode(), NXDOMAIN, "not on its network");
    let mut view = lab.view(Upstream::default());
    view.attachments.push(Attachment { network: other, links: vec![("store".into(), "db".into())] });
    assert!(lab.server.update(&container.id, view));
    assert_eq!(container.ask("db", A).last_octets(), [9]);
    assert_eq!(container.ask("store", A).last_octets(), [9]);
    lab.server.place(web, Vec::new());
    assert_eq!(container.ask("web", A).rcode(), NXDOMAIN);
    assert!(!lab.server.update(&Id::random(), View::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alias_of_many_takes_turns() {
    let (lab, container) = (Lab::new(), Container::new());
    for last in 1..=3 {
        lab.member(&format!("web{last}"), &["web"], last);
    }
    lab.serve(&container, Upstream::default()).await;
    let client = container.client();
    let mut firsts = std::collections::BTreeSet::new();
    // Several threads answer, each with its own turn.
    for _ in 0..64 {
        let reply = exchange(&client, &query("web", A, None)).unwrap();
        assert_eq!(reply.last_octets(), [1, 2, 3]);
        firsts.insert(reply.0[12 + 9 + 15]);
    }
    assert_eq!(firsts.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_as_large_as_the_client_takes() {
    let (lab, container) = (Lab::new(), Container::new());
    for last in 1..=200 {
        lab.member(&format!("web{last}"), &["web"], last);
    }
    lab.serve(&container, Upstream::default()).await;
    let small = container.ask("web", A);
    assert!(small.is_truncated() && small.0.len() <= 512 && small.count() == 30, "{}", small.count());
    let larger = container.ask_with(&query("web", A, Some(1232)));
    assert!(larger.is_truncated() && larger.0.len() <= 1232 && larger.count() == 75, "{}", larger.count());
    let large = container.ask_with(&query("web", A, Some(4096)));
    let by_tcp = container.ask_by_tcp("web", A);
    for whole in [large, by_tcp] {
        assert!(!whole.is_truncated());
        assert_eq!(whole.last_octets(), (1..=200).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn port_53_stays_free() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 2);
    lab.serve(&container, Upstream::default()).await;
    let (udp, _tcp) =
        container.run(|| (UdpSocket::bind("0.0.0.0:53").unwrap(), TcpListener::bind("0.0.0.0:53").unwrap()));
    assert_eq!(container.ask("web", A).last_octets(), [2]);
    assert_eq!(container.ask_by_tcp("web", A).last_octets(), [2]);
    container.run(|| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"hello", "127.0.0.1:53").unwrap();
    });
    let mut buffer = [0; 16];
    udp.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(udp.recv(&mut buffer).unwrap(), 5, "the container's own server is asked at its own address");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_daemon_goes_on() {
    let container = Container::new();
    let client = container.client();
    // What a client keeps using leads to the port it began with, even if the rules say otherwise by now.
    for last in 1..=3 {
        let lab = Lab::new();
        lab.member("web", &[], last);
        lab.serve(&container, Upstream::default()).await;
        for _ in 0..2 {
            assert_eq!(exchange(&client, &query("web", A, None)).unwrap().last_octets(), [last]);
            assert_eq!(container.ask("web", A).last_octets(), [last]);
            assert_eq!(container.ask_by_tcp("web", A).last_octets(), [last]);
        }
        let Lab { server, .. } = lab;
        server.stop(&container.id);
        // What arrives just before the end gets no answer at all.
        let last = container.client();
        last.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        while exchange(&last, &query("web", A, None)).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serving_again_is_fine() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 1);
    for _ in 0..3 {
        lab.serve(&container, Upstream::default()).await;
        assert_eq!(container.ask("web", A).last_octets(), [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_no_obstacle() {
    let (lab, container) = (Lab::new(), Container::new());
    lab.member("web", &[], 1);
    let [high, low, ..] = *container.id.as_bytes();
    let port = 61_000 + u16::from_be_bytes([high, low]) % (u16::MAX - 61_000);
    let _taken =
        container.run(|| (UdpSocket::bind(("0.0.0.0", port)).unwrap(), TcpListener::bind(("0.0.0.0", port)).unwrap()));
    lab.serve(&container, Upstream::default()).await;
    assert_eq!(container.ask("web", A).last_octets(), [1]);
    assert_eq!(container.ask_by_tcp("web", A).last_octets(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_in_which_nothing_was_ever_up() {
    let (lab, container) = (Lab::new(), Container::new_and_down());
    lab.member("web", &[], 1);
    lab.serve(&container, Upstream::default()).await;
    assert_eq!(container.ask("web", A).last_octets(), [1]);
    assert_eq!(container.ask_by_tcp("web", A).last_octets(), [1]);
}
