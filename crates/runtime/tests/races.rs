//! The escapes of November 2025, tried while a container starts: somebody with a hand in its files exchanges them between
//! a check and its use, over and over. Each with the host's user namespace and with one of the container's own.

mod common;

use common::{Fixture, run_cases};
use gantry_linux::process::{Cloned, clone_child, pidfd_kill};
use gantry_model::IdMaps;
use gantry_model::id_map::{IdMap, IdRange};
use gantry_runtime::spec::{Mount, MountFlags, MountSource, Namespace, Propagation, UserNamespace};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const ROUNDS: usize = 60;

/// A process that exchanges two names until this is dropped.
struct Swapper(Cloned);

impl Swapper {
    fn new(one: &Path, other: &Path) -> Self {
        let cloned = clone_child(0, None, || {
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            loop {
                let _ = renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
            }
        });
        Self(cloned.expect("a process"))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = pidfd_kill(self.0.pidfd.as_fd(), libc::SIGKILL);
        let id = rustix::process::WaitId::PidFd(self.0.pidfd.as_fd());
        let _ = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
    }
}

fn fixture(script: &str, remapped: bool) -> Fixture {
    let mut fixture = Fixture::sh(script);
    if remapped {
        let map = IdMap(vec![IdRange { inside: 0, outside: 400_000, count: 65536 }]);
        let ids = IdMaps { uids: map.clone(), gids: map };
        fixture.plan.user_namespace = Some(UserNamespace { source: Namespace::New, ids });
    }
    fixture
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        source: MountSource::Bind { path: source.to_owned(), recursive: true, recursive_readonly: false },
        target: target.into(),
        flags: MountFlags::default(),
        propagation: Propagation::RPrivate,
        shifted: true,
    }
}

/// A `/dev` of the container's choice instead of the engine's.
fn own_dev(fixture: &mut Fixture) -> PathBuf {
    let dev = fixture.dir.path().join("dev");
    fs::create_dir(&dev).expect("mkdir");
    rustix::fs::mknodat(
        CWD,
        dev.join("null"),
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::Mode::from_raw_mode(0o666),
        rustix::fs::makedev(1, 3),
    )
    .expect("mknod");
    fixture.plan.mounts.retain(|m| !m.target.starts_with("/dev"));
    fixture.plan.mounts.push(bind(&dev, "/dev"));
    dev
}

/// How many of the starts succeeded; each that did is judged by what it printed.
fn rounds(fixture: &Fixture, judge: &dyn Fn(&str)) -> usize {
    (0..ROUNDS).filter(|_| fixture.run().inspect(|(_, out, err)| judge(&format!("{out}{err}"))).is_ok()).count()
}

fn canary(fixture: &Fixture) -> PathBuf {
    let canary = fixture.dir.path().join("canary");
    fs::write(&canary, "untouched").expect("write");
    canary
}

/// CVE-2025-31133: what covers a masked path is `/dev/null` as the container has it.
fn masks_by_an_exchanged_dev_null() {
    for remapped in [false, true] {
        let mut fixture = fixture("stat -c %t:%T /proc/keys; cat /proc/keys", remapped);
        let canary = canary(&fixture);
        let dev = own_dev(&mut fixture);
        symlink("/proc/sys/kernel/core_pattern", dev.join("link")).expect("symlink");
        fs::hard_link(&canary, dev.join("file")).expect("link");
        for other in ["link", "file"] {
            let swapper = Swapper::new(&dev.join("null"), &dev.join(other));
            let started = rounds(&fixture, &|out| assert_eq!(out, "1:3\n", "masked by {other}"));
            drop(swapper);
            println!("  /dev/null and {other}: {started} of {ROUNDS} started");
        }
        assert_eq!(fs::read_to_string(canary).expect("canary"), "untouched");
    }
}

