//! Docker's JSON profiles, and which of their rules count on this host for these capabilities.

use super::syscalls::Abi;
use crate::capabilities;
use serde::Deserialize;

/// Why a profile cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProfileError(pub(super) String);

/// `SECCOMP_RET_*`.
pub(super) mod ret {
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(crate) const KILL_THREAD: u32 = 0;
    pub(crate) const TRAP: u32 = 0x0003_0000;
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
}

/// How an argument is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Op {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// One comparison; for `MaskedEq` `value` is the mask and `value_two` what must remain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    pub(super) index: u8,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: Op,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSyscall {
    name: Option<String>,
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<Condition>>,
    includes: Option<Filter>,
    excludes: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawArchitecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawProfile {
    #[serde(default)]
    default_action: String,
    default_errno_ret: Option<u16>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<RawArchitecture>>,
    listener_path: Option<String>,
    syscalls: Option<Vec<RawSyscall>>,
}

/// A rule that counts here: for these calls, if all conditions hold (none: always), this verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) verdict: u32,
    pub(super) conditions: Vec<Condition>,
}

/// A profile for one host and one set of capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) default: u32,
    pub(super) abis: Vec<Abi>,
    pub(super) rules: Vec<Rule>,
}

/// What rules may depend on.
pub(super) struct Host {
    pub(super) capabilities: u64,
    /// Major and minor version.
    pub(super) kernel: (u32, u32),
}

impl Host {
    /// This one.
    pub(super) fn this(capabilities: u64) -> Self {
        let release = rustix::system::uname();
        Self { capabilities, kernel: kernel_version(&release.release().to_string_lossy()) }
    }
}

const ARCH: &str = "amd64";

impl Filter {
    fn lists(list: Option<&Vec<String>>, mut wanted: impl FnMut(&str) -> bool) -> bool {
        list.is_some_and(|l| l.iter().any(|entry| wanted(entry)))
    }

    fn has(name: &str, host: &Host) -> bool {
        capabilities::from_name(name).is_some_and(|bit| host.capabilities & bit != 0)
    }

    fn kernel_reached(&self, host: &Host) -> Option<bool> {
        let wanted = self.min_kernel.as_deref().filter(|v| !v.is_empty())?;
        Some(host.kernel >= kernel_version(wanted))
    }

    /// As `excludes`: any of it speaks against the rule.
    fn excludes(&self, host: &Host) -> bool {
        Self::lists(self.arches.as_ref(), |a| a == ARCH)
            || Self::lists(self.caps.as_ref(), |c| Self::has(c, host))
            || self.kernel_reached(host) == Some(true)
    }

    /// As `includes`: all of it must be there.
    fn includes(&self, host: &Host) -> bool {
        let arches = self.arches.as_ref().is_none_or(|a| a.is_empty() || a.iter().any(|a| a == ARCH));
        let caps = !Self::lists(self.caps.as_ref(), |c| !Self::has(c, host));
        arches && caps && self.kernel_reached(host) != Some(false)
    }
}

/// `6.1.0-13-amd64` is (6, 1).
pub(super) fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The verdict of an action; `errno` is also what a tracer is told.
fn verdict(action: &str, errno: Option<u16>) -> Result<u32, ProfileError> {
    let errno = u32::from(errno.unwrap_or(libc::EPERM as u16));
    Ok(match action {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => ret::KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => ret::KILL_PROCESS,
        "SCMP_ACT_TRAP" => ret::TRAP,
        "SCMP_ACT_ERRNO" => ret::ERRNO | errno,
        "SCMP_ACT_TRACE" => ret::TRACE | errno,
        "SCMP_ACT_ALLOW" => ret::ALLOW,
        "SCMP_ACT_LOG" => ret::LOG,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError("seccomp notifications are not supported".into())),
        other => return Err(ProfileError(format!("invalid seccomp action {other:?}"))),
    })
}

fn abi(architecture: &str) -> Result<Option<Abi>, ProfileError> {
    match architecture {
        "SCMP_ARCH_X86_64" => Ok(Some(Abi::X86_64)),
        "SCMP_ARCH_X86" => Ok(Some(Abi::X86)),
        "SCMP_ARCH_X32" => Ok(Some(Abi::X32)),
        other if other.starts_with("SCMP_ARCH_") => Ok(None), // Another machine's.
        other => Err(ProfileError(format!("invalid seccomp architecture {other:?}"))),
    }
}

