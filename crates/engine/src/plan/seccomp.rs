//! Which seccomp filter goes with a container or an exec.

use super::caps;
use super::security::{self, Seccomp};
use crate::Engine;
use gantry_api_types::HostConfig;
use gantry_model::{Error, Result};
use gantry_runtime::seccomp;
use std::sync::Arc;

/// The compiled filter of a container; empty for none. exec'ed processes get the same.
pub(crate) fn of_container(engine: &Engine, host: &HostConfig) -> Result<Arc<[u8]>> {
    let daemon = engine.config.seccomp_profile.as_deref();
    let profile = match security::parse(host)?.seccomp {
        Seccomp::Unconfined => return Ok(Arc::from([])),
        Seccomp::Profile(text) => Some(text),
        Seccomp::Builtin => None,
        Seccomp::Default if daemon == Some("unconfined") => return Ok(Arc::from([])),
        Seccomp::Default => daemon.filter(|p| !p.is_empty() && *p != "builtin").map(str::to_owned),
    };
    let capabilities = caps::granted(host)?.bounding;
    seccomp::compile(profile.as_deref(), capabilities)
        .map_err(|e| Error::invalid(format!("Decoding seccomp profile failed: {e}")))
}

/// Checks a client's profile when the container is created, not only when it starts.
pub(crate) fn check(engine: &Engine, host: &HostConfig) -> Result<()> {
    match security::parse(host)?.seccomp {
        Seccomp::Profile(_) => of_container(engine, host).map(drop),
        _ => Ok(()),
    }
}
