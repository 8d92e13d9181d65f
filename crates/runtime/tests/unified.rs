//! Containers on cgroup v2. On a host that mounts v1 too, this process looks at a mount table of its
//! own in which only v2 is there: what v2 does without controllers (devices, freeze, kill,
//! namespaces) is real; limits are covered by the unit tests.

mod common;

use common::{Fixture, process, run_cases};
use gantry_runtime::cgroup::CgroupRoot;
use gantry_runtime::spec::Namespace;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

fn devices_are_limited_by_the_program() {
    let out = Fixture::sh("dd if=/dev/zero of=/dev/null bs=1 count=1 2>/dev/null && echo allowed; mknod /k b 254 0 && echo made; dd if=/k of=/dev/null count=1 2>&1 | grep -o 'not permitted'").output();
    assert_eq!(out, "allowed\nmade\nnot permitted\n");
}

fn a_cgroup_namespace_hides_the_path() {
    let mut fixture = Fixture::sh(
        "cat /proc/self/cgroup | grep ^0:; ls /sys/fs/cgroup/cgroup.procs; grep cgroup /proc/self/mountinfo; mount -o remount,rw /sys/fs/cgroup 2>&1",
    );
    fixture.plan.namespaces.cgroup = Namespace::New;
    let (_, out, _) = fixture.run().expect("started");
    assert!(out.starts_with("0::/\n/sys/fs/cgroup/cgroup.procs\n"), "{out}");
    assert!(out.contains(" / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 "), "{out}");
    assert!(!out.contains("gantry"), "{out}");
}

fn the_hosts_cgroup_namespace_shows_the_tree() {
    let fixture = Fixture::sh("grep ^0: /proc/self/cgroup; ls /sys/fs/cgroup");
    let out = fixture.output();
    assert!(
        out.starts_with(&format!("0::{}\n", fixture.plan.cgroup.path)) && out.contains("\ngantry-rt-test-"),
        "{out}"
    );
}

fn freeze_exec_and_kill() {
    let fixture = Fixture::sh("sleep 100 & sleep 100");
    let running = fixture.start().expect("started");
    let (status, out, _) = running
        .exec(&fixture.plan, &process(&["/bin/grep", "^0:", "/proc/self/cgroup"]), &[])
        .expect("started")
        .finish();
    assert_eq!((status, out), (0, format!("0::{}\n", fixture.plan.cgroup.path)));
    let cgroup = fixture.cgroup();
    cgroup.freeze().expect("freeze");
    assert!(cgroup.is_frozen().expect("state"));
    assert!(cgroup.pids().expect("pids").contains(&running.child.pid()));
    cgroup.kill_all().expect("kill");
    assert_eq!(common::reap(&running.child), 128 + 9);
    cgroup.remove().expect("empty");
    assert!(!cgroup.exists());
}

fn main() {
    gantry_linux::process::unshare(libc::CLONE_NEWNS).expect("root");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private");
    mount("none", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), None).expect("cgroup2");
    assert!(CgroupRoot::detect().expect("detect").is_unified());
    run_cases(&[
        ("devices_are_limited_by_the_program", devices_are_limited_by_the_program),
        ("a_cgroup_namespace_hides_the_path", a_cgroup_namespace_hides_the_path),
        ("the_hosts_cgroup_namespace_shows_the_tree", the_hosts_cgroup_namespace_shows_the_tree),
        ("freeze_exec_and_kill", freeze_exec_and_kill),
    ]);
}
