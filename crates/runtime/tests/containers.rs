//! Real containers, as root: what a program finds itself in.

mod common;

use common::{Fixture, process, run_cases};
use gantry_runtime::container::StdioFds;
use gantry_runtime::failure::{Failure, Stage};
use gantry_runtime::spec::{
    ContainerInterface, ContainerNet, ContainerRoute, Mount, MountFlags, MountSource, Namespace, Propagation, Rlimit,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn status_and_streams() {
    let (status, out, err) = Fixture::sh("echo out; echo err >&2; exit 7").run().expect("started");
    assert_eq!((status, out.as_str(), err.as_str()), (7, "out\n", "err\n"));
}

fn docker_default_mounts() {
    let out = Fixture::sh("cat /proc/self/mountinfo").output();
    let mounts: Vec<(String, String, String)> = out
        .lines()
        .map(|line| {
            let (left, right) = line.split_once(" - ").expect("mountinfo");
            let left: Vec<_> = left.split(' ').collect();
            (left[4].to_owned(), left[5].to_owned(), right.split(' ').next().expect("type").to_owned())
        })
        .collect();
    let has = |path: &str, options: &str, kind: &str| {
        let found = mounts.iter().rfind(|(p, _, _)| p == path).unwrap_or_else(|| panic!("no {path} in {out}"));
        assert_eq!((found.1.as_str(), found.2.as_str()), (options, kind), "{path}");
    };
    has("/", "rw,relatime", "overlay");
    has("/proc", "rw,nosuid,nodev,noexec,relatime", "proc");
    has("/dev", "rw,nosuid", "tmpfs");
    has("/dev/pts", "rw,nosuid,noexec,relatime", "devpts");
    has("/sys", "ro,nosuid,nodev,noexec,relatime", "sysfs");
    has("/dev/mqueue", "rw,nosuid,nodev,noexec,relatime", "mqueue");
    has("/dev/shm", "rw,nosuid,nodev,noexec,relatime", "tmpfs");
    has("/proc/sys", "ro,nosuid,nodev,noexec,relatime", "proc");
    has("/proc/keys", "rw,nosuid", "tmpfs");
    has("/sys/firmware", "ro,relatime", "tmpfs");
    assert!(!out.contains("/work/") && !out.contains("/dev/vda"), "nothing of the host is left: {out}");
}

fn privileges_of_root_and_of_a_user() {
    let status = |fixture: &Fixture| -> BTreeMap<String, String> {
        let out = fixture.output();
        out.lines().filter_map(|l| l.split_once(':')).map(|(k, v)| (k.into(), v.trim().into())).collect()
    };
    let mut fixture = Fixture::sh("cat /proc/self/status; umask >&2");
    let root = status(&fixture);
    let docker = "00000000a80425fb";
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(root[set], docker, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(root[set], "0000000000000000", "{set}");
    }
    assert_eq!(
        (root["NoNewPrivs"].as_str(), root["Seccomp"].as_str(), root["SigIgn"].as_str()),
        ("0", "0", "0000000000000000")
    );
    assert_eq!((root["SigBlk"].as_str(), root["Umask"].as_str()), ("0000000000000000", "0022"));
    fixture.plan.process.user = "app".into();
    fixture.plan.process.no_new_privileges = true;
    fixture.plan.process.seccomp = true;
    fixture.seccomp = filter();
    let app = status(&fixture);
    assert_eq!((app["CapEff"].as_str(), app["CapBnd"].as_str()), ("0000000000000000", docker));
    assert_eq!((app["Uid"].as_str(), app["Gid"].as_str()), ("1000\t1000\t1000\t1000", "1001\t1001\t1001\t1001"));
    assert_eq!(app["Groups"], "50 1001");
    assert_eq!((app["NoNewPrivs"].as_str(), app["Seccomp"].as_str()), ("1", "2"));
}

fn filter() -> Vec<u8> {
    gantry_runtime::seccomp::compile(None, gantry_runtime::capabilities::DEFAULT).expect("a filter").to_vec()
}

fn the_filter_is_installed_without_no_new_privileges() {
    let mut fixture =
        Fixture::sh("grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; mount -t tmpfs x /mnt 2>&1; true");
    fixture.plan.process.seccomp = true;
    fixture.seccomp = filter();
    let out = fixture.output();
    assert!(out.starts_with("NoNewPrivs:\t0\nSeccomp:\t2\n") && out.contains("denied"), "{out}");
}

fn namespaces_are_new() {
    let fixture = Fixture::sh(
        "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; hostname; echo $$; ip -o link",
    );
    let out = fixture.output();
    let lines: Vec<_> = out.lines().collect();
    for (n, name) in ["pid", "net", "ipc", "uts", "mnt"].iter().enumerate() {
        let own = fs::read_link(format!("/proc/self/ns/{name}")).expect("own namespace");
        assert_ne!(Path::new(lines[n]), own, "{name}");
    }
    assert_eq!(Path::new(lines[5]), fs::read_link("/proc/self/ns/cgroup").expect("own namespace"));
    assert_eq!(&lines[6..8], ["testhost", "1"]);
    assert!(lines[8].contains("LOOPBACK,UP") && lines.len() == 9, "{out}");
}

fn namespaces_of_the_host_and_of_another_container() {
    let other = Fixture::new(&["/bin/sleep", "100"]);
    let running = other.start().expect("started");
    let pid = running.child.pid();
    let of = Namespace::Of { pid, start_time: gantry_runtime::container::start_time(pid).expect("alive") };
    let mut fixture = Fixture::sh("for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; ls /proc");
    let names = &mut fixture.plan.namespaces;
    (names.pid, names.net, names.ipc, names.uts) = (of.clone(), of.clone(), of, Namespace::Host);
    fixture.plan.hostname = None;
    let own = fs::read_link("/proc/self/ns/pid").expect("own");
    let out = fixture.output();
    let lines: Vec<_> = out.lines().collect();
    for (n, name) in ["pid", "net", "ipc"].iter().enumerate() {
        assert_eq!(Path::new(lines[n]), fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("its namespace"));
    }
    assert_eq!(Path::new(lines[3]), fs::read_link("/proc/self/ns/uts").expect("own namespace"));
    assert_eq!(own, fs::read_link("/proc/self/ns/pid_for_children").expect("own"), "the caller's is restored");
    fixture.plan.namespaces.net = Namespace::Of { pid, start_time: 1 };
    assert_eq!(failure(&fixture).stage, Stage::State);
    running.kill();
}

fn failure(fixture: &Fixture) -> Failure {
    let Err(failure) = fixture.start() else { panic!("it started") };
    failure
}

fn failures_are_typed() {
    let expect = |fixture: &Fixture, stage: Stage, message: &str| {
        let failure = failure(fixture);
        assert_eq!((failure.stage, failure.message.as_str()), (stage, message));
    };
    let missing = "exec: \"foo\": executable file not found in $PATH";
    expect(&Fixture::new(&["foo"]), Stage::NotFound, missing);
    expect(&Fixture::new(&["/foo"]), Stage::NotFound, "exec: \"/foo\": stat /foo: no such file or directory");
    expect(&Fixture::new(&["/etc/passwd"]), Stage::NotExecutable, "exec: \"/etc/passwd\": permission denied");
    let mut fixture = Fixture::new(&["true"]);
    fixture.plan.process.user = "nobody-here".into();
    expect(&fixture, Stage::User, "unable to find user nobody-here: no matching entries in passwd file");
    fixture.plan.process.user = "app:nogroup".into();
    expect(&fixture, Stage::User, "unable to find group nogroup: no matching entries in group file");
    fixture.plan.process.user = String::new();
    fixture.plan.process.cwd = "/etc/passwd".into();
    expect(&fixture, Stage::WorkingDir, "Cannot mkdir: /etc/passwd is not a directory");
    fixture.plan.process.cwd = "/".into();
    fixture.plan.mounts.push(bind(Path::new("/no/such/source"), "/x"));
    assert_eq!(failure(&fixture).stage, Stage::Mount);
    fixture.plan.mounts.pop();
    let script = fixture.dir.path().join("lower/script");
    fs::write(&script, "#!/no/interpreter\n").expect("write");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    fixture.plan.process.args = vec!["/script".into()];
    expect(&fixture, Stage::NotFound, "exec /script: no such file or directory");
    fs::write(&script, "no format").expect("write");
    expect(&fixture, Stage::NotExecutable, "exec /script: exec format error");
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        source: MountSource::Bind { path: source.into(), recursive: true, recursive_readonly: false },
        target: target.into(),
        flags: MountFlags::default(),
        propagation: Propagation::RPrivate,
        shifted: false,
    }
}

