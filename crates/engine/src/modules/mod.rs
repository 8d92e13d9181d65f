//! Linux security modules: what the host has, and what a container asks of them. Where the kernel lacks one, what is
//! asked is shown by inspect and has no effect, as in Docker.

mod apparmor;
pub(crate) mod relabel;
mod selinux;

use crate::Engine;
use crate::plan::security;
use gantry_api_types::HostConfig;
use gantry_model::Result;
pub(crate) use selinux::Labels;
use std::path::Path;

/// The modules of this host.
#[derive(Debug)]
pub(crate) struct Modules {
    apparmor: bool,
    selinux: Option<selinux::Policy>,
}

impl Modules {
    /// Finds them, and has the default profile loaded where there is AppArmor.
    pub(crate) fn detect(selinux_enabled: bool) -> Result<Self> {
        let (sys, etc) = (Path::new("/sys"), Path::new("/etc"));
        let apparmor = apparmor::is_enabled(sys);
        if apparmor {
            apparmor::ensure_default(sys)?;
        }
        let selinux = if selinux_enabled { selinux::Policy::find(sys, etc)? } else { None };
        if selinux_enabled && selinux.is_none() {
            tracing::warn!("SELinux could not be enabled on the host system: its kernel does not have it");
        }
        Ok(Self { apparmor, selinux })
    }

    /// `name=…` of `/info`.
    pub(crate) fn names(&self) -> (Option<&'static str>, Option<&'static str>) {
        (self.apparmor.then_some("name=apparmor"), self.selinux.is_some().then_some("name=selinux"))
    }

    /// The labels of a new container.
    pub(crate) fn labels(&self, host: &HostConfig) -> Result<Labels> {
        self.selinux.as_ref().map_or(Ok(Labels::default()), |policy| policy.labels(&security::labels(host)))
    }
}

/// What inspect shows: the profile asked for, else the default where there is one.
pub(crate) fn shown_profile(engine: &Engine, host: &HostConfig) -> String {
    let asked = security::parse(host).ok().and_then(|security| security.apparmor);
    asked.or_else(|| default_profile(engine, host.privileged)).unwrap_or_default()
}

/// The profile of a process, if the kernel has AppArmor; `privileged` processes have none unless one is asked for.
pub(crate) fn profile(engine: &Engine, host: &HostConfig, privileged: bool) -> Result<Option<String>> {
    if !engine.modules.apparmor {
        return Ok(None);
    }
    let asked = if privileged && !host.privileged { None } else { security::parse(host)?.apparmor };
    Ok(asked.or_else(|| default_profile(engine, privileged)))
}

fn default_profile(engine: &Engine, privileged: bool) -> Option<String> {
    let name = if privileged { apparmor::UNCONFINED } else { apparmor::DEFAULT };
    engine.modules.apparmor.then(|| name.to_owned())
}
