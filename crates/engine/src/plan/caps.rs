//! Capability sets from `Privileged`, `CapAdd` and `CapDrop`.

use gantry_api_types::HostConfig;
use gantry_model::{Error, Result};
use gantry_runtime::capabilities::{ALL, DEFAULT, available, from_name, names};
use gantry_runtime::spec::Capabilities;

/// The set that a container's configuration asks for, whether or not the host has it. As in Docker, an added
/// capability wins over a dropped one, except beside `ALL`.
pub(crate) fn wanted(host: &HostConfig) -> Result<u64> {
    if host.privileged {
        return Ok(ALL);
    }
    let (adds, all_added) = parse("CapAdd", host.cap_add.as_deref())?;
    let (drops, all_dropped) = parse("CapDrop", host.cap_drop.as_deref())?;
    Ok(match (all_added, all_dropped) {
        (true, _) => ALL & !drops,
        (false, true) => adds,
        (false, false) => (DEFAULT & !drops) | adds,
    })
}

/// The sets of a process in a container, limited to what the host has.
pub(crate) fn granted(host: &HostConfig) -> Result<Capabilities> {
    Ok(sets(wanted(host)? & available()?))
}

/// The same for a process that `exec` runs with all privileges.
pub(crate) fn privileged() -> Result<Capabilities> {
    Ok(sets(available()?))
}

/// A program of another user than root loses them at its `execve`, because nothing is ambient.
const fn sets(set: u64) -> Capabilities {
    Capabilities { bounding: set, effective: set, permitted: set, inheritable: 0, ambient: 0 }
}

/// Checks the names, and that the host has what is asked for by name; returns warnings about what
/// a set as a whole lacks.
pub(crate) fn check(host: &HostConfig) -> Result<Vec<String>> {
    let missing = wanted(host)? & !available()?;
    let (named, _) = parse("CapAdd", host.cap_add.as_deref())?;
    if !host.privileged
        && let Some(name) = names(named & missing).first()
    {
        return Err(Error::invalid(format!(
            "invalid CapAdd: capability not supported by your kernel or not available in the current environment: {name:?}"
        )));
    }
    // The newest capabilities are unknown to older kernels, which is no lack.
    let missing = names(missing & known_to_kernel());
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let what = if host.privileged { "Privileged mode" } else { "The container" };
    Ok(vec![format!("{what} runs without {}, which this host does not grant.", missing.join(", "))])
}

fn known_to_kernel() -> u64 {
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok().and_then(|t| t.trim().parse::<u32>().ok());
    last.map_or(ALL, |last| ALL & ((2u64 << last.min(62)) - 1))
}

/// The named capabilities, and whether `ALL` is among them.
fn parse(field: &str, list: Option<&[String]>) -> Result<(u64, bool)> {
    let mut set = 0;
    let mut all = false;
    for name in list.unwrap_or_default() {
        if name.eq_ignore_ascii_case("ALL") {
            all = true;
            continue;
        }
        set |= from_name(name).ok_or_else(|| {
            let upper = name.to_ascii_uppercase();
            let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            Error::invalid(format!("invalid {field}: unknown capability: {full:?}"))
        })?;
    }
    Ok((set, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(add: &[&str], drop: &[&str]) -> HostConfig {
        let list = |names: &[&str]| Some(names.iter().map(|n| (*n).to_owned()).collect());
        HostConfig { cap_add: list(add), cap_drop: list(drop), ..HostConfig::default() }
    }

    #[test]
    fn sets_follow_docker() {
        let bit = |name| from_name(name).unwrap();
        let (admin, chown) = (bit("NET_ADMIN"), bit("CHOWN"));
        for (add, drop, set) in [
            (&[][..], &[][..], DEFAULT),
            (&["NET_ADMIN"], &["chown"], (DEFAULT | admin) & !chown),
            (&["ALL"], &["CAP_CHOWN"], ALL & !chown),
            (&["NET_ADMIN"], &["all"], admin),
            (&["CHOWN"], &["CHOWN"], DEFAULT),
            (&["ALL"], &["ALL"], ALL),
        ] {
            assert_eq!(wanted(&host(add, drop)).unwrap(), set, "{add:?} {drop:?}");
        }
        assert_eq!(wanted(&HostConfig { privileged: true, ..HostConfig::default() }).unwrap(), ALL);
        let message = wanted(&host(&["net_foo"], &[])).unwrap_err().to_string();
        assert_eq!(message, "invalid CapAdd: unknown capability: \"CAP_NET_FOO\"");
    }
}
