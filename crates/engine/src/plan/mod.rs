//! From a container's record to the runtime's plan: every decision that Docker's `HostConfig`
//! leaves open is made here, so that the shim only carries out.

pub(crate) mod caps;
pub(crate) mod devices;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod logs;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod network;
pub(crate) mod process;
mod propagation;
pub(crate) mod resources;
pub(crate) mod rlimits;
pub(crate) mod seccomp;
pub(crate) mod security;
pub(crate) mod sysctls;
pub(crate) mod tmpfs;

use crate::Engine;
use crate::container::Record;
use crate::{modules, oci};
use gantry_model::Result;
use gantry_runtime::spec::{Cgroup, Namespace, PLAN_VERSION, Plan, Rootfs, Stdio};
use std::path::PathBuf;
use std::sync::Arc;

/// A container, ready for a shim.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What to do.
    pub(crate) plan: Plan,
    /// The compiled filter, empty for none.
    pub(crate) seccomp: Arc<[u8]>,
    /// What the host cannot grant.
    pub(crate) warnings: Vec<String>,
}

/// Makes the plan of a start. Blocks on a few files; makes missing sources of binds.
pub(crate) fn build(engine: &Engine, record: &Record, volumes: &mounts::Volumes) -> Result<Prepared> {
    let (config, host) = (&record.config, &record.host_config);
    let dirs = engine.dirs(&record.id);
    let peer = namespaces::network_peer(engine, record)?;
    let hostname = peer.as_ref().map_or_else(|| config.hostname.clone(), |p| p.read().config.hostname.clone());
    let namespaces = namespaces::of_container(engine, record)?;
    let user_namespace = namespaces::user(engine, record)?;
    let ids = user_namespace.as_ref().map(|user| &user.ids);
    let sysctls = sysctls::of_container(host, &network::mode(record), ids)?;
    let own_uts = namespaces.uts == Namespace::New;
    let (devices, device_rules) = devices::of_container(host)?;
    let seccomp = seccomp::of_container(engine, host)?;
    let (oom_score_adj, _) = process::oom_score_adj(host.oom_score_adj)?;
    // A container that shares another one's network sees that one's files.
    let file_dirs = peer.as_ref().map_or_else(|| dirs.clone(), |p| engine.dirs(&p.id));
    let plan = Plan {
        version: PLAN_VERSION,
        id: record.id.to_string(),
        state_dir: dirs.exec().to_owned(),
        process: process::of_container(engine, record, &hostname, !seccomp.is_empty())?,
        init: host.init.unwrap_or(engine.config.init),
        hostname: own_uts.then_some(hostname),
        domainname: (own_uts && !config.domainname.is_empty()).then(|| config.domainname.clone()),
        rootfs: Rootfs {
            lower: record.layers.clone(),
            upper: dirs.upper(),
            work: dirs.work(),
            target: dirs.merged(),
            readonly: host.readonly_rootfs,
        },
        mounts: mounts::of_container(engine, record, &file_dirs, &namespaces.ipc, volumes)?,
        devices,
        masked_paths: paths(host.masked_paths.as_deref()),
        readonly_paths: paths(host.readonly_paths.as_deref()),
        sysctls,
        cgroup: Cgroup {
            path: engine.record_cgroup_path(record),
            resources: resources::of_container(host)?,
            device_rules,
        },
        oom_score_adj: Some(oom_score_adj),
        // The shim always waits for our word: clients that attached before the start must be connected first.
        wait_for_network: true,
        stdio: Stdio { open_stdin: config.open_stdin, stdin_once: config.stdin_once },
        log: logs::of_container(record, &dirs)?,
        shm_size: u64::try_from(host.shm_size).unwrap_or(0),
        mount_label: Some(record.labels.mount.clone()).filter(|label| !label.is_empty()),
        oci: oci::of_container(engine, record)?,
        forwards: Vec::new(),
        carrier_filter: Vec::new(),
        user_namespace,
        namespaces,
    };
    Ok(Prepared { plan, seccomp, warnings: host_warnings(engine, record)? })
}

/// What the host cannot grant, in the words of the create response's `Warnings`.
pub(crate) fn host_warnings(engine: &Engine, record: &Record) -> Result<Vec<String>> {
    let host = &record.host_config;
    let mut warnings = caps::check(host)?;
    warnings.extend(rlimits::warnings(host, &engine.config.default_ulimits)?);
    let (granted, raised) = process::oom_score_adj(host.oom_score_adj)?;
    if raised {
        warnings.push(format!(
            "OomScoreAdj {} needs CAP_SYS_RESOURCE, which the daemon does not have. Set to {granted}.",
            host.oom_score_adj
        ));
    }
    if let Some(profile) = security::parse(host)?.apparmor.filter(|profile| profile != "unconfined")
        && modules::profile(engine, host, host.privileged)?.is_none()
    {
        warnings.push(format!("AppArmor is not supported by this host. Profile {profile:?} ignored."));
    }
    Ok(warnings)
}

/// `no-new-privileges`, of the container or else of the daemon. A text that does not parse was refused at creation.
pub(crate) fn no_new_privileges(engine: &Engine, host: &gantry_api_types::HostConfig) -> bool {
    let own = security::parse(host).ok().and_then(|security| security.no_new_privileges);
    own.unwrap_or(engine.config.no_new_privileges)
}

fn paths(list: Option<&[String]>) -> Vec<PathBuf> {
    list.unwrap_or_default().iter().map(PathBuf::from).collect()
}
