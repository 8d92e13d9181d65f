//! Builds `gantry-shim` and puts its path into `GANTRY_SHIM_PROGRAM`, for `include_bytes!`.
//!
//! The shim is a program of its own (a re-executed daemon would cost ten times the memory for each
//! container) and still the user installs one file, so the daemon carries it. Cargo cannot express
//! that dependency on stable Rust, hence a nested build with a target directory of its own: the
//! outer cargo holds the lock of the shared one.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms the shim is made of; a change in any of them rebuilds it.
const SHIM_ROOMS: [&str; 7] = ["shim", "shim-protocol", "container-logs", "forwarder", "runtime", "linux", "model"];

/// What the outer cargo tells its own children and the nested one must not hear: flags it reads
/// from `.cargo/config.toml` itself, the wrapper of `cargo clippy`, and the outer profile.
const OUTER_ONLY: [&str; 6] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CLIPPY_ARGS",
];

fn main() {
    let root = workspace_root();
    println!("cargo::rerun-if-env-changed=GANTRY_SHIM");
    println!("cargo::rerun-if-changed={}", root.join(".cargo/config.toml").display());
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    println!("cargo::rerun-if-changed={}", root.join("Cargo.lock").display());
    for room in SHIM_ROOMS {
        println!("cargo::rerun-if-changed={}", root.join("crates").join(room).join("src").display());
        println!("cargo::rerun-if-changed={}", root.join("crates").join(room).join("Cargo.toml").display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=GANTRY_COMMIT={}", commit(&root));

    let shim = match env::var_os("GANTRY_SHIM") {
        Some(path) => PathBuf::from(path),
        None => build_shim(&root),
    };
    assert!(shim.is_file(), "the shim is missing at {}", shim.display());
    println!("cargo::rustc-env=GANTRY_SHIM_PROGRAM={}", shim.display());
}

fn workspace_root() -> PathBuf {
    let here = PathBuf::from(required("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("crates/gantry lies two levels below the workspace").to_path_buf()
}

/// Release builds carry the small shim (`profile.shim`); others build it quickly.
fn build_shim(root: &Path) -> PathBuf {
    let target = required("TARGET");
    let (profile, folder) = if required("PROFILE") == "release" { ("shim", "shim") } else { ("dev", "debug") };
    let target_dir = PathBuf::from(required("OUT_DIR")).join("shim");
    let mut cargo = Command::new(required("CARGO"));
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--package", "gantry-shim", "--profile", profile, "--target", &target])
        .arg("--target-dir")
        .arg(&target_dir);
    for name in OUTER_ONLY {
        cargo.env_remove(name);
    }
    let status = cargo.status().expect("cargo, which runs this, can be run");
    assert!(status.success(), "building gantry-shim failed: {status}");
    target_dir.join(target).join(folder).join("gantry-shim")
}

/// The commit for `gantry --version`; a build from an archive of the sources has none.
fn commit(root: &Path) -> String {
    if let Ok(commit) = env::var("GANTRY_COMMIT") {
        return commit;
    }
    println!("cargo::rerun-if-env-changed=GANTRY_COMMIT");
    let head = root.join(".git/logs/HEAD");
    if head.is_file() {
        println!("cargo::rerun-if-changed={}", head.display());
    }
    let output = Command::new("git").current_dir(root).args(["rev-parse", "--short=7", "HEAD"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
