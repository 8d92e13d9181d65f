//! A container of the tests: busybox in a temporary layer, with Docker's default spec.
#![allow(dead_code)] // Each test program uses its own part.

use gantry_runtime::capabilities;
use gantry_runtime::cgroup::{Cgroup as LiveCgroup, CgroupRoot};
use gantry_runtime::container::{self, Child, Report, StdioFds};
use gantry_runtime::failure::Failure;
use gantry_runtime::spec::{
    Capabilities, Cgroup, ContainerNet, DeviceRule, LogPlan, Mount, MountFlags, MountSource, Namespace, Namespaces,
    PLAN_VERSION, Plan, ProcessSpec, Propagation, Resources, Rootfs, Stdio,
};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A temporary root with a plan for it.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) plan: Plan,
    pub(crate) seccomp: Vec<u8>,
}

fn fs_mount(kind: &str, target: &str, options: &[&str], flags: MountFlags) -> Mount {
    Mount {
        source: MountSource::Fs { kind: kind.into(), options: options.iter().map(|o| (*o).to_owned()).collect() },
        target: target.into(),
        flags,
        propagation: Propagation::Private,
        shifted: false,
    }
}

/// Docker's mounts in Docker's order.
pub(crate) fn default_mounts() -> Vec<Mount> {
    let none = MountFlags { nosuid: true, nodev: true, noexec: true, ..MountFlags::default() };
    let dev = MountFlags { nosuid: true, strictatime: true, ..MountFlags::default() };
    let pts = MountFlags { nosuid: true, noexec: true, ..MountFlags::default() };
    let readonly = MountFlags { readonly: true, ..none };
    vec![
        fs_mount("proc", "/proc", &[], none),
        fs_mount("tmpfs", "/dev", &["mode=755", "size=65536k"], dev),
        fs_mount("devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"], pts),
        fs_mount("sysfs", "/sys", &[], readonly),
        Mount {
            source: MountSource::Cgroup,
            target: "/sys/fs/cgroup".into(),
            flags: readonly,
            propagation: Propagation::Private,
            shifted: false,
        },
        fs_mount("mqueue", "/dev/mqueue", &[], none),
        fs_mount("tmpfs", "/dev/shm", &["source=shm", "mode=1777", "size=67108864"], none),
    ]
}

fn rule(allow: bool, kind: char, major: Option<u32>, minor: Option<u32>, access: &str) -> DeviceRule {
    DeviceRule { allow, kind, major, minor, access: access.into() }
}

/// Docker's device rules.
pub(crate) fn default_rules() -> Vec<DeviceRule> {
    let mut rules =
        vec![rule(false, 'a', None, None, "rwm"), rule(true, 'c', None, None, "m"), rule(true, 'b', None, None, "m")];
    for (major, minor) in [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(1)),
        (5, Some(2)),
        (136, None),
    ] {
        rules.push(rule(true, 'c', Some(major), minor, "rwm"));
    }
    rules
}

fn paths(list: &[&str]) -> Vec<PathBuf> {
    list.iter().map(PathBuf::from).collect()
}

