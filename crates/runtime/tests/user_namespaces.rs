//! Containers with a user namespace, as root: whose ids their processes and files have, inside and on the host.

mod common;

use common::{Fixture, process, run_cases};
use gantry_model::IdMaps;
use gantry_model::id_map::{IdMap, IdRange};
use gantry_runtime::spec::{Mount, MountFlags, MountSource, Namespace, Propagation, UserNamespace};
use gantry_runtime::view::{self, Origin, Shift, Wanted};
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const FIRST: u32 = 231_072;

fn ids() -> IdMaps {
    let map = IdMap(vec![IdRange { inside: 0, outside: FIRST, count: 65536 }]);
    IdMaps { uids: map.clone(), gids: map }
}

fn remapped(script: &str) -> Fixture {
    let mut fixture = Fixture::sh(script);
    fixture.plan.user_namespace = Some(UserNamespace { source: Namespace::New, ids: ids() });
    fixture
}

fn bind(source: &Path, target: &str, shifted: bool, readonly: bool) -> Mount {
    Mount {
        source: MountSource::Bind { path: source.to_owned(), recursive: true, recursive_readonly: false },
        target: target.into(),
        flags: MountFlags { readonly, ..MountFlags::default() },
        propagation: Propagation::RPrivate,
        shifted,
    }
}

fn root_is_nobody_on_the_host() {
    let fixture = remapped(
        "cat /proc/self/uid_map /proc/self/gid_map; id; read x < /dev/stdin; echo again > /dev/stdout; sleep 1000",
    );
    let running = fixture.start().expect("started");
    let pid = running.child.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let owner = format!("{FIRST}\t{FIRST}\t{FIRST}\t{FIRST}");
    assert!(status.contains(&format!("Uid:\t{owner}")) && status.contains(&format!("Gid:\t{owner}")), "{status}");
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", &FIRST.to_string(), "65536"]);
    for namespace in ["user", "mnt", "pid", "net", "ipc", "uts"] {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{namespace}")).expect("namespace");
        assert_ne!(theirs, fs::read_link(format!("/proc/self/ns/{namespace}")).expect("own"), "{namespace}");
    }
    let exec = |args: &[&str], user: &str| {
        let mut spec = process(args);
        spec.user = user.into();
        running.exec(&fixture.plan, &spec, &[]).expect("exec").finish()
    };
    let (code, out, err) = exec(&["/bin/sh", "-c", "id; touch /made; echo x > /dev/stdout; ls -ln /made"], "");
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.starts_with("uid=0(root) gid=0(root)") && out.contains("\nx\n") && out.contains(" 0        0 "),
        "{out}"
    );
    let (_, out, _) = exec(&["/bin/id"], "app");
    assert!(out.starts_with("uid=1000(app) gid=1001(app)"), "{out}");
    // On the disk files have the ids of the container, whatever it is mapped to.
    let made = fs::metadata(fixture.plan.rootfs.upper.join("made")).expect("made");
    assert_eq!((made.uid(), made.gid()), (0, 0));
    running.kill();
}

fn a_shell_sees_its_own_files() {
    let fixture = remapped(
        "ls -lnd / /bin/busybox /dev /dev/null /dev/shm /dev/mqueue /proc/1 | sed 's/  */ /g' | cut -d' ' -f3,4 | sort -u; \
         mkdir /d && chown 1000:1001 /d && ls -lnd /d | sed 's/  */ /g' | cut -d' ' -f3,4; hostname; echo x > /dev/null; head -c 1 /dev/zero | wc -c",
    );
    let mut fixture = fixture;
    for applet in ["sed", "cut", "sort", "chown", "mkdir", "head", "wc"] {
        std::os::unix::fs::symlink("busybox", fixture.dir.path().join("lower/bin").join(applet)).expect("symlink");
    }
    fixture.plan.process.cwd = "/made/by/the/engine".into();
    assert_eq!(fixture.output(), "0 0\n1000 1001\ntesthost\n1\n");
    let made = fs::metadata(fixture.plan.rootfs.upper.join("made/by/the/engine")).expect("made");
    assert_eq!((made.uid(), made.gid()), (0, 0));
}