fn binds_and_tmpfs() {
    let mut fixture = Fixture::sh(
        "cat /etc/hosts /data/file; echo w >/data/w; (echo x >/ro/x) 2>&1; stat -c %a /tmpdir; grep -c tmpdir /proc/mounts; ls /made/deep",
    );
    let host = fixture.dir.path().join("host");
    fs::create_dir_all(host.join("sub")).expect("mkdir");
    fs::write(host.join("file"), "data\n").expect("write");
    let hosts = fixture.dir.path().join("hosts");
    fs::write(&hosts, "hosts\n").expect("write");
    fs::create_dir(fixture.dir.path().join("lower/tmpdir")).expect("mkdir");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions(fixture.dir.path().join("lower/tmpdir"), mode).expect("chmod");
    let mut ro = bind(&host, "/ro");
    ro.flags.readonly = true;
    let tmpfs = Mount {
        source: MountSource::Fs { kind: "tmpfs".into(), options: vec!["size=1m".into()] },
        target: "/tmpdir".into(),
        flags: MountFlags { nosuid: true, ..MountFlags::default() },
        propagation: Propagation::Private,
        shifted: false,
    };
    fixture.plan.mounts.extend([
        bind(&hosts, "/etc/hosts"),
        bind(&host, "/data"),
        ro,
        tmpfs,
        bind(&host, "/made/deep"),
    ]);
    let out = fixture.output();
    let expected = "hosts\ndata\n/bin/sh: can't create /ro/x: Read-only file system\n1777\n1\nfile\nsub\nw\n";
    assert_eq!(out, expected);
    assert_eq!(fs::read_to_string(host.join("w")).expect("written"), "w\n");
}

