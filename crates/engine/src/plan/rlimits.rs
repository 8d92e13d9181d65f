//! `Ulimits`.

use gantry_api_types::{HostConfig, Ulimit};
use gantry_model::{Error, Result};
use gantry_runtime::capabilities::{available, from_name};
use gantry_runtime::spec::Rlimit;
use rustix::process::{Resource, getrlimit};

/// Names of the API, `RLIMIT_*` numbers (asm-generic/resource.h) and the same for rustix.
const NAMES: [(&str, u32, Resource); 15] = [
    ("core", 4, Resource::Core),
    ("cpu", 0, Resource::Cpu),
    ("data", 2, Resource::Data),
    ("fsize", 1, Resource::Fsize),
    ("locks", 10, Resource::Locks),
    ("memlock", 8, Resource::Memlock),
    ("msgqueue", 12, Resource::Msgqueue),
    ("nice", 13, Resource::Nice),
    ("nofile", 7, Resource::Nofile),
    ("nproc", 6, Resource::Nproc),
    ("rss", 5, Resource::Rss),
    ("rtprio", 14, Resource::Rtprio),
    ("rttime", 15, Resource::Rttime),
    ("sigpending", 11, Resource::Sigpending),
    ("stack", 3, Resource::Stack),
];

/// The limits of a container: its own, and the daemon's defaults for what it does not say. Without
/// `CAP_SYS_RESOURCE` no process can raise a hard limit, so what exceeds the daemon's own is cut; [`warnings`] says so.
pub(crate) fn of_container(host: &HostConfig, defaults: &[(String, i64, i64)]) -> Result<Vec<Rlimit>> {
    let may_raise = available()? & from_name("SYS_RESOURCE").unwrap_or(0) != 0;
    merged(host, defaults).iter().map(|limit| resolve(limit, may_raise).map(|(rlimit, _)| rlimit)).collect()
}

/// Checks the limits; the warnings name those that are cut.
pub(crate) fn warnings(host: &HostConfig, defaults: &[(String, i64, i64)]) -> Result<Vec<String>> {
    let may_raise = available()? & from_name("SYS_RESOURCE").unwrap_or(0) != 0;
    let mut warnings = Vec::new();
    for limit in merged(host, defaults) {
        let (rlimit, cut) = resolve(&limit, may_raise)?;
        if cut {
            warnings.push(format!(
                "Ulimit {}={}:{} exceeds the hard limit {} of the daemon, which has no CAP_SYS_RESOURCE to raise it. Limited to that.",
                limit.name, limit.soft, limit.hard, rlimit.hard
            ));
        }
    }
    Ok(warnings)
}

fn merged(host: &HostConfig, defaults: &[(String, i64, i64)]) -> Vec<Ulimit> {
    let mut all = host.ulimits.clone().unwrap_or_default();
    for (name, soft, hard) in defaults {
        if !all.iter().any(|have| have.name == *name) {
            all.push(Ulimit { name: name.clone(), soft: *soft, hard: *hard });
        }
    }
    all
}

fn resolve(limit: &Ulimit, may_raise: bool) -> Result<(Rlimit, bool)> {
    let Some((_, number, resource)) = NAMES.iter().find(|(name, ..)| *name == limit.name) else {
        return Err(Error::invalid(format!("invalid ulimit type: {}", limit.name)));
    };
    // -1 is RLIM_INFINITY, the largest number of the unsigned type.
    let (mut soft, mut hard) = (limit.soft as u64, limit.hard as u64);
    if soft > hard {
        return Err(Error::invalid(format!(
            "ulimit soft limit must be less than or equal to hard limit: {} > {}",
            limit.soft, limit.hard
        )));
    }
    let most = getrlimit(*resource).maximum.unwrap_or(u64::MAX);
    let cut = !may_raise && hard > most;
    if cut {
        hard = most;
        soft = soft.min(most);
    }
    Ok((Rlimit { resource: *number, soft, hard }, cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(limits: &[(&str, i64, i64)]) -> HostConfig {
        let limits = limits.iter().map(|(name, soft, hard)| Ulimit { name: (*name).into(), soft: *soft, hard: *hard });
        HostConfig { ulimits: Some(limits.collect()), ..HostConfig::default() }
    }

    #[test]
    fn the_container_wins_over_the_daemon() {
        let defaults = [("core".to_owned(), 1, 2), ("nofile".to_owned(), 3, 4)];
        let limits = of_container(&host(&[("core", 0, 0)]), &defaults).unwrap();
        assert_eq!(limits[0], Rlimit { resource: 4, soft: 0, hard: 0 });
        assert_eq!(limits[1], Rlimit { resource: 7, soft: 3, hard: 4 });
    }

    #[test]
    fn nonsense_is_refused() {
        let message = |limits: &[_]| of_container(&host(limits), &[]).unwrap_err().to_string();
        assert_eq!(message(&[("foo", 1, 2)]), "invalid ulimit type: foo");
        assert_eq!(message(&[("nofile", 3, 2)]), "ulimit soft limit must be less than or equal to hard limit: 3 > 2");
    }

    #[test]
    fn what_cannot_be_raised_is_cut() {
        let limit = Ulimit { name: "nofile".into(), soft: 5, hard: -1 };
        let most = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        assert_eq!(resolve(&limit, false).unwrap(), (Rlimit { resource: 7, soft: 5, hard: most }, most != u64::MAX));
        assert_eq!(resolve(&limit, true).unwrap().0.hard, u64::MAX);
    }
}
