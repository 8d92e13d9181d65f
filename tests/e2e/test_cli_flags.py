"""Every flag of `docker run` and `docker create`, as inspect shows what became of it; and that none was forgotten."""

import contextlib
import json
import re

import pytest

from harness.engine import IMAGE

# What inspect must show, by its path. Effects inside are the business of the tests on the API; flags whose effect is in the
# command itself are below.
FLAGS = {
    "--add-host": (["--add-host", "db:10.1.2.3"], {"HostConfig.ExtraHosts": ["db:10.1.2.3"]}),
    "--attach": (["-a", "stdout"], {"Config.AttachStdout": True, "Config.AttachStderr": False}),
    "--blkio-weight": (["--blkio-weight", "300"], None),
    "--blkio-weight-device": (["--blkio-weight-device", "/dev/loop0:300"], None),
    "--cap-add": (["--cap-add", "NET_ADMIN"], {"HostConfig.CapAdd": ["NET_ADMIN"]}),
    "--cap-drop": (["--cap-drop", "CHOWN"], {"HostConfig.CapDrop": ["CHOWN"]}),
    "--cgroup-parent": (["--cgroup-parent", "/PARENT/below"], {"HostConfig.CgroupParent": "/PARENT/below"}),
    "--cgroupns": (["--cgroupns", "private"], {"HostConfig.CgroupnsMode": "private"}),
    "--cpu-period": (["--cpu-period", "50000"], {"HostConfig.CpuPeriod": 50000}),
    "--cpu-quota": (["--cpu-quota", "20000"], {"HostConfig.CpuQuota": 20000}),
    "--cpu-shares": (["-c", "512"], {"HostConfig.CpuShares": 512}),
    "--cpus": (["--cpus", "0.5"], {"HostConfig.NanoCpus": 500_000_000}),
    "--cpuset-cpus": (["--cpuset-cpus", "0"], {"HostConfig.CpusetCpus": "0"}),
    "--cpuset-mems": (["--cpuset-mems", "0"], {"HostConfig.CpusetMems": "0"}),
    "--detach-keys": (["--detach-keys", "ctrl-x"], {"Config.Tty": False}),
    "--device": (["--device", "/dev/null:/dev/nothing:rw"], {"HostConfig.Devices": [
        {"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "rw"}]}),
    "--device-cgroup-rule": (["--device-cgroup-rule", "c 1:* rmw"], {"HostConfig.DeviceCgroupRules": ["c 1:* rmw"]}),
    "--device-read-bps": (["--device-read-bps", "/dev/loop0:1mb"], {"HostConfig.BlkioDeviceReadBps": [{"Path": "/dev/loop0", "Rate": 1 << 20}]}),
    "--device-read-iops": (["--device-read-iops", "/dev/loop0:99"], {"HostConfig.BlkioDeviceReadIOps": [{"Path": "/dev/loop0", "Rate": 99}]}),
    "--device-write-bps": (["--device-write-bps", "/dev/loop0:2kb"], {"HostConfig.BlkioDeviceWriteBps": [{"Path": "/dev/loop0", "Rate": 2048}]}),
    "--device-write-iops": (["--device-write-iops", "/dev/loop0:98"], {"HostConfig.BlkioDeviceWriteIOps": [{"Path": "/dev/loop0", "Rate": 98}]}),
    "--disable-content-trust": (["--disable-content-trust"], {}),
    "--dns": (["--dns", "9.9.9.9"], {"HostConfig.Dns": ["9.9.9.9"]}),
    "--dns-option": (["--dns-option", "ndots:2"], {"HostConfig.DnsOptions": ["ndots:2"]}),
    "--dns-search": (["--dns-search", "example.test"], {"HostConfig.DnsSearch": ["example.test"]}),
    "--domainname": (["--domainname", "d.test"], {"Config.Domainname": "d.test"}),
    "--entrypoint": (["--entrypoint", "/bin/echo"], {"Config.Entrypoint": ["/bin/echo"], "Path": "/bin/echo"}),
    "--env": (["-e", "A=1", "-e", "B=2=3"], {"Config.Env": ["A=1", "B=2=3"]}),
    "--env-file": (["--env-file", "DIR/env"], {"Config.Env": ["FROM=file"]}),
    "--expose": (["--expose", "81-82", "--expose", "83/udp"], {"Config.ExposedPorts": {"81/tcp": {}, "82/tcp": {}, "83/udp": {}}}),
    "--group-add": (["--group-add", "wheel"], {"HostConfig.GroupAdd": ["wheel"]}),
    "--health-cmd": (["--health-cmd", "exit 0"], {"Config.Healthcheck": {"Test": ["CMD-SHELL", "exit 0"]}}),
    "--health-interval": (["--health-cmd", "x", "--health-interval", "2s"], {"Config.Healthcheck.Interval": 2_000_000_000}),
    "--health-retries": (["--health-cmd", "x", "--health-retries", "7"], {"Config.Healthcheck.Retries": 7}),
    "--health-start-period": (["--health-cmd", "x", "--health-start-period", "3s"], {"Config.Healthcheck.StartPeriod": 3_000_000_000}),
    "--health-start-interval": (["--health-cmd", "x", "--health-start-interval", "4s"], {"Config.Healthcheck.StartInterval": 4_000_000_000}),
    "--health-timeout": (["--health-cmd", "x", "--health-timeout", "5s"], {"Config.Healthcheck.Timeout": 5_000_000_000}),
    "--hostname": (["-h", "named"], {"Config.Hostname": "named"}),
    "--init": (["--init"], {"HostConfig.Init": True}),
    "--interactive": (["-i"], {"Config.OpenStdin": True, "Config.StdinOnce": True}),
    "--ip": (["--network", "flags-net", "--ip", "10.91.0.77"], {"NetworkSettings.Networks.flags-net.IPAMConfig": {"IPv4Address": "10.91.0.77"}}),
    "--ip6": (["--network", "flags-net", "--ip6", "fd91::33"], {"NetworkSettings.Networks.flags-net.IPAMConfig": {"IPv6Address": "fd91::33"}}),
    "--ipc": (["--ipc", "shareable"], {"HostConfig.IpcMode": "shareable"}),
    "--label": (["-l", "a=b", "-l", "c"], {"Config.Labels": {"a": "b", "c": ""}}),
    "--label-file": (["--label-file", "DIR/labels"], {"Config.Labels": {"from": "file"}}),
    "--link": (["--link", "other:alias"], {"HostConfig.Links": ["/other:/flagged/alias"]}),
    "--link-local-ip": (["--network", "bridge", "--link-local-ip", "169.254.34.68"],
                        {"NetworkSettings.Networks.bridge.IPAMConfig": {"LinkLocalIPs": ["169.254.34.68"]}}),
    "--log-driver": (["--log-driver", "local"], {"HostConfig.LogConfig.Type": "local"}),
    "--log-opt": (["--log-opt", "max-size=1m"], {"HostConfig.LogConfig.Config": {"max-size": "1m"}}),
    "--mac-address": (["--mac-address", "92:d0:c6:0a:29:33"], {"Config.MacAddress|NetworkSettings.Networks.bridge.MacAddress": "92:d0:c6:0a:29:33"}),
    "--memory": (["-m", "64m"], {"HostConfig.Memory": 64 << 20}),
    "--memory-reservation": (["--memory-reservation", "32m"], {"HostConfig.MemoryReservation": 32 << 20}),
    "--memory-swap": (["-m", "64m", "--memory-swap", "-1"], {"HostConfig.MemorySwap": -1}),
    "--memory-swappiness": (["--memory-swappiness", "5"], {"HostConfig.MemorySwappiness": 5}),
    "--mount": (["--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700"], {"HostConfig.Mounts": [
        {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1 << 20, "Mode": 0o700}}]}),
    "--name": ([], {"Name": "/flagged"}),
    "--network": (["--network", "none"], {"HostConfig.NetworkMode": "none"}),
    "--network-alias": (["--network", "flags-net", "--network-alias", "other-name"], {"NetworkSettings.Networks.flags-net.Aliases": ["other-name"]}),
    "--no-healthcheck": (["--no-healthcheck"], {"Config.Healthcheck": {"Test": ["NONE"]}}),
    "--oom-kill-disable": (["-m", "64m", "--oom-kill-disable"], {"HostConfig.OomKillDisable": True}),
    "--oom-score-adj": (["--oom-score-adj", "77"], {"HostConfig.OomScoreAdj": 77}),
    "--pid": (["--pid", "host"], {"HostConfig.PidMode": "host"}),
    "--pids-limit": (["--pids-limit", "30"], {"HostConfig.PidsLimit": 30}),
    "--platform": (["--platform", "linux/amd64"], {"Platform": "linux"}),
    "--privileged": (["--privileged"], {"HostConfig.Privileged": True}),
    "--publish": (["-p", "127.0.0.1:8090:80/udp"], {"HostConfig.PortBindings": {"80/udp": [{"HostIp": "127.0.0.1", "HostPort": "8090"}]}}),
    "--publish-all": (["-P", "--expose", "80"], {"HostConfig.PublishAllPorts": True}),
    "--read-only": (["--read-only"], {"HostConfig.ReadonlyRootfs": True}),
    "--restart": (["--restart", "on-failure:3"], {"HostConfig.RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}),
    "--rm": (["--rm"], {"HostConfig.AutoRemove": True}),
    "--runtime": (["--runtime", "runc"], {"HostConfig.Runtime": "runc"}),
    "--security-opt": (["--security-opt", "no-new-privileges"], {"HostConfig.SecurityOpt": ["no-new-privileges"]}),
    "--shm-size": (["--shm-size", "2m"], {"HostConfig.ShmSize": 2 << 20}),
    "--stop-signal": (["--stop-signal", "INT"], {"Config.StopSignal": "INT"}),
    "--stop-timeout": (["--stop-timeout", "3"], {"Config.StopTimeout": 3}),
    "--sysctl": (["--sysctl", "net.core.somaxconn=77"], {"HostConfig.Sysctls": {"net.core.somaxconn": "77"}}),
    "--tmpfs": (["--tmpfs", "/t:size=1m"], {"HostConfig.Tmpfs": {"/t": "size=1m"}}),
    "--tty": (["-t"], {"Config.Tty": True}),
    "--ulimit": (["--ulimit", "nofile=64:128"], {"HostConfig.Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}]}),
    "--user": (["-u", "alice:wheel"], {"Config.User": "alice:wheel"}),
    "--userns": (["--userns", "host"], {"HostConfig.UsernsMode": "host"}),
    "--uts": (["--uts", "host"], {"HostConfig.UTSMode": "host"}),
    "--volume": (["-v", "named:/v:ro", "-v", "/anonymous"], {"HostConfig.Binds": ["named:/v:ro"], "Config.Volumes": {"/anonymous": {}}}),
    "--volume-driver": (["--volume-driver", "local", "-v", "named:/v"], {"HostConfig.VolumeDriver": "local"}),
    "--volumes-from": (["--volumes-from", "other:ro"], {"HostConfig.VolumesFrom": ["other:ro"]}),
    "--workdir": (["-w", "/data"], {"Config.WorkingDir": "/data"}),
    "--annotation": (["--annotation", "a=b"], {"HostConfig.Annotations": {"a": "b"}}),
    "--pull": (["--pull", "never"], {}),
    "--quiet": (["--quiet"], {}),
    "--isolation": (["--isolation", "default"], {"HostConfig.Isolation": "default"}),
}
WINDOWS = {"--cpu-count": "2", "--cpu-percent": "50", "--io-maxiops": "9", "--io-maxbandwidth": "9"}
# Tested by what they do: in test_cli.py and below; or by what is said to them here.
ELSEWHERE = {"--cidfile", "--detach", "--sig-proxy", "--help", "--gpus", "--storage-opt", "--cpu-rt-period",
             "--cpu-rt-runtime", "--kernel-memory", "--use-api-socket"}


def flags_of(docker, command):
    return set(re.findall(r"^ *(?:-\w, )?(--[a-z0-9-]+)", docker.out(*command, "--help"), re.MULTILINE))


@pytest.mark.parametrize("command", ["run", "create"])
def test_no_flag_is_forgotten(docker, command):
    assert flags_of(docker, [command]) <= FLAGS.keys() | ELSEWHERE | WINDOWS.keys()


def at(found, paths):
    """What is at the first of the paths that says something."""
    for path in paths.split("|"):
        value = found
        for part in path.split("."):
            value = value.get(part)
        if value:
            return value
    return value


def plain(value):
    """Environments come in any order, newer commands write capabilities in full, and its own short id is an alias."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return sorted(one.removeprefix("CAP_") for one in value if not re.fullmatch("[0-9a-f]{12}", one))
    return value


@pytest.mark.parametrize("flag", FLAGS)
def test_flag(docker, engine, tmp_path, flag):
    arguments, expected = FLAGS[flag]
    (tmp_path / "env").write_text("FROM=file\n")
    (tmp_path / "labels").write_text("from=file\n")
    if "other" in str(arguments) and "flags-net" not in arguments:
        docker("create", "--name", "other", "-v", "/shared", IMAGE, "true")
        if flag == "--link":
            docker("start", "other")
    if "flags-net" in arguments:
        docker("network", "create", "--subnet", "10.91.0.0/24", "--ipv6", "--subnet", "fd91::/64", "flags-net")
    arguments = [word.replace("DIR", str(tmp_path)).replace("/PARENT", engine.sandbox.cgroup_parent) for word in arguments]
    done = docker("create", "--name", "flagged", *arguments, IMAGE, "true", check=False)
    if f"unknown flag: {flag}" in done.stderr or "requires API version" in done.stderr:
        assert done.returncode in (1, 125)
        return  # An older command, or an older engine: that it is refused is all there is to say.
    assert done.returncode == 0, done.stderr
    found = json.loads(docker.out("inspect", "flagged"))[0]
    if expected is None:
        # Of what the kernel has not got, the daemon says that it left it out.
        assert "discarded" in done.stderr or "BlkioWeight" in str(found["HostConfig"])
        return
    for path, value in expected.items():
        if isinstance(value, str):
            value = value.replace("/PARENT", engine.sandbox.cgroup_parent)
        assert plain(at(found, path)) == value, path


@pytest.mark.parametrize("arguments, message", [
    (["-m", "1m"], "Minimum memory limit"), (["--memory-swap", "1g"], "You should always set the Memory limit when using Memoryswap limit"),
    (["-m", "64m", "--memory-swap", "32m"], "Minimum memoryswap limit should be larger than memory limit"),
    (["--cpus", "1000"], "range of CPUs is from 0.01 to"), (["--cpuset-cpus", "99"], "Requested CPUs are not available"),
    (["--cpuset-mems", "99"], "Requested memory nodes are not available"), (["--memory-swappiness", "101"], "Invalid value: 101"),
    (["--cpu-period", "1"], "CPU cfs period can not be less than 1ms"), (["--cpu-quota", "1"], "CPU cfs quota can not be less than 1ms"),
    (["--cap-add", "nonsense"], "apability"), (["--ipc", "nonsense"], "nvalid IPC mode"), (["--pid", "container:nope"], "No such container"),
    (["--restart", "sometimes"], "restart policy"), (["--stop-signal", "nonsense"], "nvalid signal"), (["-w", "relative"], "relative"),
    (["--network", "nope", "-d"], "network nope not found"), (["--log-driver", "nonsense"], "nonsense"),
    (["--log-opt", "nonsense=1"], "unknown log opt 'nonsense' for json-file log driver"), (["--oom-score-adj", "9999"], "Invalid value 9999"),
    (["--security-opt", "seccomp=/no/such/file"], "no such file"), (["--volumes-from", "nope"], "No such container: nope"),
    (["-v", "relative/path:/v"], "includes invalid characters for a local volume name"), (["-v", "/a:relative"], "invalid volume specification"),
    (["--mount", "type=bind,src=/no/such/source,dst=/m"], "bind source path does not exist"), (["--device", "/dev/no-such"], "no-such"),
    (["--ulimit", "nonsense=1"], "nonsense"), (["--shm-size", "-1"], "size"), (["--name", "-bad"], "Invalid container name"),
    (["--runtime", "nonsense"], "nonsense"), (["--platform", "nonsense/x"], ""), (["--uts", "nonsense"], "nvalid UTS mode"),
    (["--userns", "nonsense"], "nvalid USER mode"), (["--cgroupns", "nonsense"], "nvalid CGROUP mode"), (["--device-cgroup-rule", "nonsense"], "nonsense"),
    (["--link", "nope:x"], "nope"), (["--gpus", "all"], "could not select device driver"),
    (["--storage-opt", "size=1g"], "storage-opt"), (["--sysctl", "kernel.nonsense=1"], "kernel.nonsense"),
    (["--health-interval", "1us"], "Interval"), (["--publish", "99999:80"], "99999"), (["--dns", "nonsense"], "nonsense"),
])
def test_what_cannot_be(docker, arguments, message):
    """Refused by the command, at creation or at the start, in words that name it."""
    done = docker("run", *arguments, IMAGE, "true", check=False)
    assert done.returncode in (125, 126, 127, 1) and message.lower() in done.stderr.lower(), done


@pytest.mark.parametrize("flag", WINDOWS)
def test_flags_for_windows(docker, flag):
    """The command asks the daemon what it runs on."""
    done = docker("create", flag, WINDOWS[flag], IMAGE, check=False)
    assert done.returncode == 1 and "only supported on a Docker daemon running on windows" in done.stderr


def test_real_time(docker):
    """The kernel says whether there is a real-time budget for groups."""
    done = docker("run", "--rm", "--cpu-rt-period", "1000000", "--cpu-rt-runtime", "1000", IMAGE, "true", check=False)
    assert done.returncode == 0 or "real-time" in done.stderr.lower() or "cpu.rt" in done.stderr, done.stderr


def test_kernel_memory(docker):
    """Gone from newer commands' help; accepted with a warning or refused, never silently without effect."""
    done = docker("create", "--kernel-memory", "32m", IMAGE, "true", check=False)
    assert done.returncode == 0 or "ernel" in done.stderr


def test_sig_proxy(docker):
    process = docker.popen("run", "--rm", "--sig-proxy=false", "--name", "deaf", IMAGE, "probe", "signals")
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    docker("exec", "deaf", "true")
    process.kill()
    process.wait()
    assert docker.out("ps", "-q", "--filter", "name=deaf") and docker.out("logs", "deaf") == "ready"


def test_detach_keys(docker, engine):
    with contextlib.closing(docker.terminal("run", "-it", "--detach-keys", "a,b", "--name", "keys", IMAGE, "sh")) as term:
        term.expect("# ")
        term.send("ab")
        assert term.wait()[0] == 0
        assert docker.out("ps", "-q", "--filter", "name=keys")


def test_effects(docker, tmp_path):
    """The flags of mounts and files at once, seen from inside."""
    (tmp_path / "bound").mkdir()
    (tmp_path / "bound/file").write_text("bound\n")
    out = docker.out(
        "run", "--rm", "--name", "effects", "-v", f"{tmp_path}/bound:/b:ro", "--tmpfs", "/t:size=64k,mode=700", "--shm-size", "128k",
        "--mount", f"type=bind,src={tmp_path}/bound,dst=/m", "--device", "/dev/zero:/dev/nothing:r", "--add-host", "db:10.1.2.3",
        "--dns", "9.9.9.9", "--dns-search", "example.test", "--dns-option", "ndots:2", "--ulimit", "core=0", "--domainname", "d.test", "-h", "h",
        IMAGE, "sh", "-c", "cat /b/file; touch /b/no 2>&1; touch /m/yes; ls /m; stat -c %a /t; df -k /t /dev/shm | awk 'NR>1 {print $2}';"
                           " head -c 2 /dev/nothing | wc -c; grep db /etc/hosts; cat /etc/resolv.conf; hostname -f")
    lines = out.splitlines()
    assert lines[:2] == ["bound", "touch: /b/no: Read-only file system"]
    assert lines[2:9] == ["file", "yes", "700", "64", "128", "2", "10.1.2.3\tdb"]
    assert {"nameserver 9.9.9.9", "search example.test", "options ndots:2"} <= set(lines)
    assert lines[-1] == "h.d.test"