/// CVE-2019-19921, CVE-2021-30465: targets behind links end up inside, or nowhere.
fn links_in_the_way_of_mounts() {
    let mut fixture = Fixture::sh("ls /inside; cat /proc/self/stat >/dev/null");
    let lower = fixture.dir.path().join("lower");
    let escape = fixture.dir.path().join("escape");
    fs::create_dir(&escape).expect("mkdir");
    symlink("../../../../../../inside", lower.join("vol")).expect("symlink");
    symlink(&escape, lower.join("absolute")).expect("symlink");
    let host = fixture.dir.path().join("host");
    fs::create_dir(&host).expect("mkdir");
    fs::write(host.join("file"), "").expect("write");
    fixture.plan.mounts.extend([bind(&host, "/vol"), bind(&host, "/absolute/deep")]);
    assert_eq!(fixture.output(), "file\n");
    assert_eq!(fs::read_dir(&escape).expect("still there").count(), 0);

    let fixture = Fixture::new(&["true"]);
    symlink("/tmp", fixture.dir.path().join("lower/proc")).expect("symlink");
    assert_eq!(failure(&fixture).stage, Stage::Mount);
}

/// CVE-2025-31133: a false /dev/null covers nothing.
fn a_false_dev_null_masks_nothing() {
    let mut fixture = Fixture::new(&["true"]);
    let dev = fixture.dir.path().join("dev");
    fs::create_dir(&dev).expect("mkdir");
    fs::write(dev.join("null"), "false").expect("write");
    fixture.plan.mounts.retain(|m| !m.target.starts_with("/dev"));
    fixture.plan.mounts.push(bind(&dev, "/dev"));
    let failure = failure(&fixture);
    assert_eq!(failure.stage, Stage::Mount, "{failure}");
}

/// CVE-2024-21626: no descriptor of the host's is there to go through.
fn no_descriptor_leaks() {
    let fixture = Fixture::sh("ls /proc/self/fd; ls /proc/1/fd; true");
    let _leaked = fs::File::open("/").expect("open");
    let raw = rustix::io::dup(fs::File::open("/").expect("open")).expect("dup");
    rustix::io::fcntl_setfd(&raw, rustix::io::FdFlags::empty()).expect("fcntl");
    let out = fixture.output();
    // 3 is ls' own on the directory.
    assert_eq!(out, "0\n1\n2\n3\n0\n1\n2\n", "{out}");
    let mut fixture = Fixture::new(&["/bin/pwd"]);
    for fd in 3..12 {
        fixture.plan.process.cwd = format!("/proc/self/fd/{fd}").into();
        fixture.plan.process.create_cwd = false;
        match fixture.run() {
            Err(failure) => assert_eq!(failure.stage, Stage::WorkingDir, "{failure}"),
            // The set-up's own descriptor of the container's root is no way out.
            Ok((_, out, _)) => assert_eq!(out, "/\n", "descriptor {fd}"),
        }
    }
}

