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
    let Some(profile) = profile(engine, host)? else { return Ok(Arc::from([])) };
    seccomp::compile(profile.as_deref(), caps::granted(host)?.bounding).map_err(|e| broken(&e))
}

/// The same for another runtime.
pub(crate) fn oci(engine: &Engine, host: &HostConfig) -> Result<Option<serde_json::Value>> {
    let Some(profile) = profile(engine, host)? else { return Ok(None) };
    seccomp::oci(profile.as_deref(), caps::granted(host)?.bounding).map_err(|e| broken(&e))
}

fn broken(e: &seccomp::ProfileError) -> Error {
    Error::invalid(format!("Decoding seccomp profile failed: {e}"))
}

/// `None` for no filter; inside, the text of a profile, or `None` for the built-in one.
#[expect(clippy::option_option, reason = "no filter and no text are two things")]
fn profile(engine: &Engine, host: &HostConfig) -> Result<Option<Option<String>>> {
    let daemon = engine.config.seccomp_profile.as_deref();
    Ok(match security::parse(host)?.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Profile(text) => Some(Some(text)),
        Seccomp::Builtin => Some(None),
        Seccomp::Default if daemon == Some("unconfined") => None,
        Seccomp::Default => Some(daemon.filter(|p| !p.is_empty() && *p != "builtin").map(str::to_owned)),
    })
}

/// Checks a client's profile when the container is created, not only when it starts.
pub(crate) fn check(engine: &Engine, host: &HostConfig) -> Result<()> {
    match security::parse(host)?.seccomp {
        Seccomp::Profile(_) => of_container(engine, host).map(drop),
        _ => Ok(()),
    }
}
