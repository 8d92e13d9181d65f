"""What a container may see and do: namespaces, paths, capabilities, seccomp, users, settings."""

import re

import pytest

from harness.engine import IMAGE, wait_until
from harness.sandbox import cgroup_v2

DEFAULT_CAPABILITIES = 0xA80425FB


def status(text, key):
    return re.search(rf"^{key}:\s*(.*)$", text, re.M)[1]


@pytest.mark.parametrize("kind", ["pid", "mnt", "net", "ipc", "uts"])
def test_namespaces(engine, kind):
    container = engine.start_container()
    inside = (engine.sandbox.proc(container.pid) / "ns" / kind).readlink()
    assert inside != (engine.sandbox.root / "proc/1/ns" / kind).readlink()
    assert str(inside) == container.exec(["readlink", f"/proc/1/ns/{kind}"])[1].strip()


def test_process_one(engine):
    assert engine.output("echo $$; ps -o pid,args | grep -v ps", network="none").splitlines()[0] == "1"


def test_nothing_of_the_host_in_proc(engine):
    out = engine.output("ls /proc | grep -E '^[0-9]+$' | wc -l")
    assert int(out) <= 5


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/acpi",
                                  "/proc/scsi", "/sys/firmware"])
def test_masked_paths(engine, path):
    """Absent on this kernel, an empty directory, or nothing to read."""
    out = engine.output(f"if [ -d {path} ]; then ls {path} | wc -l; elif [ -e {path} ]; then head -c 10 {path} | wc -c;"
                        " else echo 0; fi")
    assert out == "0\n"


@pytest.mark.parametrize("path", ["/proc/sys/kernel/hostname", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity",
                                  "/sys/kernel/uevent_helper", "/proc/bus/x"])
def test_read_only_paths(engine, path):
    code, _, err = engine.run(f"echo 1 > {path}")
    assert code != 0
    assert re.search("Read-only|nonexistent|No such|denied|not permitted", err)


def test_masked_and_read_only_paths_of_the_caller(engine):
    out = engine.output("cat /data/seed | wc -c; touch /home/x || echo refused", host={
        "MaskedPaths": ["/data/seed"], "ReadonlyPaths": ["/home"]})
    assert out == "0\nrefused\n"


def test_mounts(engine):
    text = engine.output(["cat", "/proc/self/mountinfo"])
    mounts = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        mounts[left.split()[4]] = (right.split()[0], set(left.split()[5].split(",")), right.split()[2])
    assert mounts["/"][0] == "overlay"
    assert mounts["/proc"][0] == "proc" and {"nosuid", "nodev", "noexec"} <= mounts["/proc"][1]
    assert mounts["/dev"][0] == "tmpfs" and "nosuid" in mounts["/dev"][1]
    assert mounts["/dev/pts"][0] == "devpts" and "gid=5" in mounts["/dev/pts"][2]
    assert mounts["/dev/shm"][0] == "tmpfs" and "size=65536k" in mounts["/dev/shm"][2]
    assert mounts["/dev/mqueue"][0] == "mqueue"
    assert mounts["/sys"][0] == "sysfs" and "ro" in mounts["/sys"][1]
    assert "/etc/hosts" in mounts and "/etc/hostname" in mounts and "/etc/resolv.conf" in mounts
    assert not any(str(engine.dir) in point for point in mounts)
    assert "shared:" not in text
    assert "master:" not in text or engine.is_reference


def test_cgroup_mounts(engine):
    text = engine.output(["cat", "/proc/self/mountinfo"])
    assert "/sys/fs/cgroup" in text
    out = engine.output("for d in /sys/fs/cgroup /sys/fs/cgroup/memory /sys/fs/cgroup/systemd; do mkdir $d/x 2>/dev/null"
                        " && echo made $d; done; true")
    # 20.10 leaves the tmpfs that holds the v1 hierarchies writable on hosts where it is.
    assert out == "" or (engine.is_reference and out == "made /sys/fs/cgroup\n")


def test_devices(engine):
    out = engine.output("cd /dev; for f in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' $f; done;"
                        " for f in fd stdin stdout stderr ptmx; do readlink $f; done; ls")
    lines = out.splitlines()
    assert lines[0] == "null character special file 1:3 666"
    assert lines[1] == "zero character special file 1:5 666"
    assert lines[6:11] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"]
    assert set(lines[11:]) - {"core"} == {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
                               "stdout", "tty", "urandom", "zero"}


