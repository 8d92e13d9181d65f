//! Containers of other OCI runtimes (`HostConfig.Runtime`): which there are, and the bundle that such a one is given.

mod config;
mod init;
mod process;

use crate::Engine;
use crate::archive::View;
use crate::container::{Container, Record};
use crate::info::RUNTIME;
use gantry_api_types::HostConfig;
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_network::Stack;
use gantry_runtime::spawn;
use gantry_runtime::spec::{OciRuntime, Plan, ProcessSpec};
use gantry_runtime::view::{self, User};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// Further names of the built-in runtime.
const ALIASES: [&str; 2] = ["gantry", "io.containerd.runc.v2"];

/// A runtime that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Its program.
    pub path: PathBuf,
    /// Arguments before those of every call.
    pub args: Vec<String>,
}

/// Whether this is a name of the runtime that is a part of this engine.
pub(crate) fn is_built_in(name: &str) -> bool {
    name.is_empty() || name == RUNTIME || ALIASES.contains(&name)
}

/// Checks at creation what a container asks of its runtime.
pub(crate) fn check(engine: &Engine, host: &HostConfig) -> Result<()> {
    let name = if host.runtime.is_empty() { engine.config.default_runtime.as_str() } else { host.runtime.as_str() };
    if is_built_in(name) {
        return Ok(());
    }
    if !engine.config.runtimes.contains_key(name) {
        return Err(Error::invalid(format!("Unknown runtime specified {name}")));
    }
    if crate::remap::wanted(engine, host).is_some() {
        return Err(Error::invalid(format!(
            "the runtime {name:?} cannot be used with user namespaces; run the container in the host's (UsernsMode: host)"
        )));
    }
    Ok(())
}

/// Whose network stack a container has.
pub(crate) fn stack(record: &Record) -> Stack {
    if is_built_in(&record.host_config.runtime) { Stack::Kernel } else { Stack::Runtime }
}

/// The other runtime that runs a container, if one does.
pub(crate) fn of_container(engine: &Engine, record: &Record) -> Result<Option<OciRuntime>> {
    let name = record.host_config.runtime.as_str();
    if is_built_in(name) {
        return Ok(None);
    }
    // The daemon may have been configured anew since the container was made.
    let runtime = engine.config.runtimes.get(name);
    let runtime = runtime.ok_or_else(|| Error::invalid(format!("Unknown runtime specified {name}")))?;
    let bundle = engine.dirs(&record.id).exec().join("oci");
    Ok(Some(OciRuntime { program: find(&runtime.path)?, args: runtime.args.clone(), bundle }))
}

/// A path, or a name that is looked for where programs are.
fn find(path: &std::path::Path) -> Result<PathBuf> {
    let found = if path.is_absolute() {
        Some(path.to_owned())
    } else {
        let dirs = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        std::env::split_paths(&dirs).map(|dir| dir.join(path)).find(|path| path.is_file())
    };
    found.filter(|path| path.is_file()).ok_or_else(|| {
        Error::invalid(format!("fork/exec {}: no such file or directory", path.display()))
            .context("OCI runtime create failed: unable to retrieve OCI runtime error")
    })
}

/// Ends the start of a container that is under way, if another runtime takes its time for it. Blocks for a moment.
pub(crate) fn interrupt_start(engine: &Engine, container: &Container) {
    if is_built_in(&container.read().host_config.runtime) || container.shim().is_none() {
        return;
    }
    match spawn::find_shim(&engine.dirs(&container.id).pid_file()) {
        Ok(Some(shim)) => gantry_runtime::oci::interrupt(shim.pid),
        Ok(None) => {}
        Err(e) => tracing::debug!("container {}: {e}", container.id),
    }
}

/// Writes the bundle of a start.
pub(crate) fn write_bundle(engine: &Engine, container: &Container, plan: &Plan) -> Result<()> {
    let Some(oci) = &plan.oci else { return Ok(()) };
    let host = container.read().host_config.clone();
    let user = user_of(engine, container, &plan.process)?;
    let init = plan.init.then(|| init::program(engine)).transpose()?;
    let config = config::of_plan(engine, &host, plan, oci, &user, init.as_deref())?;
    fs::DirBuilder::new().mode(0o700).create(&oci.bundle).context(oci.bundle.display())?;
    let path = oci.bundle.join("config.json");
    fs::write(&path, config.to_string()).context(path.display())
}

/// The process of an exec, as JSON.
pub(crate) fn exec_process(engine: &Engine, container: &Container, spec: &ProcessSpec) -> Result<Vec<u8>> {
    let user = user_of(engine, container, spec)?;
    Ok(process::of_spec(spec, &user, None).to_string().into_bytes())
}

/// The runtime wants numbers, which only the container's files have.
fn user_of(engine: &Engine, container: &Container, spec: &ProcessSpec) -> Result<User> {
    let view = View::of_root(engine, container)?;
    view::user(&view.root, &spec.user, &spec.additional_groups)
}
