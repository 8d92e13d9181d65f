//! `config.json`: the plan in the words of the OCI runtime specification.

use super::process;
use crate::Engine;
use crate::plan;
use gantry_api_types::HostConfig;
use gantry_model::Result;
use gantry_runtime::spec::{
    Cgroup, Device, DeviceRule, Mount, MountFlags, MountSource, Namespace, OciRuntime, Plan, Propagation, Resources,
};
use gantry_runtime::view::User;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The whole document. `init` is the program of the built-in init, if the container is to have it.
pub(super) fn of_plan(
    engine: &Engine,
    host: &HostConfig,
    plan: &Plan,
    oci: &OciRuntime,
    user: &User,
    init: Option<&Path>,
) -> Result<Value> {
    let mut linux = json!({
        "cgroupsPath": plan.cgroup.path,
        "resources": resources(&plan.cgroup),
        "namespaces": namespaces(plan),
        "devices": plan.devices.iter().map(device).collect::<Vec<_>>(),
        "maskedPaths": plan.masked_paths,
        "readonlyPaths": plan.readonly_paths,
        "sysctl": plan.sysctls.iter().map(|(key, value)| (key.replace('/', "."), value.clone().into())).collect::<Map<_, _>>(),
        // What is mounted on the host later reaches binds that ask for it.
        "rootfsPropagation": if plan.mounts.iter().any(|m| matches!(m.propagation, Propagation::RShared | Propagation::Shared)) { "rshared" } else { "rslave" },
    });
    if let Some(seccomp) = plan::seccomp::oci(engine, host)? {
        linux["seccomp"] = seccomp;
    }
    if let Some(label) = &plan.mount_label {
        linux["mountLabel"] = label.as_str().into();
    }
    let mut process = process::of_spec(&plan.process, user, plan.oom_score_adj);
    let mut mounts: Vec<Value> = plan.mounts.iter().enumerate().map(|(index, one)| mount(oci, index, one)).collect();
    if let Some(program) = init {
        let own = plan.process.args.iter().map(String::as_str);
        process["args"] = [super::init::PLACE, "--"].into_iter().chain(own).collect();
        mounts.push(json!({
            "destination": super::init::PLACE, "type": "bind", "source": program, "options": ["bind", "ro", "rprivate"],
        }));
    }
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process,
        "root": { "path": plan.rootfs.target, "readonly": plan.rootfs.readonly },
        "mounts": mounts,
        "linux": linux,
    });
    if let Some(name) = &plan.hostname {
        config["hostname"] = name.as_str().into();
    }
    if let Some(name) = &plan.domainname {
        config["domainname"] = name.as_str().into();
    }
    Ok(config)
}

