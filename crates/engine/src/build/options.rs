//! What a client asks of a build.

use gantry_api_types::{AuthConfig, HostConfig, LogConfig, Ulimit};
use gantry_image_builder as builder;
use gantry_model::go::parse_bool;
use std::collections::BTreeMap;

/// Parameters of a build, as the client wrote them.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the API's own parameters")]
pub struct ImageBuild {
    /// Where in the context the Dockerfile is; `Dockerfile` if empty.
    pub dockerfile: String,
    /// Names for the image.
    pub tags: Vec<String>,
    /// Print the image's id alone.
    pub quiet: bool,
    /// Tell the image's id beside the text.
    pub tell_id: bool,
    /// Take no results of earlier builds.
    pub no_cache: bool,
    /// Images that may serve as a cache.
    pub cache_from: Vec<String>,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// Remove the containers of commands that succeeded.
    pub remove: bool,
    /// The stage that is wanted.
    pub target: String,
    /// `os[/arch[/variant]]`
    pub platform: Option<String>,
    /// Build arguments.
    pub arguments: BTreeMap<String, Option<String>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// One layer instead of those of the steps.
    pub squash: bool,
    /// Types of the outputs that are wanted, which BuildKit knows how to make.
    pub outputs: Vec<String>,
    /// Of commands.
    pub network_mode: String,
    /// Of commands.
    pub extra_hosts: Vec<String>,
    /// Of commands.
    pub memory: i64,
    /// Of commands.
    pub memory_swap: i64,
    /// Of commands.
    pub cpu_shares: i64,
    /// Of commands.
    pub cpu_period: i64,
    /// Of commands.
    pub cpu_quota: i64,
    /// Of commands.
    pub cpuset_cpus: String,
    /// Of commands.
    pub cpuset_mems: String,
    /// Of commands.
    pub cgroup_parent: String,
    /// Of commands.
    pub shm_size: i64,
    /// Of commands.
    pub ulimits: Vec<Ulimit>,
    /// Of commands.
    pub security_opt: Vec<String>,
    /// Credentials by registry.
    pub auths: BTreeMap<String, AuthConfig>,
}

impl ImageBuild {
    /// Whether the client says what time the image has to name.
    pub(super) fn is_repeatable(&self) -> bool {
        self.arguments.get("SOURCE_DATE_EPOCH").is_some_and(|time| time.as_deref().is_some_and(|time| !time.is_empty()))
    }

    /// Whether a context from a git repository has git's own files.
    pub fn keeps_git_dir(&self) -> bool {
        let wanted = self.arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").cloned().flatten();
        wanted.is_some_and(|wanted| parse_bool(&wanted) == Some(true))
    }

    pub(super) fn builder_options(&self) -> builder::Options {
        builder::Options {
            target: self.target.clone(),
            arguments: self.arguments.clone(),
            labels: self.labels.clone(),
            no_cache: self.no_cache,
            platform: self.platform.clone(),
            import: !self.cache_from.is_empty(),
        }
    }

    /// What commands run with.
    pub(super) fn host_config(&self) -> HostConfig {
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        HostConfig {
            network_mode: self.network_mode.clone(),
            extra_hosts: list(&self.extra_hosts),
            memory: self.memory,
            memory_swap: self.memory_swap,
            cpu_shares: self.cpu_shares,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            cgroup_parent: self.cgroup_parent.clone(),
            shm_size: self.shm_size,
            ulimits: (!self.ulimits.is_empty()).then(|| self.ulimits.clone()),
            security_opt: list(&self.security_opt),
            // What a command prints is the build's output and nobody's log.
            log_config: LogConfig { r#type: "none".to_owned(), config: None },
            ..HostConfig::default()
        }
    }

    /// The credentials for a registry. Clients call the default one by the address that it once had.
    pub(super) fn auth(&self, registry: &str) -> AuthConfig {
        let names: &[&str] = if registry == "docker.io" {
            &["https://index.docker.io/v1/", "index.docker.io", "docker.io"]
        } else {
            &[registry]
        };
        let host = |key: &str| {
            let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
            rest.split('/').next().unwrap_or_default().to_owned()
        };
        let exact = names.iter().find_map(|name| self.auths.get(*name));
        let found =
            exact.or_else(|| self.auths.iter().find(|(key, _)| names.contains(&host(key).as_str())).map(|(_, a)| a));
        found.cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_by_registry() {
        let auth = |name: &str| AuthConfig { username: name.into(), ..AuthConfig::default() };
        let auths = [
            ("https://index.docker.io/v1/".to_owned(), auth("hub")),
            ("http://localhost:5000/v2/".to_owned(), auth("local")),
            ("exact:1".to_owned(), auth("exact")),
        ];
        let build = ImageBuild { auths: auths.into(), ..ImageBuild::default() };
        assert_eq!(build.auth("docker.io").username, "hub");
        assert_eq!(build.auth("localhost:5000").username, "local");
        assert_eq!(build.auth("exact:1").username, "exact");
        assert_eq!(build.auth("other").username, "");
    }
}
