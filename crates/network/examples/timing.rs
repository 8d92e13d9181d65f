//! How long each step of plugging containers in and out takes, in a network namespace of its own.

use gantry_linux::netlink::container;
use gantry_linux::netlink::namespace;
use gantry_model::Id;
use gantry_network::{Config, EndpointRequest, Gateways, Manager, PortRequest, Proto, Stack, layout};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

const CONTAINERS: usize = 200;
const DEFAULT: Id = Id::from_bytes([0xde; 32]);

/// The samples of one step.
#[derive(Default)]
struct Step(Vec<Duration>);

impl Step {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.push(start.elapsed());
        result
    }

    fn print(mut self, name: &str) {
        self.0.sort();
        let at = |percent: usize| self.0[(self.0.len() - 1) * percent / 100].as_micros();
        println!("{name:32} median {:6} us   p90 {:6} us   max {:6} us", at(50), at(90), at(100));
    }
}

fn main() {
    namespace::unshare().expect("this needs root");
    let mut open = Step::default();
    let manager = open.time(|| Manager::open(Config::default(), DEFAULT, &[]).expect("the manager opens"));
    open.print("open");
    measure(&manager, "no port", 0, false);
    measure(&manager, "1 port", 1, false);
    measure(&manager, "20 ports", 20, false);
    measure(&manager, "no port, container ended", 0, true);
    churn(&manager);
}

/// Eight clients that start and end containers, while the kernel removes the links of those that ended.
fn churn(manager: &Manager) {
    let steps = Mutex::new([const { Step(Vec::new()) }; 4]);
    let cycle = || {
        let request = EndpointRequest::new(DEFAULT, Id::random());
        let mut times = [Duration::ZERO; 4];
        let start = Instant::now();
        let netns = thread::spawn(fresh).join().expect("a namespace");
        times[0] = start.elapsed();
        let endpoint = manager.allocate(&request).expect("an address");
        let start = Instant::now();
        manager.attach(&endpoint, netns.as_fd(), "eth0", Stack::Kernel).expect("a link");
        times[1] = start.elapsed();
        times[2] = thread::scope(|s| s.spawn(|| inside(&netns, &endpoint)).join().expect("eth0"));
        drop(netns);
        let start = Instant::now();
        manager.release(&endpoint).expect("released");
        times[3] = start.elapsed();
        let mut steps = steps.lock().expect("no client panics");
        steps.iter_mut().zip(times).for_each(|(step, time)| step.0.push(time));
    };
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..CONTAINERS).for_each(|_| cycle()));
        }
    });
    println!("-- 8 clients: {:.0} containers a second", 8.0 * CONTAINERS as f64 / start.elapsed().as_secs_f64());
    let [namespace, attach, configured, release] = steps.into_inner().expect("no client panics");
    namespace.print("a network namespace");
    attach.print("attach");
    configured.print("configure, in the container");
    release.print("release");
}

/// Plugs containers in and out; `ended` ends their namespaces before they are released, as it is in real life.
fn measure(manager: &Manager, title: &str, ports: u16, ended: bool) {
    let namespaces: Vec<OwnedFd> = (0..CONTAINERS).map(|_| thread::spawn(fresh).join().expect("a namespace")).collect();
    let [mut allocate, mut attach, mut configured, mut release] = [const { Step(Vec::new()) }; 4];
    let mut plugged = Vec::new();
    for (i, netns) in namespaces.into_iter().enumerate() {
        let request = EndpointRequest::new(DEFAULT, Id::random());
        let wanted: Vec<_> = (0..ports).map(|n| port(2000 + i as u16 * ports + n)).collect();
        let (endpoint, publication) = allocate.time(|| {
            let endpoint = manager.allocate(&request).expect("an address");
            let gateways = Gateways::first_of([&endpoint]);
            let ports = manager.reserve_ports(endpoint.container, gateways, &wanted).expect("ports");
            (endpoint, ports)
        });
        attach.time(|| {
            manager.attach(&endpoint, netns.as_fd(), "eth0", Stack::Kernel).expect("a link");
            manager.open_ports(&publication.published).expect("open ports");
        });
        configured.0.push(thread::scope(|s| s.spawn(|| inside(&netns, &endpoint)).join().expect("eth0")));
        plugged.push((endpoint, publication, netns));
    }
    for (endpoint, publication, netns) in plugged {
        let kept = (!ended).then_some(netns);
        release.time(|| {
            manager.close_ports(&endpoint.container).expect("closed ports");
            manager.release(&endpoint).expect("released");
        });
        drop(publication);
        drop(kept);
    }
    println!("-- {title}");
    allocate.print("allocate");
    attach.print("attach");
    configured.print("configure, in the container");
    release.print("release");
}

fn fresh() -> OwnedFd {
    namespace::unshare().expect("a namespace");
    namespace::current().expect("a descriptor")
}

fn inside(netns: &OwnedFd, endpoint: &gantry_network::Endpoint) -> Duration {
    namespace::enter(netns.as_fd()).expect("entered");
    let start = Instant::now();
    let layout = layout([("eth0", endpoint)], Gateways::first_of([endpoint]));
    let set = |key: &str, value: &str| std::fs::write(format!("/proc/sys/net/{key}"), value);
    container::apply(&layout, set).expect("configured");
    start.elapsed()
}

fn port(host_port: u16) -> PortRequest {
    PortRequest { container_port: 80, proto: Proto::Tcp, host_ip: None, host_ports: Some((host_port, host_port)) }
}