fn namespaces(plan: &Plan) -> Vec<Value> {
    let all = &plan.namespaces;
    let each = [
        ("pid", "pid", &all.pid),
        ("network", "net", &all.net),
        ("ipc", "ipc", &all.ipc),
        ("uts", "uts", &all.uts),
        ("cgroup", "cgroup", &all.cgroup),
        ("mount", "mnt", &Namespace::New),
    ];
    let one = |(kind, file, namespace): (&str, &str, &Namespace)| match namespace {
        Namespace::Host => None,
        Namespace::New => Some(json!({ "type": kind })),
        Namespace::Of { pid, .. } => Some(json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") })),
    };
    each.into_iter().filter_map(one).collect()
}

fn mount(oci: &OciRuntime, index: usize, mount: &Mount) -> Value {
    let target = mount.target.display().to_string();
    let mut options = flags(mount.flags);
    let (kind, source) = match &mount.source {
        MountSource::Fs { kind, options: own } => {
            let source = own.iter().find_map(|o| o.strip_prefix("source=")).unwrap_or(kind).to_owned();
            options.extend(own.iter().filter(|o| !o.starts_with("source=")).cloned());
            (kind.clone(), source)
        }
        MountSource::Bind { path, recursive, .. } => {
            options.insert(0, if *recursive { "rbind" } else { "bind" }.to_owned());
            options.push(propagation(mount.propagation).to_owned());
            ("bind".to_owned(), path.display().to_string())
        }
        MountSource::Cgroup => ("cgroup".to_owned(), "cgroup".to_owned()),
        MountSource::SharedMemoryOf { pid, .. } => {
            options.insert(0, "bind".to_owned());
            ("bind".to_owned(), format!("/proc/{pid}/root/dev/shm"))
        }
        MountSource::Part { .. } => {
            options.insert(0, "rbind".to_owned());
            options.push(propagation(mount.propagation).to_owned());
            ("bind".to_owned(), gantry_runtime::oci::place(oci, index).display().to_string())
        }
    };
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

fn flags(flags: MountFlags) -> Vec<String> {
    let words = [
        (flags.readonly, "ro"),
        (flags.nosuid, "nosuid"),
        (flags.nodev, "nodev"),
        (flags.noexec, "noexec"),
        (flags.noatime, "noatime"),
        (flags.strictatime, "strictatime"),
        (flags.nodiratime, "nodiratime"),
    ];
    words.iter().filter(|(set, _)| *set).map(|(_, word)| (*word).to_owned()).collect()
}

fn propagation(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Private => "private",
        Propagation::RPrivate => "rprivate",
        Propagation::Shared => "shared",
        Propagation::RShared => "rshared",
        Propagation::Slave => "slave",
        Propagation::RSlave => "rslave",
    }
}

fn device(device: &Device) -> Value {
    json!({
        "path": device.path,
        "type": if device.block { "b" } else { "c" },
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    })
}

fn rule(rule: &DeviceRule) -> Value {
    let mut all = json!({ "allow": rule.allow, "access": rule.access });
    if rule.kind != 'a' {
        all["type"] = rule.kind.to_string().into();
    }
    for (key, number) in [("major", rule.major), ("minor", rule.minor)] {
        if let Some(number) = number {
            all[key] = number.into();
        }
    }
    all
}

/// An object of what is said.
fn said(fields: Vec<(&str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
}

fn resources(cgroup: &Cgroup) -> Value {
    let Resources {
        memory,
        memory_swap,
        memory_reservation,
        kernel_memory,
        memory_swappiness,
        oom_kill_disable,
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpu_rt_runtime,
        cpu_rt_period,
        cpuset_cpus,
        cpuset_mems,
        pids,
        blkio_weight,
        blkio_weight_device,
        blkio_read_bps,
        blkio_write_bps,
        blkio_read_iops,
        blkio_write_iops,
    } = cgroup.resources.clone();
    let devices = |list: Vec<(u32, u32, u64)>, key: &str| {
        let one = |(major, minor, value): (u32, u32, u64)| json!({ "major": major, "minor": minor, key: value });
        (!list.is_empty()).then(|| list.into_iter().map(one).collect::<Value>())
    };
    said(vec![
        ("devices", Some(cgroup.device_rules.iter().map(rule).collect())),
        (
            "memory",
            Some(said(vec![
                ("limit", memory.map(Value::from)),
                ("swap", memory_swap.map(Value::from)),
                ("reservation", memory_reservation.map(Value::from)),
                ("kernel", kernel_memory.map(Value::from)),
                ("swappiness", memory_swappiness.map(Value::from)),
                ("disableOOMKiller", oom_kill_disable.then_some(Value::Bool(true))),
            ])),
        ),
        (
            "cpu",
            Some(said(vec![
                ("shares", cpu_shares.map(Value::from)),
                ("quota", cpu_quota.map(Value::from)),
                ("period", cpu_period.map(Value::from)),
                ("realtimeRuntime", cpu_rt_runtime.map(Value::from)),
                ("realtimePeriod", cpu_rt_period.map(Value::from)),
                ("cpus", cpuset_cpus.map(Value::from)),
                ("mems", cpuset_mems.map(Value::from)),
            ])),
        ),
        ("pids", pids.map(|limit| json!({ "limit": limit }))),
        (
            "blockIO",
            Some(said(vec![
                ("weight", blkio_weight.map(Value::from)),
                ("weightDevice", devices(blkio_weight_device, "weight")),
                ("throttleReadBpsDevice", devices(blkio_read_bps, "rate")),
                ("throttleWriteBpsDevice", devices(blkio_write_bps, "rate")),
                ("throttleReadIOPSDevice", devices(blkio_read_iops, "rate")),
                ("throttleWriteIOPSDevice", devices(blkio_write_iops, "rate")),
            ])),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_not_said_are_left_out() {
        let limits = Resources { memory: Some(7), cpuset_cpus: Some("0".into()), ..Resources::default() };
        let rules = vec![
            DeviceRule { allow: false, kind: 'a', major: None, minor: None, access: "rwm".into() },
            DeviceRule { allow: true, kind: 'c', major: Some(1), minor: None, access: "rw".into() },
        ];
        let all = resources(&Cgroup { path: "/x".into(), resources: limits, device_rules: rules });
        assert_eq!(
            all,
            json!({
                "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "access": "rw", "type": "c", "major": 1}],
                "memory": {"limit": 7}, "cpu": {"cpus": "0"}, "blockIO": {},
            })
        );
    }

    #[test]
    fn mounts_are_written_as_runc_reads_them() {
        let oci = OciRuntime { program: "/r".into(), args: Vec::new(), bundle: "/b".into() };
        let bind = Mount {
            source: MountSource::Bind { path: "/h".into(), recursive: true, recursive_readonly: false },
            target: Path::new("/c").to_owned(),
            flags: MountFlags { readonly: true, ..MountFlags::default() },
            propagation: Propagation::RSlave,
            shifted: false,
        };
        assert_eq!(
            mount(&oci, 0, &bind),
            json!({"destination": "/c", "type": "bind", "source": "/h", "options": ["rbind", "ro", "rslave"]})
        );
        let tree = gantry_runtime::spec::Tree::Held(5);
        let part = Mount { source: MountSource::Part { tree, subpath: "a".into() }, ..bind };
        assert_eq!(
            mount(&oci, 7, &part),
            json!({"destination": "/c", "type": "bind", "source": "/b/mounts/7", "options": ["rbind", "ro", "rslave"]})
        );
    }
}