impl Fixture {
    /// A busybox root that runs `args`.
    pub(crate) fn new(args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().expect("a temporary directory");
        for sub in ["lower/bin", "lower/etc", "upper", "work", "root", "state"] {
            fs::create_dir_all(dir.path().join(sub)).expect("mkdir");
        }
        let lower = dir.path().join("lower");
        fs::copy("/bin/busybox", lower.join("bin/busybox")).expect("Debian's busybox-static");
        for applet in [
            "sh", "true", "cat", "ls", "id", "echo", "stat", "mount", "touch", "sleep", "hostname", "pwd", "env",
            "tty", "readlink", "grep", "kill", "mknod", "dd", "ip", "umask",
        ] {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).expect("symlink");
        }
        fs::write(lower.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n")
            .expect("passwd");
        fs::write(lower.join("etc/group"), "root:x:0:\napp:x:1001:\nstaff:x:50:app\n").expect("group");
        let unique = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let id = format!("rt-test-{unique}");
        let plan = Plan {
            version: PLAN_VERSION,
            id: id.clone(),
            state_dir: dir.path().join("state"),
            process: process(args),
            init: false,
            user_namespace: None,
            namespaces: Namespaces {
                pid: Namespace::New,
                net: Namespace::New,
                ipc: Namespace::New,
                uts: Namespace::New,
                cgroup: Namespace::Host,
            },
            hostname: Some("testhost".into()),
            domainname: None,
            rootfs: Rootfs {
                lower: vec![lower],
                upper: dir.path().join("upper"),
                work: dir.path().join("work"),
                target: dir.path().join("root"),
                readonly: false,
            },
            mounts: default_mounts(),
            devices: vec![],
            masked_paths: paths(&[
                "/proc/asound",
                "/proc/acpi",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/proc/scsi",
                "/sys/firmware",
            ]),
            readonly_paths: paths(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            sysctls: vec![],
            cgroup: Cgroup {
                path: format!("/gantry-{id}/nested"),
                resources: Resources::default(),
                device_rules: default_rules(),
            },
            oom_score_adj: None,
            wait_for_network: false,
            stdio: Stdio { open_stdin: false, stdin_once: false },
            log: LogPlan::None,
            shm_size: 64 << 20,
            oci: None,
            forwards: vec![],
            carrier_filter: vec![],
            mount_label: None,
        };
        Self { dir, plan, seccomp: vec![] }
    }

    /// A shell script.
    pub(crate) fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    pub(crate) fn cgroup(&self) -> LiveCgroup {
        CgroupRoot::detect().expect("hierarchies").cgroup(&self.plan.cgroup.path)
    }

    /// Starts it with pipes; fails as the child or the parent says.
    pub(crate) fn start(&self) -> Result<Running, Failure> {
        self.start_with(|child| child.go(&ContainerNet::default()).expect("go"))
    }

    /// Starts it; `attach` is the daemon's part if the plan waits for the network.
    pub(crate) fn start_with(&self, attach: impl FnOnce(&mut Child)) -> Result<Running, Failure> {
        let (out_reader, out) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let (err_reader, err) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let stdio = StdioFds { stdin: None, stdout: Some(out), stderr: Some(err) };
        let child = container::create(&self.plan, &self.seccomp, stdio)?;
        let mut running = Running { child, pty: None, stdout: out_reader, stderr: err_reader };
        if self.plan.wait_for_network {
            attach(&mut running.child);
        }
        running.settle()?;
        Ok(running)
    }

    /// Runs it to its end: status, stdout, stderr.
    pub(crate) fn run(&self) -> Result<(i32, String, String), Failure> {
        Ok(self.start()?.finish())
    }

    /// Its standard output; must succeed.
    pub(crate) fn output(&self) -> String {
        let (status, out, err) = self.run().unwrap_or_else(|f| panic!("{f:?}"));
        assert_eq!(status, 0, "stdout {out:?} stderr {err:?}");
        out
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let cgroup = self.cgroup();
        let _ = cgroup.kill_all();
        cgroup.remove().unwrap_or_else(|e| panic!("the cgroup is not removable: {e}"));
        let parent = self.plan.cgroup.path.trim_end_matches("/nested");
        CgroupRoot::detect().expect("hierarchies").cgroup(parent).remove().expect("empty");
    }
}

/// A process of the container `args` with Docker's defaults.
pub(crate) fn process(args: &[&str]) -> ProcessSpec {
    let caps = capabilities::DEFAULT;
    ProcessSpec {
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        cwd: "/".into(),
        create_cwd: true,
        user: String::new(),
        additional_groups: vec![],
        capabilities: Capabilities { bounding: caps, effective: caps, permitted: caps, inheritable: 0, ambient: 0 },
        no_new_privileges: false,
        rlimits: vec![],
        seccomp: false,
        tty: false,
        console_size: (0, 0),
        apparmor: None,
        selinux: None,
    }
}

/// A started process with the parent's ends of its stdio.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) pty: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Running {
    fn settle(&mut self) -> Result<(), Failure> {
        loop {
            match self.child.read_report().expect("a report") {
                Report::Pty(master) => self.pty = Some(master),
                Report::Executed => return Ok(()),
                Report::Failed(failure) => {
                    reap(&self.child);
                    return Err(failure);
                }
            }
        }
    }

    /// Another process in the same container.
    pub(crate) fn exec(&self, plan: &Plan, process: &ProcessSpec, seccomp: &[u8]) -> Result<Running, Failure> {
        let (out_reader, out) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let (err_reader, err) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let stdio = StdioFds { stdin: None, stdout: Some(out), stderr: Some(err) };
        let child = gantry_runtime::exec::exec(self.child.pid(), self.child.pidfd(), plan, process, seccomp, stdio)?;
        let mut running = Running { child, pty: None, stdout: out_reader, stderr: err_reader };
        running.settle()?;
        Ok(running)
    }

    /// Reads everything and reaps.
    pub(crate) fn finish(self) -> (i32, String, String) {
        let mut out = String::new();
        let mut err = String::new();
        if let Some(pty) = self.pty {
            let mut bytes = Vec::new();
            // The master of a terminal that nobody has open any more fails instead of ending.
            let _ = File::from(pty).read_to_end(&mut bytes);
            out = String::from_utf8_lossy(&bytes).into_owned();
        }
        File::from(self.stdout).read_to_string(&mut out).expect("stdout");
        File::from(self.stderr).read_to_string(&mut err).expect("stderr");
        (reap(&self.child), out, err)
    }

    /// Kills and reaps.
    pub(crate) fn kill(self) {
        gantry_linux::process::pidfd_kill(self.child.pidfd(), libc::SIGKILL).expect("kill");
        reap(&self.child);
    }
}

/// Waits for a child's end; its exit status, or 128 + signal.
pub(crate) fn reap(child: &Child) -> i32 {
    let id = rustix::process::WaitId::PidFd(child.pidfd());
    let options = rustix::process::WaitIdOptions::EXITED;
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitid(id.clone(), options)).expect("waitid").expect("a status");
    status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).expect("an end")
}

/// Runs named cases one after the other in this single-threaded process, as a shim would; `cargo
/// test NAME` filters.
pub(crate) fn run_cases(cases: &[(&str, fn())]) {
    let filter: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    let mut failed = 0;
    for (name, case) in cases {
        if !filter.is_empty() && !filter.iter().any(|f| name.contains(f.as_str())) {
            continue;
        }
        let ok = std::panic::catch_unwind(case).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed += i32::from(!ok);
    }
    assert_eq!(failed, 0, "{failed} cases failed");
}
