//! What the network needs, tried inside a network namespace that ends with the thread.

use std::fs;

use gantry_linux::probe;
use rustix::thread::UnshareFlags;

use super::Finding;

pub(super) fn look() -> Vec<Finding> {
    let tried = std::thread::spawn(|| {
        probe::unshare_thread(UnshareFlags::NEWNET).ok()?;
        Some((probe::link_kind("bridge"), probe::link_kind("veth"), probe::nftables()))
    })
    .join()
    .ok()
    .flatten();
    let mut findings = match tried {
        Some((bridge, veth, nftables)) => vec![
            verdict("bridge", bridge, "containers have no bridge network"),
            verdict("veth", veth, "containers have no bridge network"),
            verdict("nftables", nftables, "ports cannot be published, nothing is masqueraded; use --iptables=false"),
        ],
        None => vec![Finding::absent("network", "bridge networks could not be tried without a network namespace")],
    };
    findings.push(forwarding());
    findings
}

fn verdict(what: &str, tried: std::io::Result<()>, cost: &str) -> Finding {
    match tried {
        Ok(()) => Finding::present(what, ""),
        Err(error) => Finding::absent(what, format!("{cost} ({error})")),
    }
}

fn forwarding() -> Finding {
    const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";
    if fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() == "1") {
        return Finding::present("ip forwarding", "on");
    }
    match fs::OpenOptions::new().write(true).open(SWITCH) {
        Ok(_) => Finding::present("ip forwarding", "off; the daemon switches it on"),
        Err(error) => Finding::absent("ip forwarding", format!("containers reach only this machine ({error})")),
    }
}
