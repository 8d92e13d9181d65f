//! The built-in init for other runtimes: the shim's program, mounted into the container where Docker mounts its own.

use crate::Engine;
use gantry_model::Result;
use gantry_model::error::Context;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where it is in the container.
pub(super) const PLACE: &str = "/sbin/docker-init";

/// The program as a file, made anew once in a daemon's life: containers that run keep the one they have. In the
/// data-root, for nothing in `/run` may be executed on many hosts.
pub(super) fn program(engine: &Engine) -> Result<PathBuf> {
    static WRITTEN: OnceLock<PathBuf> = OnceLock::new();
    let path = engine.config.data_root.join("docker-init");
    if WRITTEN.get() == Some(&path) && path.exists() {
        return Ok(path);
    }
    write(engine, &path).context(path.display())?;
    Ok(WRITTEN.get_or_init(|| path).clone())
}

fn write(engine: &Engine, path: &Path) -> io::Result<()> {
    // Two starts at a time write two files of which the last stays.
    let new = path.with_extension(gantry_model::Id::random().short());
    // Opened anew: the position of the descriptor is everybody's.
    let mut program = File::open(format!("/proc/self/fd/{}", engine.config.shim.as_raw_fd()))?;
    let written = File::create_new(&new).and_then(|mut file| {
        io::copy(&mut program, &mut file)?;
        file.set_permissions(Permissions::from_mode(0o555))?;
        fs::rename(&new, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&new)))
}