fn masked_and_readonly_paths() {
    let fixture = Fixture::sh(
        "cat /proc/keys; ls /sys/firmware; (echo x >/proc/sys/kernel/domainname) 2>&1; touch /sys/firmware/x 2>&1",
    );
    let (status, out, _) = fixture.run().expect("started");
    assert_eq!((status, out.lines().count(), out.matches("Read-only file system").count()), (1, 2, 2), "{out}");
}

fn devices_are_made_and_limited() {
    let mut fixture = Fixture::sh(
        "stat -c '%n %t:%T %a' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/mine; for l in ptmx fd stdin; do readlink /dev/$l; done; mknod /k b 254 0; dd if=/k of=/dev/null count=1 2>&1 | grep -o 'not permitted'",
    );
    fixture.plan.devices.push(gantry_runtime::spec::Device {
        path: "/dev/mine".into(),
        block: false,
        major: 10,
        minor: 229,
        mode: 0o660,
        uid: 0,
        gid: 5,
    });
    let out = fixture.output();
    let expected = "/dev/null 1:3 666\n/dev/zero 1:5 666\n/dev/full 1:7 666\n/dev/random 1:8 666\n/dev/urandom 1:9 666\n\
        /dev/tty 5:0 666\n/dev/mine a:e5 660\npts/ptmx\n/proc/self/fd\n/proc/self/fd/0\nnot permitted\n";
    assert_eq!(out, expected);
}

fn working_directory_and_environment() {
    let mut fixture = Fixture::sh("pwd; echo $HOME; stat -c '%U %a' .");
    fixture.plan.process.cwd = "/made/here".into();
    fixture.plan.process.user = "app".into();
    assert_eq!(fixture.output(), "/made/here\n/home/app\nroot 755\n");
    fixture.plan.process.env.push("HOME=/other".into());
    fixture.plan.process.args = vec!["env".into()];
    assert!(fixture.output().contains("HOME=/other\n"));
}

fn readonly_root_and_sysctls() {
    let mut fixture =
        Fixture::sh("touch /x 2>&1; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; touch /dev/x");
    fixture.plan.rootfs.readonly = true;
    fixture.plan.sysctls = vec![("net.ipv4.ip_forward".into(), "1".into()), ("kernel.msgmax".into(), "1234".into())];
    assert_eq!(fixture.output(), "touch: /x: Read-only file system\n1\n1234\n");
    fixture.plan.sysctls = vec![("kernel.no_such".into(), "1".into())];
    assert!(failure(&fixture).message.starts_with("write sysctl kernel.no_such=1:"));
}

fn limits() {
    let mut fixture =
        Fixture::sh("ulimit -n; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max");
    fixture.plan.process.rlimits = vec![Rlimit { resource: libc::RLIMIT_NOFILE as u32, soft: 100, hard: 200 }];
    fixture.plan.cgroup.resources.memory = Some(64 << 20);
    fixture.plan.cgroup.resources.pids = Some(50);
    assert_eq!(fixture.output(), "100\n67108864\n50\n");
}

fn a_terminal() {
    let mut fixture = Fixture::sh(
        "tty; stat -c %t:%T /dev/console; stty size; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo yes; echo x >/dev/tty",
    );
    fixture.plan.process.tty = true;
    fixture.plan.process.console_size = (33, 99);
    let (status, out, _) = fixture.run().expect("started");
    assert_eq!((status, out.replace('\r', "").as_str()), (0, "/dev/pts/0\n88:0\n33 99\nyes\nx\n"));
}

