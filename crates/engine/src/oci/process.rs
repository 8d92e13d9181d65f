//! `process` of a bundle, and of an exec.

use gantry_runtime::capabilities;
use gantry_runtime::spec::ProcessSpec;
use gantry_runtime::view::User;
use serde_json::{Value, json};

/// The process in the words of the OCI runtime specification.
pub(super) fn of_spec(spec: &ProcessSpec, user: &User, oom_score_adj: Option<i32>) -> Value {
    let mut env = spec.env.clone();
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    let sets = &spec.capabilities;
    let names = capabilities::names;
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": spec.args,
        "env": env,
        "cwd": if spec.cwd.as_os_str().is_empty() { "/".into() } else { spec.cwd.display().to_string() },
        "capabilities": {
            "bounding": names(sets.bounding),
            // Not for an ordinary user: what the built-in runtime leaves to the exec, others set as it is said.
            "effective": if user.uid == 0 { names(sets.effective) } else { Vec::new() },
            "permitted": if user.uid == 0 { names(sets.permitted) } else { Vec::new() },
            "inheritable": names(sets.inheritable),
            "ambient": names(sets.ambient),
        },
        "rlimits": spec.rlimits.iter().map(|limit| json!({
            "type": format!("RLIMIT_{}", limit.name()),
            "soft": limit.soft,
            "hard": limit.hard,
        })).collect::<Vec<_>>(),
        "noNewPrivileges": spec.no_new_privileges,
    });
    let (rows, columns) = spec.console_size;
    if (rows, columns) != (0, 0) {
        process["consoleSize"] = json!({ "height": rows, "width": columns });
    }
    for (key, value) in [("apparmorProfile", &spec.apparmor), ("selinuxLabel", &spec.selinux)] {
        if let Some(value) = value {
            process[key] = value.as_str().into();
        }
    }
    if let Some(score) = oom_score_adj {
        process["oomScoreAdj"] = score.into();
    }
    process
}