fn binds_are_the_hosts_and_volumes_the_containers() {
    let mut fixture =
        remapped("ls -ln /bind /volume; echo v > /volume/new; echo b > /bind/new 2>/dev/null || echo refused");
    for (name, mode) in [("bind", 0o755), ("volume", 0o755)] {
        let dir = fixture.dir.path().join(name);
        fs::create_dir(&dir).expect("mkdir");
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).expect("chmod");
        fs::write(dir.join("file"), "").expect("write");
        fixture.plan.mounts.push(bind(&dir, &format!("/{name}"), name == "volume", false));
    }
    chown(fixture.dir.path().join("bind/file"), Some(FIRST + 5), Some(FIRST + 6)).expect("chown");
    let out = fixture.output();
    let owners: Vec<(&str, &str)> = out
        .lines()
        .filter(|l| l.ends_with(" file"))
        .map(|l| {
            let words: Vec<&str> = l.split_whitespace().collect();
            (words[2], words[3])
        })
        .collect();
    assert_eq!(owners, [("5", "6"), ("0", "0")], "{out}");
    assert!(out.ends_with("refused\n"), "{out}");
    assert_eq!(fs::metadata(fixture.dir.path().join("volume/new")).expect("made").uid(), 0);
}

fn nothing_can_be_uncovered_with_every_capability() {
    let mut fixture = remapped(
        "umount /proc/keys && echo uncovered; umount -l /proc/keys && echo uncovered; umount /dev/shm && echo unmounted; \
         mount -o remount,rw,bind /data && echo remounted; echo x > /data/x && echo written; \
         mount -o remount,rw,bind /proc/sys && echo remounted; mount -o remount,bind,exec /dev/mqueue && echo remounted; \
         mknod /n c 1 1 && echo made; mkdir -p /m; mount -t tmpfs t /m && echo own; true",
    );
    for applet in ["umount", "mkdir"] {
        std::os::unix::fs::symlink("busybox", fixture.dir.path().join("lower/bin").join(applet)).expect("symlink");
    }
    let data = fixture.dir.path().join("data");
    fs::create_dir(&data).expect("mkdir");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).expect("chmod");
    fixture.plan.mounts.push(bind(&data, "/data", false, true));
    let all = gantry_runtime::capabilities::available().expect("capabilities");
    let caps = &mut fixture.plan.process.capabilities;
    (caps.bounding, caps.effective, caps.permitted) = (all, all, all);
    let (code, out, err) = fixture.run().expect("started");
    assert_eq!((code, out.as_str()), (0, "own\n"), "{err}");
}

fn parameters_names_and_limits() {
    let mut fixture =
        remapped("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range; ulimit -n");
    fixture.plan.sysctls = vec![
        ("net.ipv4.ip_unprivileged_port_start".into(), "0".into()),
        ("net.ipv4.ping_group_range".into(), "0 1".into()),
    ];
    fixture.plan.process.rlimits = vec![gantry_runtime::spec::Rlimit { resource: 7, soft: 100, hard: 200 }];
    fixture.plan.oom_score_adj = Some(500);
    assert_eq!(fixture.output(), "0\n0\t1\n100\n");
}

fn a_terminal() {
    let mut fixture = remapped("tty; stat -c '%u %g %a' $(tty) /dev/console; echo to the console > /dev/console");
    fixture.plan.process.tty = true;
    let (code, out, _) = fixture.run().expect("started");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("/dev/pts/0\r\n0 5 620\r\n0 5 620\r\n") && out.contains("to the console"), "{out}");
}

fn with_init_and_users() {
    let mut fixture = remapped("id -u; cat /proc/1/cmdline; exit 3");
    fixture.plan.init = true;
    fixture.plan.process.user = "app:staff".into();
    let (code, out, err) = fixture.run().expect("started");
    assert!(code == 3 && out.starts_with("1000\n/sbin/docker-init\0--\0"), "{code} {out} {err}");
    // A number that the namespace does not have.
    let mut fixture = remapped("true");
    fixture.plan.process.user = "100000".into();
    assert!(fixture.start().is_err());
}

