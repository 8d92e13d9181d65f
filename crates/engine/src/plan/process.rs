//! The init process of a container.

use super::{caps, env, rlimits};
use crate::Engine;
use crate::container::Record;
use crate::modules;
use gantry_model::{Error, Result};
use gantry_runtime::capabilities::{available, from_name};
use gantry_runtime::spec::ProcessSpec;

/// What runs; `seccomp` tells whether a filter goes with it, `hostname` is what `HOSTNAME` shows.
pub(crate) fn of_container(engine: &Engine, record: &Record, hostname: &str, seccomp: bool) -> Result<ProcessSpec> {
    let (config, host) = (&record.config, &record.host_config);
    if record.path.is_empty() {
        return Err(Error::invalid("No command specified"));
    }
    Ok(ProcessSpec {
        args: std::iter::once(record.path.clone()).chain(record.args.iter().cloned()).collect(),
        env: env::of_container(engine, record, hostname),
        cwd: super::mounts::clean(&config.working_dir),
        create_cwd: true,
        user: config.user.clone(),
        additional_groups: host.group_add.clone().unwrap_or_default(),
        capabilities: caps::granted(host)?,
        no_new_privileges: super::no_new_privileges(engine, host),
        rlimits: rlimits::of_container(host, &engine.config.default_ulimits)?,
        seccomp,
        tty: config.tty,
        console_size: console_size(host.console_size),
        apparmor: modules::profile(engine, host, host.privileged)?,
        selinux: Some(record.labels.process.clone()).filter(|label| !label.is_empty()),
    })
}

/// Height and width; sizes that a terminal cannot have are the kernel's default.
pub(crate) fn console_size([height, width]: [u64; 2]) -> (u16, u16) {
    (u16::try_from(height).unwrap_or(0), u16::try_from(width).unwrap_or(0))
}

/// `OomScoreAdj` as far as the daemon may set it: without `CAP_SYS_RESOURCE` only upwards.
pub(crate) fn oom_score_adj(wanted: i64) -> Result<(i32, bool)> {
    let wanted = wanted as i32;
    if available()? & from_name("SYS_RESOURCE").unwrap_or(0) != 0 {
        return Ok((wanted, false));
    }
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    let own: i32 = own.trim().parse().unwrap_or(0);
    Ok((wanted.max(own), wanted < own))
}
