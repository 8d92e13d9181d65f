//! `SecurityOpt`.

use gantry_api_types::HostConfig;
use gantry_model::go::parse_bool;
use gantry_model::{Error, Result};

/// Which seccomp filter a container runs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seccomp {
    /// None.
    Unconfined,
    /// The daemon's profile.
    Default,
    /// The built-in profile, whatever the daemon's is.
    Builtin,
    /// The text of a profile.
    Profile(String),
}

/// Security options, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Security {
    pub(crate) seccomp: Seccomp,
    /// `None`: the daemon's default.
    pub(crate) no_new_privileges: Option<bool>,
    /// An AppArmor profile asked for by name.
    pub(crate) apparmor: Option<String>,
}

/// Reads the options of a container; the messages are Docker's.
pub(crate) fn parse(host: &HostConfig) -> Result<Security> {
    let seccomp = if host.privileged { Seccomp::Unconfined } else { Seccomp::Default };
    let mut security = Security { seccomp, no_new_privileges: None, apparmor: None };
    for option in host.security_opt.iter().flatten() {
        match option.as_str() {
            "no-new-privileges" => security.no_new_privileges = Some(true),
            // An old word for no labels.
            "disable" => {}
            _ => one(&mut security, option)?,
        }
    }
    Ok(security)
}

fn one(security: &mut Security, option: &str) -> Result<()> {
    let (key, value) = option
        .split_once('=')
        .or_else(|| option.split_once(':'))
        .ok_or_else(|| Error::invalid(format!("invalid --security-opt 1: {option:?}")))?;
    let invalid = || Error::invalid(format!("invalid --security-opt 2: {option:?}"));
    match key {
        "label" => {}
        "apparmor" => security.apparmor = Some(value.to_owned()),
        "seccomp" => {
            security.seccomp = match value {
                "unconfined" => Seccomp::Unconfined,
                "builtin" => Seccomp::Builtin,
                profile => Seccomp::Profile(profile.to_owned()),
            }
        }
        "no-new-privileges" => {
            security.no_new_privileges = Some(parse_bool(value).ok_or_else(invalid)?);
        }
        _ => return Err(invalid()),
    }
    Ok(())
}

/// The words of `label=…`.
pub(crate) fn labels(host: &HostConfig) -> Vec<&str> {
    let options = host.security_opt.iter().flatten().map(String::as_str);
    options
        .filter_map(|option| match option {
            "disable" => Some(option),
            _ => option.strip_prefix("label=").or_else(|| option.strip_prefix("label:")),
        })
        .collect()
}

/// Paths hidden from unprivileged containers: the list of Docker 28.
pub(crate) const MASKED_PATHS: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that unprivileged containers can only read.
pub(crate) const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[&str]) -> Result<Security> {
        let options = Some(options.iter().map(|o| (*o).to_owned()).collect());
        parse(&HostConfig { security_opt: options, ..HostConfig::default() })
    }

    #[test]
    fn options() {
        assert_eq!(of(&["no-new-privileges"]).unwrap().no_new_privileges, Some(true));
        assert_eq!(of(&["no-new-privileges:false"]).unwrap().no_new_privileges, Some(false));
        assert_eq!(of(&["seccomp=unconfined", "label=disable"]).unwrap().seccomp, Seccomp::Unconfined);
        assert_eq!(of(&["seccomp={\"a\":1}"]).unwrap().seccomp, Seccomp::Profile("{\"a\":1}".into()));
        assert_eq!(of(&["foo"]).unwrap_err().to_string(), "invalid --security-opt 1: \"foo\"");
        assert_eq!(of(&["foo=bar"]).unwrap_err().to_string(), "invalid --security-opt 2: \"foo=bar\"");
        let privileged = HostConfig { privileged: true, ..HostConfig::default() };
        assert_eq!(parse(&privileged).unwrap().seccomp, Seccomp::Unconfined);
    }
}