impl RawProfile {
    fn abis(&self) -> Result<Vec<Abi>, ProfileError> {
        let listed = self.architectures.as_ref().filter(|a| !a.is_empty());
        let map = self.arch_map.as_ref().filter(|m| !m.is_empty());
        let names: Vec<&String> = match (listed, map) {
            (Some(_), Some(_)) => {
                let message = "use either 'architectures' or 'archMap'";
                return Err(ProfileError(format!(
                    "both 'architectures' and 'archMap' were specified in the seccomp profile, {message}"
                )));
            }
            (Some(listed), None) => listed.iter().collect(),
            (None, Some(map)) => {
                let native = map.iter().filter(|entry| entry.architecture == "SCMP_ARCH_X86_64");
                native.flat_map(|e| [&e.architecture].into_iter().chain(e.sub_architectures.iter().flatten())).collect()
            }
            (None, None) => Vec::new(),
        };
        // libseccomp's filters always include the native architecture.
        let mut abis = vec![Abi::X86_64];
        for name in names {
            abis.extend(abi(name)?.filter(|a| !abis.contains(a)));
        }
        Ok(abis)
    }
}

impl RawSyscall {
    fn rule(self) -> Result<Rule, ProfileError> {
        let names = match (self.name.filter(|n| !n.is_empty()), self.names.filter(|n| !n.is_empty())) {
            (Some(_), Some(_)) => {
                let message =
                    "both 'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'";
                return Err(ProfileError(message.into()));
            }
            (Some(name), None) => vec![name],
            (None, names) => names.unwrap_or_default(),
        };
        let conditions = self.args.unwrap_or_default();
        if conditions.iter().any(|c| c.index > 5) {
            return Err(ProfileError("a system call has six arguments, with index 0 to 5".into()));
        }
        Ok(Rule { names, verdict: verdict(&self.action, self.errno_ret)?, conditions })
    }
}

/// Reads a profile; `None` if it has no default action, which for Docker means no filter at all.
pub(super) fn parse(json: &str, host: &Host) -> Result<Option<Profile>, ProfileError> {
    let raw: RawProfile = serde_json::from_str(json).map_err(|e| ProfileError(e.to_string()))?;
    if raw.default_action.is_empty() {
        return Ok(None);
    }
    if raw.listener_path.as_ref().is_some_and(|p| !p.is_empty()) {
        return Err(ProfileError("seccomp notifications are not supported".into()));
    }
    let default = verdict(&raw.default_action, raw.default_errno_ret)?;
    let abis = raw.abis()?;
    let mut rules = Vec::new();
    for syscall in raw.syscalls.unwrap_or_default() {
        let excluded = syscall.excludes.as_ref().is_some_and(|f| f.excludes(host));
        let included = syscall.includes.as_ref().is_none_or(|f| f.includes(host));
        let rule = syscall.rule()?;
        if included && !excluded {
            rules.push(rule);
        }
    }
    Ok(Some(Profile { default, abis, rules }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Host = Host { capabilities: capabilities::SYS_ADMIN, kernel: (6, 1) };

    fn rules(syscalls: &str) -> Vec<String> {
        let json = format!("{{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{syscalls}]}}");
        parse(&json, &HOST).unwrap().unwrap().rules.into_iter().flat_map(|r| r.names).collect()
    }

    #[test]
    fn rules_count_where_they_should() {
        let rule =
            |name: &str, filter: &str| format!("{{\"names\":[\"{name}\"],\"action\":\"SCMP_ACT_ALLOW\",{filter}}}");
        let all = [
            rule("a", r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#),
            rule("b", r#""includes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}"#),
            rule("c", r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#),
            rule("d", r#""includes":{"arches":["arm64","amd64"]}"#),
            rule("e", r#""includes":{"arches":["arm64"]}"#),
            rule("f", r#""excludes":{"arches":["s390x"]}"#),
            rule("g", r#""includes":{"minKernel":"4.8"}"#),
            rule("h", r#""includes":{"minKernel":"6.2"}"#),
            rule("i", r#""excludes":{"minKernel":"6.1"},"args":null,"includes":null"#),
        ];
        assert_eq!(rules(&all.join(",")), ["a", "d", "f", "g"]);
    }

    #[test]
    fn mistakes_are_told() {
        let error = |json: &str| parse(json, &HOST).unwrap_err().0;
        assert!(error("{").contains("EOF"));
        assert!(error(r#"{"defaultAction":"SCMP_ACT_FOO"}"#).contains("SCMP_ACT_FOO"));
        let both = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#;
        assert!(error(both).starts_with("both 'architectures'"));
        let index = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"x","action":"SCMP_ACT_KILL","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#;
        assert!(error(index).contains("six"));
        assert_eq!(parse("{}", &HOST), Ok(None));
    }

    #[test]
    fn kernel_versions() {
        assert_eq!(kernel_version("6.18.44-fc-v669"), (6, 18));
        assert_eq!(kernel_version("4.8"), (4, 8));
        assert_eq!(kernel_version("x"), (0, 0));
    }
}
