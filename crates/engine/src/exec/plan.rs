//! An exec as the process the shim runs.

use crate::Engine;
use crate::container::Record;
use crate::modules;
use crate::plan::{caps, env, rlimits};
use gantry_api_types::ExecCreateRequest;
use gantry_model::{Error, Result};
use gantry_runtime::spec::ProcessSpec;

/// The process: the container's user, environment, directory and privileges unless the request says
/// otherwise. It gets the same seccomp filter as the init process.
pub(super) fn process(
    engine: &Engine,
    record: &Record,
    request: &ExecCreateRequest,
    console_size: Option<[u64; 2]>,
) -> Result<ProcessSpec> {
    let (config, host) = (&record.config, &record.host_config);
    let mut variables = env::of_container(engine, record, &config.hostname);
    if request.tty && !config.tty {
        variables.push("TERM=xterm".to_owned());
    }
    env::override_with(&mut variables, request.env.as_deref().unwrap_or_default());
    let chosen = |own: &str, containers: &str| if own.is_empty() { containers.to_owned() } else { own.to_owned() };
    let cwd = match chosen(&request.working_dir, &config.working_dir) {
        dir if dir.is_empty() => "/".into(),
        dir if !dir.starts_with('/') => return Err(Error::invalid("Cwd must be an absolute path")),
        dir => dir.into(),
    };
    Ok(ProcessSpec {
        args: request.cmd.clone().unwrap_or_default(),
        env: variables,
        cwd,
        create_cwd: false,
        user: chosen(&request.user, &config.user),
        additional_groups: host.group_add.clone().unwrap_or_default(),
        capabilities: if request.privileged { caps::privileged()? } else { caps::granted(host)? },
        no_new_privileges: crate::plan::no_new_privileges(engine, host),
        rlimits: rlimits::of_container(host, &engine.config.default_ulimits)?,
        // As runc: all capabilities, and still the container's filter. Of an unconfined one there is none.
        seccomp: !crate::plan::seccomp::of_container(engine, host)?.is_empty(),
        tty: request.tty,
        apparmor: modules::profile(engine, host, request.privileged || host.privileged)?,
        selinux: Some(record.labels.process.clone()).filter(|label| !label.is_empty()),
        console_size: console_size.map_or((0, 0), |[height, width]| (clamp(height), clamp(width))),
    })
}

fn clamp(cells: u64) -> u16 {
    u16::try_from(cells).unwrap_or(u16::MAX)
}