def test_console_device(engine):
    container = engine.start_container("ls -l /dev/console; tty", Tty=True)
    container.wait()
    out = container.logs(tty=True)[0]
    assert "/dev/console" in out and "/dev/pts/0" in out


def test_devices_are_denied(engine):
    """mknod is allowed, opening what it made is not."""
    out = engine.output("mknod /tmp/mem c 1 1; probe open /tmp/mem; mknod /tmp/disk b 254 0; probe open /tmp/disk;"
                        " mknod /tmp/null c 1 3; probe open /tmp/null")
    assert out.split() == ["EPERM", "EPERM", "OK"]


def test_capabilities(engine):
    text = engine.output(["cat", "/proc/self/status"])
    for key in ("CapPrm", "CapEff", "CapBnd"):
        assert int(status(text, key), 16) == DEFAULT_CAPABILITIES, key
    assert int(status(text, "CapAmb"), 16) == 0
    assert status(text, "Seccomp") == "2"
    assert status(text, "NoNewPrivs") == "0"


def test_capabilities_of_a_user(engine):
    text = engine.output(["cat", "/proc/self/status"], User="alice")
    assert int(status(text, "CapEff"), 16) == int(status(text, "CapPrm"), 16) == 0
    assert int(status(text, "CapBnd"), 16) == DEFAULT_CAPABILITIES


@pytest.mark.parametrize("host, expected", [
    ({"CapAdd": ["NET_ADMIN"]}, DEFAULT_CAPABILITIES | 1 << 12), ({"CapAdd": ["CAP_SYS_PTRACE"]}, DEFAULT_CAPABILITIES | 1 << 19),
    ({"CapDrop": ["CHOWN"]}, DEFAULT_CAPABILITIES & ~1), ({"CapDrop": ["ALL"]}, 0),
    ({"CapDrop": ["all"], "CapAdd": ["kill"]}, 1 << 5), ({"CapDrop": ["ALL"], "CapAdd": ["NET_RAW", "CHOWN"]}, 1 << 13 | 1),
])
def test_capability_options(engine, host, expected):
    text = engine.output(["cat", "/proc/self/status"], host=host)
    assert int(status(text, "CapEff"), 16) == int(status(text, "CapBnd"), 16) == expected


def test_all_capabilities(engine):
    """Where the host lacks one (CAP_SYS_RESOURCE here), Docker refuses to start and Gantry warns and goes without."""
    mine = int(status(open("/proc/self/status").read(), "CapBnd"), 16)
    last = int(open("/proc/sys/kernel/cap_last_cap").read())
    container = engine.create(["cat", "/proc/self/status"], host={"CapAdd": ["ALL"]})
    whole = mine == (1 << last + 1) - 1
    if engine.is_reference and not whole:
        container.start(expect=(400, 500))
        return
    container.start()
    container.wait()
    assert int(status(container.logs()[0], "CapEff"), 16) == mine
    assert bool(container.warnings) != whole


def test_privileged(engine):
    mine = int(status(open("/proc/self/status").read(), "CapBnd"), 16)
    last = int(open("/proc/sys/kernel/cap_last_cap").read())
    whole = mine == (1 << last + 1) - 1
    container = engine.create("cat /proc/self/status; grep ' /sys ' /proc/self/mountinfo; ls /dev; echo x > /proc/sys/kernel/domainname"
                              " && echo wrote; mknod /tmp/loop c 10 237 && exec 3< /tmp/loop && echo opened", host={"Privileged": True})
    if engine.is_reference and not whole:
        container.start(expect=(400, 500))
        return
    container.start()
    container.wait()
    out = container.logs()[0]
    assert int(status(out, "CapEff"), 16) == mine
    assert status(out, "Seccomp") == "0"
    assert " /sys rw" in out and "wrote" in out and "opened" in out
    assert "kmsg" in out.split()
    assert bool(container.warnings) != whole


# x86-64 numbers; the arguments are nonsense that an allowed call would answer otherwise.
DENIED = {"mount": 165, "umount2": 166, "pivot_root": 155, "swapon": 167, "reboot": 169, "init_module": 175, "kexec_load": 246,
          "keyctl": 250, "add_key": 248, "request_key": 249, "unshare": 272, "setns": 308, "bpf": 321, "perf_event_open": 298,
          "userfaultfd": 323, "open_by_handle_at": 304, "acct": 163, "settimeofday": 164, "iopl": 172, "ioperm": 173,
          "quotactl": 179, "lookup_dcookie": 212, "move_pages": 279, "mbind": 237, "delete_module": 176, "open_tree": 428,
          "move_mount": 429, "fsopen": 430, "fsmount": 432, "fspick": 433, "mount_setattr": 442}
