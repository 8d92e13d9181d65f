//! A profile as OCI runtimes want it: without the rules that do not count here.

use super::profile::{Condition, Op, Profile, Rule, ret};
use super::syscalls::Abi;
use super::{Host, ProfileError, default, profile};
use serde_json::{Value, json};

/// `linux.seccomp` of a container with this bounding set; `None` if the profile asks for no filter.
pub fn oci(json: Option<&str>, capabilities: u64) -> Result<Option<Value>, ProfileError> {
    let host = Host::this(capabilities);
    let profile = match json {
        Some(json) => profile::parse(json, &host)?,
        None => Some(default::profile(&host)),
    };
    Ok(profile.map(|profile| value(&profile)))
}

fn value(profile: &Profile) -> Value {
    let abis: Vec<&str> = profile
        .abis
        .iter()
        .map(|abi| match abi {
            Abi::X86_64 => "SCMP_ARCH_X86_64",
            Abi::X86 => "SCMP_ARCH_X86",
            Abi::X32 => "SCMP_ARCH_X32",
        })
        .collect();
    let (action, errno) = action(profile.default);
    let mut all = json!({ "defaultAction": action, "architectures": abis });
    if let Some(errno) = errno {
        all["defaultErrnoRet"] = errno.into();
    }
    all["syscalls"] = profile.rules.iter().filter(|rule| !rule.names.is_empty()).map(rule).collect();
    all
}

fn rule(rule: &Rule) -> Value {
    let (action, errno) = action(rule.verdict);
    let mut all = json!({ "names": rule.names, "action": action });
    if let Some(errno) = errno {
        all["errnoRet"] = errno.into();
    }
    if !rule.conditions.is_empty() {
        all["args"] = rule.conditions.iter().map(condition).collect();
    }
    all
}

fn condition(condition: &Condition) -> Value {
    let op = match condition.op {
        Op::Ne => "SCMP_CMP_NE",
        Op::Lt => "SCMP_CMP_LT",
        Op::Le => "SCMP_CMP_LE",
        Op::Eq => "SCMP_CMP_EQ",
        Op::Ge => "SCMP_CMP_GE",
        Op::Gt => "SCMP_CMP_GT",
        Op::MaskedEq => "SCMP_CMP_MASKED_EQ",
    };
    json!({ "index": condition.index, "value": condition.value, "valueTwo": condition.value_two, "op": op })
}

/// The action's name, and the number that goes with it.
fn action(verdict: u32) -> (&'static str, Option<u32>) {
    let data = verdict & 0xffff;
    match verdict & 0xffff_0000 {
        ret::KILL_PROCESS => ("SCMP_ACT_KILL_PROCESS", None),
        ret::TRAP => ("SCMP_ACT_TRAP", None),
        ret::ERRNO => ("SCMP_ACT_ERRNO", Some(data)),
        ret::TRACE => ("SCMP_ACT_TRACE", Some(data)),
        ret::LOG => ("SCMP_ACT_LOG", None),
        ret::ALLOW => ("SCMP_ACT_ALLOW", None),
        _ => ("SCMP_ACT_KILL", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_count_are_written() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[{"architecture":"SCMP_ARCH_X86_64",
            "subArchitectures":["SCMP_ARCH_X86"]}],"syscalls":[
            {"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"name":"clone","action":"SCMP_ACT_ERRNO","errnoRet":1,"args":[{"index":0,"value":7,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        let seccomp = oci(Some(json), 0).unwrap().unwrap();
        assert_eq!(
            seccomp,
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
                {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                 "args": [{"index": 0, "value": 7, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}]})
        );
        assert_eq!(oci(Some("{}"), 0).unwrap(), None);
        assert!(oci(None, 0).unwrap().unwrap()["syscalls"].as_array().unwrap().len() > 2);
    }
}