fn processes_join() {
    let fixture = Fixture::new(&["/bin/sleep", "100"]);
    let running = fixture.start().expect("started");
    let mut spec = process(&[
        "/bin/sh",
        "-c",
        "for n in pid net ipc uts mnt; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; id -u; ls /proc/self/fd",
    ]);
    let exec = running.exec(&fixture.plan, &spec, &[]).expect("started");
    let (status, out, err) = exec.finish();
    assert_eq!((status, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    for (n, name) in ["pid", "net", "ipc", "uts", "mnt"].iter().enumerate() {
        let its = fs::read_link(format!("/proc/{}/ns/{name}", running.child.pid())).expect("its namespace");
        assert_eq!(Path::new(lines[n]), its, "{name}");
    }
    let groups = lines[5..].iter().filter(|l| l.contains(':'));
    assert!(groups.clone().count() > 0 && groups.clone().all(|l| l.ends_with(&fixture.plan.cgroup.path)), "{out}");
    spec.args = vec!["/bin/sh".into(), "-c".into(), "tty; exit 3".into()];
    spec.tty = true;
    let (status, out, _) = running.exec(&fixture.plan, &spec, &[]).expect("started").finish();
    assert_eq!((status, out.as_str()), (3, "/dev/pts/0\r\n"));
    spec.cwd = "/no/such".into();
    spec.create_cwd = false;
    let Err(failure) = running.exec(&fixture.plan, &spec, &[]) else { panic!("it started") };
    let text = "chdir to cwd (\"/no/such\") set in config.json failed: no such file or directory";
    assert_eq!((failure.stage, failure.message.as_str()), (Stage::WorkingDir, text));
    running.kill();
}

fn the_init_reaps_and_forwards() {
    let mut fixture = Fixture::sh(
        "trap 'exit 9' TERM; (sleep 0.1; exit 0) & echo $$; cat /proc/1/comm; kill -TERM 1; while :; do sleep 0.01; done",
    );
    fixture.plan.init = true;
    let (status, out, err) = fixture.run().expect("started");
    assert_eq!((status, err.as_str()), (9, ""));
    let lines: Vec<_> = out.lines().collect();
    assert_ne!(lines[0], "1");
    assert_eq!(lines[1], "docker-init");
    fixture.plan.process.args = vec!["/no-such".into()];
    assert_eq!(failure(&fixture).stage, Stage::NotFound);
}

fn pause_kill_and_leave_nothing() {
    let fixture = Fixture::sh("sleep 100 & sleep 100 & sleep 100");
    let running = fixture.start().expect("started");
    let cgroup = fixture.cgroup();
    cgroup.freeze().expect("freeze");
    assert!(cgroup.is_frozen().expect("state"));
    cgroup.thaw().expect("thaw");
    assert!(!cgroup.is_frozen().expect("state"));
    assert!(cgroup.pids().expect("pids").contains(&running.child.pid()));
    cgroup.freeze().expect("freeze");
    cgroup.kill_all().expect("kill");
    assert_eq!(common::reap(&running.child), 128 + 9);
    cgroup.remove().expect("empty");
    assert!(!cgroup.exists());
    assert_eq!(cgroup.oom_kills().expect("gone is zero"), 0);
}

fn out_of_memory_is_noticed() {
    let mut fixture = Fixture::sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=50");
    fixture.plan.cgroup.resources.memory = Some(8 << 20);
    fixture.plan.cgroup.resources.memory_swap = Some(8 << 20);
    let running = fixture.start().expect("started");
    let events = fixture.cgroup().oom_events().expect("events").expect("a memory controller");
    let (status, _, _) = running.finish();
    assert_ne!(status, 0);
    assert!(fixture.cgroup().oom_kills().expect("count") > 0);
    // The kernel tells after the kill, not with it.
    let mut ready = [PollFd::new(&events, PollFlags::IN)];
    assert_eq!(poll(&mut ready, Some(&Timespec { tv_sec: 10, tv_nsec: 0 })).expect("poll"), 1);
    let mut buffer = [0; 4096];
    assert!(rustix::io::read(&events, &mut buffer[..]).expect("readable") > 0);
}

fn the_network_is_waited_for() {
    let mut fixture = Fixture::sh("ip -o -4 addr | grep -o 'eth0 .*'; ip route");
    fixture.plan.wait_for_network = true;
    let running = fixture.start_with(|child| {
        let pid = child.pid().to_string();
        let peer = format!("rt{pid}");
        let add = ["link", "add", "eth0", "netns", &pid, "type", "veth", "peer", "name", &peer];
        let status = std::process::Command::new("ip").args(add).status().expect("iproute2");
        assert!(status.success());
        assert!(child.netns().is_ok());
        let interface = ContainerInterface {
            name: "eth0".into(),
            addresses: vec![([10, 77, 0, 2].into(), 24)],
            settings: vec![("ipv6/conf/eth0/disable_ipv6".into(), "1".into())],
        };
        let routes = vec![ContainerRoute::default_by("eth0", [10, 77, 0, 1].into())];
        child.go(&ContainerNet { interfaces: vec![interface], routes }).expect("go");
    });
    let (status, out, err) = running.expect("started").finish();
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.starts_with("eth0    inet 10.77.0.2/24 brd 10.77.0.255 scope global eth0"), "{out}");
    assert!(out.contains("default via 10.77.0.1 dev eth0"), "{out}");
}

/// A parent that dies during the set-up takes the child with it.
fn no_program_runs_without_a_parent() {
    let mut fixture = Fixture::sh("touch /data/ran");
    let host = fixture.dir.path().join("host");
    fs::create_dir(&host).expect("mkdir");
    fixture.plan.mounts.push(bind(&host, "/data"));
    fixture.plan.wait_for_network = true;
    let shim = gantry_linux::process::clone_child(0, None, || {
        let child = gantry_runtime::container::create(&fixture.plan, &[], StdioFds::default()).expect("created");
        std::mem::forget(child);
        0
    })
    .expect("cloned");
    let id = rustix::process::WaitId::PidFd(std::os::fd::AsFd::as_fd(&shim.pidfd));
    rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED).expect("waited");
    let cgroup = fixture.cgroup();
    while !cgroup.pids().expect("pids").is_empty() {
        std::thread::yield_now();
    }
    assert!(!host.join("ran").exists());
}