ALLOWED = {"getpid": 39, "openat2": 437, "close_range": 436, "pidfd_open": 434, "clone": 56, "io_destroy": 207, "faccessat2": 439,
           "rseq": 334, "memfd_create": 319, "copy_file_range": 326, "statx": 332, "epoll_pwait2": 441}
OLD = {"close_range", "faccessat2", "openat2", "pidfd_open", "epoll_pwait2"}


@pytest.mark.parametrize("name", DENIED)
def test_seccomp_denies(engine, name):
    arguments = {"unshare": "0x10000000"}.get(name, "-1 -1 -1")
    out = engine.output(f"probe syscall {DENIED[name]} {arguments}")
    assert out in ("-1 EPERM\n", "-1 ENOSYS\n"), out


@pytest.mark.parametrize("name", ALLOWED)
def test_seccomp_allows(engine, name):
    arguments = "17" if name == "clone" else "-1 -1 -1 -1"
    out = engine.output(f"probe syscall {ALLOWED[name]} {arguments}")
    assert "EPERM" not in out or (engine.is_reference and name in OLD), out


def test_seccomp_by_arguments(engine):
    """Namespaces may not be made by clone, clone3 is unknown so that libc falls back, some personalities are allowed."""
    assert engine.output("probe syscall 56 0x10000011 0 0 0 0") == "-1 EPERM\n"
    assert engine.output("probe syscall 435 0 0") == "-1 ENOSYS\n"
    assert engine.output("probe syscall 135 0") == "0 OK\n"
    assert engine.output("probe syscall 135 0x0200000") == "-1 EPERM\n"
    # AF_VSOCK, which newer profiles deny.
    assert engine.output("probe syscall 41 40 1 0") == ("0 OK\n" if engine.is_reference else "-1 EPERM\n")


def test_seccomp_by_capabilities(engine):
    """What a capability is for is allowed with it."""
    assert "EPERM" not in engine.output("probe syscall 310 1 0 0 0 0 0", host={"CapAdd": ["SYS_PTRACE"]})
    out = engine.output("mkdir -p /m; mount -t tmpfs none /m && echo mounted", host={"CapAdd": ["SYS_ADMIN"],
                                                                                 "SecurityOpt": ["apparmor=unconfined"]})
    assert out == "mounted\n"
    assert engine.output("probe syscall 56 0x10000011 0 0 0 0", host={"CapAdd": ["SYS_ADMIN"]}) == "0 OK\n"


def test_seccomp_unconfined(engine):
    text = engine.output(["cat", "/proc/self/status"], host={"SecurityOpt": ["seccomp=unconfined"]})
    assert status(text, "Seccomp") == "0"


def test_seccomp_profile_of_the_caller(engine):
    import json
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
               "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
                            {"names": ["getpriority"], "action": "SCMP_ACT_ERRNO",
                             "args": [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]}]}
    host = {"SecurityOpt": ["seccomp=" + json.dumps(profile)]}
    assert engine.output("probe syscall 83 0 0; probe syscall 140 0 7; probe syscall 140 0 0", host=host) == \
        "-1 EOPNOTSUPP\n-1 EPERM\n0 OK\n"


def test_bad_seccomp_profile(engine):
    answer = engine.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"SecurityOpt": ["seccomp={"]}})
    if answer.status == 201:
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start")
    assert answer.status >= 400
    assert "rofile" in answer.text or "seccomp" in answer.text


def test_seccomp_kills_a_foreign_abi(engine):
    """x32 numbers do not slip past the filter."""
    assert engine.output("probe syscall 0x400000a5 0 0 0 0 0") in ("-1 EPERM\n", "-1 ENOSYS\n")