/// CVE-2025-52565: the console is bound on top of what the container has put at `/dev/console`, from `/dev/pts`.
fn a_console_on_an_exchanged_link() {
    for remapped in [false, true] {
        let mut fixture = fixture("echo from inside > /dev/console; true", remapped);
        fixture.plan.process.tty = true;
        let canary = canary(&fixture);
        let dev = own_dev(&mut fixture);
        for name in ["pts", "elsewhere"] {
            fs::create_dir(dev.join(name)).expect("mkdir");
        }
        fs::write(dev.join("elsewhere/ptmx"), "").expect("write");
        fs::write(dev.join("console"), "").expect("write");
        symlink("/proc/sys/kernel/core_pattern", dev.join("console-link")).expect("symlink");
        let inside = fixture.dir.path().join("lower").join("victim");
        fs::write(&inside, "untouched").expect("write");
        symlink("/victim", dev.join("victim-link")).expect("symlink");
        let pts = default_pts();
        fixture.plan.mounts.push(pts);
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern");
        for (one, other) in [("console", "console-link"), ("console", "victim-link"), ("pts", "elsewhere")] {
            let swapper = Swapper::new(&dev.join(one), &dev.join(other));
            let started = rounds(&fixture, &|_| ());
            drop(swapper);
            println!("  {one} and {other}: {started} of {ROUNDS} started");
        }
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern"), pattern);
        assert_eq!(fs::read_to_string(&inside).expect("victim"), "untouched");
        assert_eq!(fs::read_to_string(canary).expect("canary"), "untouched");
    }
}

fn default_pts() -> Mount {
    common::default_mounts().into_iter().find(|m| m.target == Path::new("/dev/pts")).expect("there is one")
}

/// CVE-2025-52881: labels and parameters are written to files of `/proc` as the container shows it.
fn writes_to_an_exchanged_proc() {
    for remapped in [false, true] {
        let mut fixture = fixture("cat /proc/sys/net/ipv4/ip_forward", remapped);
        fixture.plan.sysctls = vec![("net.ipv4.ip_forward".into(), "1".into())];
        fixture.plan.oom_score_adj = Some(500);
        let lower = fixture.dir.path().join("lower");
        let fakes = ["sys/net/ipv4/ip_forward", "self/attr/exec", "1/oom_score_adj", "1/attr/exec", "sysrq-trigger"];
        for file in fakes {
            let path = lower.join("fake").join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            fs::write(path, "untouched").expect("write");
        }
        fs::create_dir(lower.join("proc")).expect("mkdir");
        symlink("fake", lower.join("proc-link")).expect("symlink");
        for other in ["proc-link", "fake"] {
            let swapper = Swapper::new(&lower.join("proc"), &lower.join(other));
            let started = rounds(&fixture, &|out| assert_eq!(out, "1\n", "exchanged with {other}"));
            drop(swapper);
            println!("  /proc and {other}: {started} of {ROUNDS} started");
        }
        let fake = if lower.join("fake/self").exists() { lower.join("fake") } else { lower.join("proc") };
        for file in fakes {
            assert_eq!(fs::read_to_string(fake.join(file)).expect(file), "untouched", "{file}");
        }
    }
}

/// The same by a mount: a directory that is bound below `/proc` would be in the way of what is written there.
fn mounts_in_proc_by_an_exchanged_link() {
    for remapped in [false, true] {
        let mut fixture = fixture("grep -c fake /proc/self/mountinfo; cat /proc/sys/net/ipv4/ip_forward", remapped);
        fixture.plan.sysctls = vec![("net.ipv4.ip_forward".into(), "1".into())];
        let shared = fixture.dir.path().join("shared");
        let fake = fixture.dir.path().join("fake");
        fs::create_dir_all(shared.join("inner")).expect("mkdir");
        fs::create_dir_all(fake.join("net/ipv4")).expect("mkdir");
        fs::write(fake.join("net/ipv4/ip_forward"), "untouched").expect("write");
        symlink("/proc/sys", shared.join("link")).expect("symlink");
        fixture.plan.mounts.push(bind(&shared, "/shared"));
        fixture.plan.mounts.push(bind(&fake, "/shared/inner"));
        let swapper = Swapper::new(&shared.join("inner"), &shared.join("link"));
        let started = rounds(&fixture, &|out| assert!(out.ends_with("\n1\n"), "{out}"));
        drop(swapper);
        println!("  a mount point and a link to /proc/sys: {started} of {ROUNDS} started");
        assert_eq!(fs::read_to_string(fake.join("net/ipv4/ip_forward")).expect("fake"), "untouched");
    }
}

fn main() {
    run_cases(&[
        ("masks_by_an_exchanged_dev_null", masks_by_an_exchanged_dev_null),
        ("a_console_on_an_exchanged_link", a_console_on_an_exchanged_link),
        ("writes_to_an_exchanged_proc", writes_to_an_exchanged_proc),
        ("mounts_in_proc_by_an_exchanged_link", mounts_in_proc_by_an_exchanged_link),
    ]);
}