/// CVE-2019-5736 and its like: what runs before the program is out of the container's sight. (With
/// `CAP_SYS_PTRACE` it is not: there the sealed memfd is what protects the shim's program.)
fn the_exec_child_is_not_open_to_the_container() {
    let script = "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || readlink $p/exe; done; done";
    let fixture = Fixture::sh(script);
    let running = fixture.start().expect("started");
    for _ in 0..50 {
        running.exec(&fixture.plan, &process(&["true"]), &[]).expect("started").finish();
    }
    gantry_linux::process::pidfd_kill(running.child.pidfd(), libc::SIGKILL).expect("kill");
    let (_, out, _) = running.finish();
    let own = std::env::current_exe().expect("own path");
    let own = own.file_name().and_then(|n| n.to_str()).expect("a name");
    assert!(!out.contains(own), "the runtime's program was seen");
}

fn an_exec_has_the_containers_confinement() {
    let mut fixture = Fixture::new(&["/bin/sleep", "100"]);
    fixture.plan.mounts[0].flags.readonly = false;
    let running = fixture.start().expect("started");
    let mut spec =
        process(&["/bin/sh", "-c", "grep -E '^(CapEff|CapBnd|Seccomp|NoNewPrivs):' /proc/self/status; id; echo $HOME"]);
    spec.user = "app:staff".into();
    spec.additional_groups = vec!["77".into()];
    spec.seccomp = true;
    let (status, out, err) = running.exec(&fixture.plan, &spec, &filter()).expect("started").finish();
    assert_eq!((status, err.as_str()), (0, ""));
    let expected = "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n\
        uid=1000(app) gid=50(staff) groups=50(staff),77\n/home/app\n";
    assert_eq!(out, expected);
    running.kill();
}

fn main() {
    run_cases(&[
        ("status_and_streams", status_and_streams),
        ("docker_default_mounts", docker_default_mounts),
        ("privileges_of_root_and_of_a_user", privileges_of_root_and_of_a_user),
        ("the_filter_is_installed_without_no_new_privileges", the_filter_is_installed_without_no_new_privileges),
        ("namespaces_are_new", namespaces_are_new),
        ("namespaces_of_the_host_and_of_another_container", namespaces_of_the_host_and_of_another_container),
        ("failures_are_typed", failures_are_typed),
        ("binds_and_tmpfs", binds_and_tmpfs),
        ("links_in_the_way_of_mounts", links_in_the_way_of_mounts),
        ("a_false_dev_null_masks_nothing", a_false_dev_null_masks_nothing),
        ("no_descriptor_leaks", no_descriptor_leaks),
        ("masked_and_readonly_paths", masked_and_readonly_paths),
        ("devices_are_made_and_limited", devices_are_made_and_limited),
        ("working_directory_and_environment", working_directory_and_environment),
        ("readonly_root_and_sysctls", readonly_root_and_sysctls),
        ("limits", limits),
        ("a_terminal", a_terminal),
        ("processes_join", processes_join),
        ("the_init_reaps_and_forwards", the_init_reaps_and_forwards),
        ("pause_kill_and_leave_nothing", pause_kill_and_leave_nothing),
        ("out_of_memory_is_noticed", out_of_memory_is_noticed),
        ("the_network_is_waited_for", the_network_is_waited_for),
        ("no_program_runs_without_a_parent", no_program_runs_without_a_parent),
        ("the_exec_child_is_not_open_to_the_container", the_exec_child_is_not_open_to_the_container),
        ("an_exec_has_the_containers_confinement", an_exec_has_the_containers_confinement),
    ]);
}