@pytest.mark.parametrize("option", ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"])
def test_no_new_privileges(engine, option):
    text = engine.output(["cat", "/proc/self/status"], host={"SecurityOpt": [option]})
    assert status(text, "NoNewPrivs") == "1"


def test_read_only_root(engine):
    out = engine.output("touch /x || echo refused; touch /dev/shm/x && echo fine; echo x > /etc/hosts || echo hosts refused",
                        host={"ReadonlyRootfs": True})
    assert out == "refused\nfine\nhosts refused\n"


@pytest.mark.parametrize("user, expected", [
    ("", "uid=0(root) gid=0(root) groups=0(root)"), ("alice", "uid=1000(alice) gid=1000(alice) groups=10(wheel),29(audio),1000(alice)"),
    ("bob", "uid=1001(bob) gid=1001(bob) groups=29(audio),1001(bob)"), ("1000", None),
    ("alice:staff", "uid=1000(alice) gid=50(staff) groups=50(staff)"), ("4242", "uid=4242 gid=0(root) groups=0(root)"),
    ("4242:4343", "uid=4242 gid=4343 groups=4343"), ("1234", "uid=1234"), (":wheel", "uid=0(root) gid=10(wheel)"),
])
def test_users(engine, user, expected):
    out = engine.output(["id"], User=user)
    if expected:
        def canonical(text):
            head, _, groups = text.strip().partition(" groups=")
            return head, set(groups.split(",")) if groups else None
        head, groups = canonical(expected)
        got, got_groups = canonical(out)
        assert got.startswith(head), out
        if groups is not None:
            assert got_groups | {g for g in got_groups} >= groups and got_groups - groups <= {re.search(r"gid=(\S+)", got)[1]}, out


def test_group_add(engine):
    out = engine.output(["id", "-G"], User="alice", host={"GroupAdd": ["staff", "777"]}).split()
    assert {"50", "777", "1000"} <= set(out)


def test_home(engine):
    assert engine.output("echo $HOME", User="alice") == "/home/alice\n"
    assert engine.output("echo $HOME") == "/root\n"
    assert engine.output("echo $HOME", User="4242") == "/\n"
    assert engine.output("echo $HOME", Env=["HOME=/mine"]) == "/mine\n"


def test_working_directory_is_made(engine):
    assert engine.output("pwd; stat -c '%u %a' .", WorkingDir="/made/for/me") == "/made/for/me\n0 755\n"
    assert engine.output("pwd", WorkingDir="/data/../home/./alice/") == "/home/alice\n"


def test_environment(engine):
    out = engine.output(["env"], Env=["A=1", "B=x=y", "EMPTY=", "SPACE=a b"], Hostname="envhost").splitlines()
    assert {"A=1", "B=x=y", "EMPTY=", "SPACE=a b", "HOSTNAME=envhost"} <= set(out)
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in out
    assert not any(line.startswith("TERM=") for line in out)


def test_environment_with_a_terminal(engine):
    container = engine.start_container(["env"], Tty=True)
    container.wait()
    assert "TERM=xterm" in container.logs(tty=True)[0]


def test_hostname(engine):
    container = engine.create("hostname; cat /etc/hostname; cat /proc/sys/kernel/domainname", Hostname="myhost", Domainname="example.org")
    container.start()
    container.wait()
    lines = container.logs()[0].splitlines()
    assert lines[:2] in (["myhost", "myhost.example.org"], ["myhost", "myhost"])
    assert lines[2] == "example.org"
    plain = engine.create(["hostname"])
    plain.start()
    plain.wait()
    assert plain.logs()[0].strip() == plain.id[:12] == plain.inspect()["Config"]["Hostname"]


def test_hosts(engine):
    container = engine.start_container(network="bridge", Hostname="hosthost", host={"ExtraHosts": ["extra:1.2.3.4", "v6:::1"]})
    lines = [line.split() for line in container.exec(["cat", "/etc/hosts"])[1].splitlines()]
    assert ["127.0.0.1", "localhost"] in lines
    assert ["::1", "localhost", "ip6-localhost", "ip6-loopback"] in lines
    assert ["1.2.3.4", "extra"] in lines and ["::1", "v6"] in lines
    assert [container.ip, "hosthost"] in lines
    container.kill()


def test_host_gateway(engine):
    container = engine.start_container(network="bridge", host={"ExtraHosts": ["gate:host-gateway"]})
    assert "172.17.0.1\tgate" in container.exec(["cat", "/etc/hosts"])[1].replace(" ", "\t")
    container.kill()


def test_resolv_conf(engine):
    out = engine.output(["cat", "/etc/resolv.conf"], network="bridge", host={
        "Dns": ["10.1.2.3", "10.4.5.6"], "DnsSearch": ["example.org", "b.example"], "DnsOptions": ["ndots:3", "rotate"]})
    lines = [line for line in out.splitlines() if line and not line.startswith("#")]
    assert "nameserver 10.1.2.3" in lines and "nameserver 10.4.5.6" in lines
    assert "search example.org b.example" in lines and "options ndots:3 rotate" in lines


def test_resolv_conf_without_loopback_servers(engine):
    out = engine.output(["cat", "/etc/resolv.conf"], network="bridge")
    assert "nameserver" in out and "nameserver 127." not in out


def test_etc_files_are_writable(engine):
    assert engine.output("for f in hosts hostname resolv.conf; do echo '# x' >> /etc/$f && tail -1 /etc/$f; done") == "# x\n" * 3


@pytest.mark.parametrize("name, value", [("net.ipv4.ip_forward", "1"), ("net.core.somaxconn", "99"), ("kernel.msgmax", "4096"),
                                         ("net.ipv4.ip_unprivileged_port_start", "80")])
def test_sysctls(engine, name, value):
    path = "/proc/sys/" + name.replace(".", "/")
    assert engine.output(["cat", path], host={"Sysctls": {name: value}}).strip() == value


def test_sysctls_of_the_host_are_refused(engine):
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"Sysctls": {"vm.swappiness": "1"}}}
    answer = engine.api.post("/containers/create", body)
    if answer.status == 201:
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start")
    assert answer.status >= 400