fn another_container_shares_them() {
    let other = remapped("sleep 1000");
    let running = other.start().expect("started");
    let pid = running.child.pid();
    let of = Namespace::Of { pid, start_time: gantry_runtime::container::start_time(pid).expect("alive") };
    let mut fixture = remapped(
        "for n in user net ipc pid uts; do readlink /proc/self/ns/$n; done; touch /x; stat -c %u /x; hostname new && hostname",
    );
    let caps = &mut fixture.plan.process.capabilities;
    let admin = gantry_runtime::capabilities::SYS_ADMIN;
    (caps.bounding, caps.effective, caps.permitted) =
        (caps.bounding | admin, caps.effective | admin, caps.permitted | admin);
    fixture.plan.user_namespace = Some(UserNamespace { source: of.clone(), ids: ids() });
    fixture.plan.namespaces.net = of;
    let out = fixture.output();
    let lines: Vec<&str> = out.lines().collect();
    for (n, name) in [(0, "user"), (1, "net")] {
        assert_eq!(Path::new(lines[n]), fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("its"), "{name}");
    }
    for (n, name) in [(2, "ipc"), (3, "pid"), (4, "uts")] {
        assert_ne!(Path::new(lines[n]), fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("its"), "{name}");
    }
    assert_eq!(&lines[5..], ["0", "new"]);
    running.kill();
}

fn a_running_container_is_looked_into() {
    let mut fixture = remapped("echo data > /file; touch /ready; sleep 1000");
    let volume = fixture.dir.path().join("volume");
    fs::create_dir(&volume).expect("mkdir");
    fs::write(volume.join("inside"), "").expect("write");
    fixture.plan.mounts.push(bind(&volume, "/vol", true, false));
    let mut running = fixture.start().expect("started");
    // As the shim does: this process is the keeper.
    let _mounts = running.child.take_mounts().expect("the mounts");
    let pid = running.child.pid();
    while !fixture.plan.rootfs.upper.join("ready").exists() {
        std::thread::yield_now();
    }
    let user = File::open(format!("/proc/{pid}/ns/user")).expect("user namespace");
    let place = fixture.dir.path().join("place");
    fs::create_dir(&place).expect("mkdir");
    let start_time = gantry_runtime::container::start_time(pid).expect("alive");
    let binds = [bind(&volume, "/vol", true, false)];
    let shift = Some(Shift { user: user.as_fd(), root: (FIRST, FIRST) });
    let origin = Origin::Running { pid, start_time, keeper: Some(std::process::id()) };
    let wanted = Wanted { origin, readonly: false, binds: &binds, place: &place, shift };
    let (owners, proc_is_empty) = view::within(&wanted, |root| {
        let stat = |path: &str| rustix::fs::statat(root, path, rustix::fs::AtFlags::empty()).expect(path).st_uid;
        let proc = rustix::fs::openat(root, "proc/self", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        for path in ["from-outside", "vol/from-outside"] {
            rustix::fs::openat(root, path, flags, rustix::fs::Mode::RUSR).expect(path);
        }
        ([stat("file"), stat("vol/inside"), stat("bin/busybox"), stat("from-outside")], proc.is_err())
    })
    .expect("a view");
    assert_eq!((owners, proc_is_empty), ([FIRST; 4], true));
    let (_, out, _) = running
        .exec(&fixture.plan, &process(&["/bin/stat", "-c", "%u", "/from-outside", "/vol/from-outside"]), &[])
        .expect("exec")
        .finish();
    assert_eq!(out, "0\n0\n");
    running.kill();
}

fn failures_leave_nothing() {
    let mut fixture = remapped("true");
    fixture.plan.mounts.push(bind(Path::new("/no/such/source"), "/x", false, false));
    let failure = fixture.start().map(|_| ()).expect_err("it cannot start");
    assert!(failure.message.contains("/no/such/source"), "{failure:?}");
    let mut fixture = remapped("true");
    fixture.plan.process.args = vec!["/no/such/program".into()];
    let failure = fixture.start().map(|_| ()).expect_err("it cannot start");
    assert_eq!(failure.stage, gantry_runtime::failure::Stage::NotFound, "{failure:?}");
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).expect("children");
    assert_eq!(children, "");
}

fn main() {
    run_cases(&[
        ("root_is_nobody_on_the_host", root_is_nobody_on_the_host),
        ("a_shell_sees_its_own_files", a_shell_sees_its_own_files),
        ("binds_are_the_hosts_and_volumes_the_containers", binds_are_the_hosts_and_volumes_the_containers),
        ("nothing_can_be_uncovered_with_every_capability", nothing_can_be_uncovered_with_every_capability),
        ("parameters_names_and_limits", parameters_names_and_limits),
        ("a_terminal", a_terminal),
        ("with_init_and_users", with_init_and_users),
        ("another_container_shares_them", another_container_shares_them),
        ("a_running_container_is_looked_into", a_running_container_is_looked_into),
        ("failures_leave_nothing", failures_leave_nothing),
    ]);
}
