//! The program as a user meets it: its words, its exit statuses, and what `make install` installs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GANTRY: &str = env!("CARGO_BIN_EXE_gantry");

fn run(program: impl AsRef<Path>, args: &[&str]) -> Output {
    // Without the user's TLS settings, and without a service manager to talk to.
    let mut command = Command::new(program.as_ref());
    command.args(args).env_remove("DOCKER_TLS_VERIFY").env_remove("NOTIFY_SOCKET");
    command.output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The program under the name that scripts start.
fn dockerd(dir: &Path) -> PathBuf {
    let link = dir.join("dockerd");
    std::os::unix::fs::symlink(GANTRY, &link).expect("a link can be made");
    link
}

#[test]
fn says_who_it_is() {
    for args in [&["--version"][..], &["-v"], &["version"], &["daemon", "--version"]] {
        let output = run(GANTRY, args);
        assert!(output.status.success());
        assert!(text(&output).starts_with("Gantry version 0."), "{}", text(&output));
    }
    assert!(text(&run(GANTRY, &[])).contains("Usage: gantry COMMAND"));
    assert!(text(&run(GANTRY, &["daemon", "--help"])).contains("--data-root"));
}

#[test]
fn refuses_what_it_does_not_know() {
    for (args, says) in [
        (&["dance"][..], "unknown command \"dance\""),
        (&["daemon", "--dance"], "unknown flag: --dance"),
        (&["check", "twice"], "check takes no arguments"),
    ] {
        let output = run(GANTRY, args);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
}

#[test]
fn validates_a_file_written_for_dockerd() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("daemon.json");
    let config = format!("--config-file={}", file.display());
    let dockerd = dockerd(dir.path());

    std::fs::write(&file, r#"{"hosts": ["unix:///var/run/docker.sock"], "log-opts": {"max-size": "10m"}}"#).unwrap();
    for (program, args) in
        [(Path::new(GANTRY), &["daemon", "--validate", &config][..]), (&dockerd, &["--validate", &config])]
    {
        let output = run(program, args);
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(text(&output), "configuration OK\n");
    }
    let conflict = run(&dockerd, &["--validate", &config, "-H", "fd://"]);
    assert_eq!(conflict.status.code(), Some(1));
    assert!(
        text(&conflict).contains("specified both as a flag and in the configuration file: hosts: (from flag: [fd://]")
    );

    std::fs::write(&file, r#"{"bip": "ten dot one"}"#).unwrap();
    assert!(text(&run(&dockerd, &["--validate", &config])).contains("bip: \"ten dot one\" is not an IPv4 network"));
}

#[test]
fn check_names_everything_it_looked_at() {
    let output = run(GANTRY, &["check"]);
    // Whether containers can run here is the machine's affair; saying so is the program's.
    let text = text(&output);
    for what in ["namespaces", "overlayfs", "cgroup memory", "pidfd", "nftables", "Containers can"] {
        assert!(text.contains(what), "{what} is not in:\n{text}");
    }
}

/// What finds damage is in the end-to-end tests, which have a daemon to make images with.
#[test]
fn verify_needs_a_data_root() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().display().to_string();
    for (args, says) in [
        (&["verify", "--config-file=/dev/null", "--data-root", &root][..], "is no data-root: it has no state.redb"),
        (&["verify", "--config-file=/dev/null", "--data-root=/nowhere/at/all"], "the data-root /nowhere/at/all"),
        (&["verify", "--mtu=1"], "--mtu says nothing about where the data-root is"),
        (&["verify", "--dance"], "unknown flag: --dance"),
    ] {
        let output = run(GANTRY, args);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output).contains(says), "{}", text(&output));
    }
    assert!(run(GANTRY, &["verify", "--help"]).status.success());
}

#[test]
fn installs_binary_units_and_configuration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two levels down");
    let dir = tempfile::tempdir().expect("a directory");
    let dest = dir.path().display();
    let make = |goal: &str| {
        let status = Command::new("make")
            .current_dir(root)
            .args(["--silent", goal, &format!("DESTDIR={dest}"), "PREFIX=/usr", &format!("GANTRY={GANTRY}")])
            .env_remove("MAKEFLAGS")
            .status();
        assert!(status.expect("make runs").success());
    };
    make("install");
    let service = std::fs::read_to_string(dir.path().join("lib/systemd/system/gantry.service")).unwrap();
    assert!(service.contains("ExecStart=/usr/bin/gantry daemon -H fd://"), "{service}");
    assert!(service.contains("KillMode=process"), "containers must outlive the service");
    assert!(dir.path().join("lib/systemd/system/gantry.socket").is_file());

    // The installed configuration is one that the installed program accepts.
    let config = dir.path().join("etc/gantry/daemon.json");
    let validate = ["daemon", "--validate", "--config-file", &config.display().to_string()];
    assert!(run(dir.path().join("usr/bin/gantry"), &validate).status.success());

    // A second install keeps what the administrator wrote.
    std::fs::write(&config, r#"{"debug": true}"#).unwrap();
    make("install");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), r#"{"debug": true}"#);
    make("uninstall");
    assert!(!dir.path().join("usr/bin/gantry").exists());
    assert!(config.exists());
}