def test_ulimits(engine):
    out = engine.output("ulimit -n; ulimit -Hn; ulimit -c", host={"Ulimits": [
        {"Name": "nofile", "Soft": 64, "Hard": 128}, {"Name": "core", "Soft": 0, "Hard": 0}]})
    assert out == "64\n128\n0\n"


def test_shm_size(engine):
    assert engine.output("df -k /dev/shm | tail -1", host={"ShmSize": 4 << 20}).split()[1] == "4096"


def test_pid_mode_host(engine):
    container = engine.start_container(host={"PidMode": "host"})
    assert container.exec(["readlink", "/proc/self/ns/pid"])[1].strip() == str((engine.sandbox.root / "proc/1/ns/pid").readlink())
    assert "dockerd" in container.exec(["ps", "-o", "args"])[1] or "gantry" in container.exec(["ps", "-o", "args"])[1]


@pytest.mark.parametrize("mode, kind", [("PidMode", "pid"), ("IpcMode", "ipc")])
def test_modes_of_another_container(engine, mode, kind):
    first = engine.start_container(host={"IpcMode": "shareable"})
    second = engine.start_container(host={mode: f"container:{first.id}"})
    assert second.exec(["readlink", f"/proc/self/ns/{kind}"]) == first.exec(["readlink", f"/proc/self/ns/{kind}"])
    assert second.exec(["readlink", "/proc/self/ns/mnt"]) != first.exec(["readlink", "/proc/self/ns/mnt"])


def test_pid_mode_of_another_shows_its_processes(engine):
    first = engine.start_container(["sleep", "12345"])
    second = engine.start_container(["sleep", "54321"], host={"PidMode": f"container:{first.id}"})
    out = second.exec(["ps", "-o", "args"])[1]
    assert "sleep 12345" in out and "sleep 54321" in out


def test_network_mode_of_another(engine):
    first = engine.start_container(network="bridge")
    second = engine.start_container(network=f"container:{first.id}")
    assert second.exec(["ip", "addr"]) == first.exec(["ip", "addr"])
    assert second.exec(["hostname"]) == first.exec(["hostname"])
    for container in (second, first):
        container.kill()


def test_mode_of_a_container_that_does_not_run(engine):
    first = engine.create()
    container = engine.create(host={"PidMode": f"container:{first.id}"})
    assert re.search("is not running|non running container", container.start(expect=(400, 409, 500)).message)


def test_ipc_private_and_host(engine):
    host = str((engine.sandbox.root / "proc/1/ns/ipc").readlink())
    assert engine.output(["readlink", "/proc/self/ns/ipc"], host={"IpcMode": "host"}).strip() == host
    assert engine.output(["readlink", "/proc/self/ns/ipc"], host={"IpcMode": "private"}).strip() != host
    assert "/dev/shm" not in engine.output(["cat", "/proc/self/mountinfo"], host={"IpcMode": "none"})


def test_ipc_of_another_container_shares_its_memory(engine):
    first = engine.start_container("echo shared > /dev/shm/note; exec sleep 1000", host={"IpcMode": "shareable"})
    wait_until(lambda: first.exec(["cat", "/dev/shm/note"])[1] == "shared\n")
    second = engine.start_container(host={"IpcMode": f"container:{first.id}"})
    assert second.exec(["cat", "/dev/shm/note"])[1] == "shared\n"
    assert second.exec("echo back > /dev/shm/answer")[0] == 0
    assert first.exec(["cat", "/dev/shm/answer"])[1] == "back\n"


def test_ipc_private_cannot_be_joined(engine):
    first = engine.start_container(host={"IpcMode": "private"})
    second = engine.create(host={"IpcMode": f"container:{first.id}"})
    assert "non-shareable IPC" in second.start(expect=(400, 409, 500)).message


def test_uts_mode_host(engine):
    assert engine.output(["hostname"], host={"UTSMode": "host"}) == "sandbox\n"


def test_network_mode_host(engine):
    container = engine.start_container(network="host")
    assert "10.99.0.2" in container.exec(["ip", "addr"])[1]
    assert container.exec(["hostname"])[1] == "sandbox\n"


def test_network_mode_none(engine):
    out = engine.output(["ip", "-o", "addr"])
    assert "127.0.0.1" in out and "eth0" not in out


def test_cgroup_namespace(engine):
    mode = "private" if cgroup_v2() else "host"
    container = engine.start_container()
    assert container.inspect()["HostConfig"]["CgroupnsMode"] == mode
    private = engine.start_container(host={"CgroupnsMode": "private"})
    inside = (engine.sandbox.proc(private.pid) / "ns/cgroup").readlink()
    assert inside != (engine.sandbox.root / "proc/1/ns/cgroup").readlink()


def test_init(engine):
    """Process 1 reaps orphans and passes signals on."""
    container = engine.start_container("(sleep 0.1 &) ; exec sleep 1000", host={"Init": True})
    assert container.exec(["cat", "/proc/1/cmdline"])[1].split("\0")[0] not in ("sh", "sleep")
    seen = lambda: [line.split(None, 2) for line in container.exec(["ps", "-o", "pid,stat,args"])[1].splitlines()]
    wait_until(lambda: not any(stat.startswith("Z") or args == "sleep 0.1" for _, stat, args in seen()), what="the orphan's burial")
    container.stop(t=60)
    assert container.state["ExitCode"] == 143


def test_init_keeps_the_exit_code(engine):
    assert engine.run("exit 9", host={"Init": True})[0] == 9


def test_oom_score(engine):
    mine = int(open("/proc/self/oom_score_adj").read())
    assert engine.output(["cat", "/proc/self/oom_score_adj"], host={"OomScoreAdj": 500}).strip() == "500"
    assert engine.output(["cat", "/proc/self/oom_score_adj"]).strip() == "0" or mine != 0


def test_device(engine):
    out = engine.output("stat -c '%t:%T' /dev/mine; probe open /dev/mine", host={"Devices": [
        {"PathOnHost": "/dev/loop-control", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm"}]})
    assert out.split() == ["a:ed", "OK"]


def test_device_permissions(engine):
    out = engine.output("exec 3< /dev/mine && echo read; probe open /dev/mine", host={"Devices": [
        {"PathOnHost": "/dev/loop-control", "PathInContainer": "/dev/mine", "CgroupPermissions": "r"}]})
    assert out.split() == ["read", "EPERM"]


def test_device_cgroup_rules(engine):
    rules = {"DeviceCgroupRules": ["c 10:237 rwm"]}
    assert engine.output("mknod /tmp/k c 10 237; probe open /tmp/k", host=rules) == "OK\n"
    assert engine.output("mknod /tmp/k c 10 237; probe open /tmp/k") == "EPERM\n"


def test_no_descriptors_leak_in(engine):
    names = {line.split()[0] for line in engine.output(["probe", "descriptors"]).splitlines()}
    assert names == {"0", "1", "2"}


def test_umask_and_signals(engine):
    assert engine.output("umask") == "0022\n"
    text = engine.output(["cat", "/proc/self/status"])  # Without a shell, which ignores some itself.
    assert int(status(text, "SigBlk"), 16) == 0
    assert int(status(text, "SigIgn"), 16) == 0


def test_session(engine):
    """Process 1 leads a session of its own."""
    fields = engine.output(["cat", "/proc/1/stat"]).rsplit(")", 1)[1].split()
    assert fields[2:4] == ["1", "1"]


def test_deep_process_trees_end_with_the_container(engine):
    container = engine.start_container("for i in 1 2 3; do (setsid sleep 9999 &) ; done; exec sleep 9998")
    wait_until(lambda: "sleep 9999" in container.exec(["ps", "-o", "args"])[1])
    container.kill()
    container.wait()
    wait_until(lambda: not any(line == "sleep 9999" for line in engine.sandbox.processes().values()))
