"""`userns-remap`: containers whose root is nobody on the host."""

import io
import json
import tarfile

import pytest

from harness.build import build, walk
from harness.engine import wait_until
from harness.remapped import COUNT, FIRST, prepare
from harness.rootfs import TarBuilder

ENGINE = {"arguments": ["--userns-remap=remapped"], "prepare": prepare}


@pytest.fixture
def remapped(engine_of_module):
    return engine_of_module


def test_the_host_sees_other_ids(remapped):
    box = remapped.start_container("id -u; id -g; touch /made; exec sleep 1000")
    status = box.proc("status")
    owner = "\t".join([str(FIRST)] * 4)
    assert f"Uid:\t{owner}\n" in status and f"Gid:\t{owner}\n" in status
    for file in ("uid_map", "gid_map"):
        assert box.proc(file).split() == ["0", str(FIRST), str(COUNT)]
    wait_until(lambda: box.logs()[0] == "0\n0\n")
    host = remapped.start_container(host={"UsernsMode": "host"})
    assert host.proc("uid_map").split() == ["0", "0", "4294967295"]
    assert "Uid:\t0\t0\t0\t0\n" in host.proc("status")


def test_info_and_inspect(remapped):
    info = remapped.api.get("/info", expect=200).json
    assert "name=userns" in info["SecurityOptions"]
    assert remapped.create().inspect()["HostConfig"]["UsernsMode"] == ""
    assert remapped.create(host={"UsernsMode": "host"}).inspect()["HostConfig"]["UsernsMode"] == "host"


@pytest.mark.parametrize("host, words", [
    ({"Privileged": True}, "privileged mode is incompatible with user namespaces.  "
                           "You must run the container in the host namespace when running privileged mode"),
    ({"PidMode": "host"}, "cannot share the host PID namespace when user namespaces are enabled"),
    ({"NetworkMode": "host"}, "cannot share the host's network namespace when user namespaces are enabled"),
])
def test_what_cannot_be_together(remapped, host, words):
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **host}}
    answer = remapped.api.post("/containers/create", body)
    assert answer.status == 400 and answer.json["message"] == words
    body["HostConfig"]["UsernsMode"] = "host"
    made = remapped.api.post("/containers/create", body, expect=201).json["Id"]
    if not host.get("Privileged"):
        # The reference cannot be privileged where the machine lacks a capability.
        remapped.api.post(f"/containers/{made}/start", expect=204)


def test_files_of_the_engine(remapped):
    out = remapped.output("stat -c '%n %u:%g' / /etc/hosts /etc/hostname /etc/resolv.conf /dev /dev/shm /bin/busybox; "
                          "echo 1.2.3.4 x >> /etc/hosts && echo ok; echo x > /dev/null; head -c 3 /dev/zero | wc -c; cat /proc/sys/kernel/hostname",
                          network="bridge", Hostname="box")
    lines = out.splitlines()
    assert all(line.endswith(" 0:0") for line in lines[:7]), out
    assert lines[7:] == ["ok", "3", "box"]


def test_binds_are_not_shifted(remapped):
    directory = remapped.dir / "bound"
    directory.mkdir()
    (directory / "roots").write_text("")
    (directory / "theirs").write_text("")
    (directory / "roots").chmod(0o600)
    import os
    os.chown(directory / "theirs", FIRST + 5, FIRST + 6)
    code, out, err = remapped.run("stat -c '%u:%g' /b/roots /b/theirs; cat /b/roots; touch /b/new", host={"Binds": [f"{directory}:/b"]})
    assert out == "65534:65534\n5:6\n" and err.count("Permission denied") == 2 and code != 0
    directory.chmod(0o777)
    remapped.output("touch /b/new", host={"Binds": [f"{directory}:/b"]})
    made = (directory / "new").stat()
    assert (made.st_uid, made.st_gid) == (FIRST, FIRST)


def test_volumes_belong_to_containers(remapped):
    assert remapped.output("touch /v/a; chown 7:8 /v/a; stat -c '%u:%g' /v /v/a", host={"Binds": ["vol:/v"]}) == "0:0\n7:8\n"
    assert remapped.output("stat -c '%u:%g' /v/a", host={"Binds": ["vol:/v"]}) == "7:8\n"
    out = remapped.output("stat -c '%u:%g' /t /m; mount | grep -c ' /[tm] '", host={
        "Tmpfs": {"/t": "uid=5,gid=6"}, "Mounts": [{"Type": "tmpfs", "Target": "/m"}]})
    assert out == "5:6\n0:0\n2\n"


def test_users_groups_and_exec(remapped):
    box = remapped.start_container(User="7:8", host={"GroupAdd": ["9"]})
    assert box.exec("id -u; id -g; id -G")[1] == "7\n8\n8 9\n"
    assert box.exec("id -u; echo x > /dev/stdout", User="0")[1] == "0\nx\n"
    code, out, _ = box.exec("tty; stat -c %u $(tty)", Tty=True, User="7")
    assert (code, out.split()) == (0, ["/dev/pts/0", "7"])
    code, out, err = box.exec("true", User=str(COUNT))
    assert code != 0


def test_terminal_of_init(remapped):
    box = remapped.start_container("stat -c '%u:%g' $(tty) /dev/console; exec sleep 1000", Tty=True)
    wait_until(lambda: box.logs(tty=True)[0].split() == ["0:5", "0:5"])


def test_init_and_capabilities(remapped):
    out = remapped.output("cat /proc/1/comm; grep CapEff /proc/self/status; ping -c1 -W30 127.0.0.1 >/dev/null && echo pong",
                          host={"Init": True})
    assert out.splitlines() == ["docker-init", "CapEff:\t00000000a80425fb", "pong"]
    # Rights over its own namespaces are no rights over the host.
    box = remapped.start_container(host={"CapAdd": ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SYS_MODULE", "DAC_READ_SEARCH"],
                                         "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"]})
    assert box.exec("ip link add d0 type bridge && ip link set d0 up")[0] == 0
    scripts = ["mknod /x c 1 1", "echo 1 > /proc/sysrq-trigger", "echo 1 > /proc/sys/kernel/panic"]
    if not remapped.is_reference:
        # There they are not locked.
        scripts += ["umount /proc/keys", "mount -o remount,rw,bind /sys", "umount /etc/hosts"]
    for script in scripts:
        assert box.exec(script)[0] != 0, script


def test_network_and_ports(remapped):
    box = remapped.start_container("echo hi | nc -l -p 80", network="bridge", ExposedPorts={"80/tcp": {}},
                                   host={"PortBindings": {"80/tcp": [{"HostPort": ""}]}, "Sysctls": {"net.ipv4.ip_forward": "1"}})
    assert box.exec("cat /proc/sys/net/ipv4/ip_forward; id -u; ip -o -4 addr show eth0 | wc -l")[1] == "1\n0\n1\n"
    port = int(box.inspect()["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
    client = remapped.sandbox.socket("outside")
    wait_until(lambda: client.connect_ex((remapped.address, port)) == 0)
    assert client.recv(10) == b"hi\n"
    client.close()


def test_containers_share_namespaces(remapped):
    one = remapped.start_container(host={"IpcMode": "shareable"})
    out = remapped.output("readlink /proc/self/ns/user; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; ps | grep -c slee[p]",
                          network=f"container:{one.id}", host={"IpcMode": f"container:{one.id}", "PidMode": f"container:{one.id}"})
    assert out == one.exec("for n in user net ipc; do readlink /proc/self/ns/$n; done; ps | grep -c slee[p]")[1]


def members(data):
    return {m.name.strip("/"): (m.uid, m.gid) for m in tarfile.open(fileobj=io.BytesIO(data)).getmembers()}


def put(remapped, box, path, name, uid, gid):
    archive = TarBuilder()
    archive.add(name, "text", uid=uid, gid=gid)
    return remapped.api.request("PUT", f"{box.path}/archive", body=archive.bytes(), path=path,
                                headers={"Content-Type": "application/x-tar"})


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_copies_have_the_containers_ids(remapped, running):
    box = remapped.start_container("mkdir /d; touch /d/f; chown 7:8 /d/f; touch /v/g; chown 9:9 /v/g; echo done; exec sleep 1000",
                                   host={"Binds": [f"{remapped.name('v')}:/v"]})
    box.wait_log("done")
    if not running:
        box.stop(t=0)
    assert put(remapped, box, "/d", "in", 5, 6).status == 200
    assert put(remapped, box, "/v", "in", 5, 6).status == 200
    if not remapped.is_reference:
        # The reference gives the host's ids here.
        found = members(remapped.api.get(f"{box.path}/archive", path="/d", expect=200).body)
        assert found == {"d": (0, 0), "d/f": (7, 8), "d/in": (5, 6)}
        found = members(remapped.api.get(f"{box.path}/archive", path="/v", expect=200).body)
        assert found == {"v": (0, 0), "v/g": (9, 9), "v/in": (5, 6)}
    exported = members(remapped.api.get(f"{box.path}/export", expect=200).body)
    assert exported["d/f"] == (7, 8) and exported["d/in"] == (5, 6) and exported["bin"] == (0, 0)
    changes = {c["Path"]: c["Kind"] for c in remapped.api.get(f"{box.path}/changes", expect=200).json}
    assert changes == {"/d": 1, "/d/f": 1, "/d/in": 1, "/v": 1}
    if not running:
        box.start()
    assert box.exec("stat -c '%u:%g' /d/in /v/in")[1] == "5:6\n5:6\n"


def test_commit_keeps_ids(remapped):
    box = remapped.start_container("touch /f; chown 7:8 /f; echo done; exec sleep 1000")
    box.wait_log("done")
    remapped.api.post("/commit", {}, container=box.id, repo="kept", tag="e2e", expect=201)
    assert remapped.output("stat -c '%u:%g' /f /bin/busybox", image="kept:e2e") == "7:8\n0:0\n"
    if not remapped.is_reference:
        # Its layers are those of the map.
        assert remapped.output("stat -c '%u:%g' /f /bin/busybox", image="kept:e2e", host={"UsernsMode": "host"}) == "7:8\n0:0\n"


def test_pause_stats_top_logs_update(remapped):
    box = remapped.start_container("echo hello; exec sleep 1000", host={"Memory": 64 << 20})
    box.wait_log("hello")
    for verb in ("pause", "unpause"):
        remapped.api.post(f"{box.path}/{verb}", expect=204)
    stats = json.loads(remapped.api.get(f"/containers/{box.id}/stats?stream=0", expect=200).body)
    assert stats["pids_stats"]["current"] == 1 and stats["memory_stats"]["limit"] == 64 << 20
    top = remapped.api.get(f"{box.path}/top", expect=200).json
    assert top["Processes"][0][top["Titles"].index("UID")] in (str(FIRST), f"{FIRST}"[:7] + "+")
    remapped.api.post(f"{box.path}/update", {"Memory": 32 << 20, "MemorySwap": 64 << 20}, expect=200)
    box.kill()
    assert box.wait() == 137


def test_limits_and_oom_score(remapped):
    out = remapped.output("ulimit -n; cat /proc/self/oom_score_adj", host={
        "Ulimits": [{"Name": "nofile", "Soft": 50, "Hard": 60}], "OomScoreAdj": 300})
    assert out == "50\n300\n"


def test_read_only_root(remapped):
    code, out, err = remapped.run("touch /x; touch /dev/shm/y && echo ok", host={"ReadonlyRootfs": True})
    assert code == 0 and out == "ok\n" and "Read-only" in err


def test_devices(remapped):
    if remapped.is_reference:
        # Its runtime binds devices by their path in the container, which the host does not have.
        return
    box = remapped.start_container(host={"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm"}]})
    assert box.exec("echo x > /dev/mine && stat -c '%t:%T %a' /dev/mine")[1] == "1:3 666\n"


def test_the_daemon_restarts_and_finds_them(remapped):
    box = remapped.start_container("echo one; exec sleep 1000")
    box.wait_log("one")
    if remapped.is_reference:
        remapped.restart()
        box.start()
    else:
        remapped.kill()
        remapped.start()
        assert box.state["Running"]
    assert box.exec("id -u")[1] == "0\n"
    assert put(remapped, box, "/", "in", 5, 6).status == 200
    assert box.exec("stat -c '%u:%g' /in")[1] == "5:6\n"
    box.kill()
    assert box.wait() == 137


def test_the_default_user_is_made(own_engine):
    engine = own_engine("--userns-remap=default", prepare=lambda e: (e.sandbox.own_etc(), e.dir.chmod(0o711)))
    etc = engine.sandbox.root / "etc"
    assert "\ndockremap:" in (etc / "passwd").read_text() and "\ndockremap:" in (etc / "group").read_text()
    ranges = [line.split(":") for line in (etc / "subuid").read_text().splitlines()]
    (start, count), = [(int(s), int(c)) for name, s, c in ranges if name == "dockremap"]
    box = engine.start_container()
    assert box.proc("uid_map").split() == ["0", str(start), str(count)]


@pytest.mark.parametrize("setting", ["nobody-here", "4242", "a:b:c", "bin"])
def test_settings_that_mean_nobody(own_engine, setting):
    def broken(engine):
        engine.sandbox.own_etc()
    with pytest.raises(RuntimeError) as failed:
        own_engine(f"--userns-remap={setting}", prepare=broken, images=False)
    assert any(word in str(failed.value) for word in ("lookup", "has no entry", "Invalid user/group", "ranges found"))


def test_root_is_not_remapped(own_engine):
    engine = own_engine("--userns-remap=root")
    assert engine.start_container().proc("uid_map").split() == ["0", "0", "4294967295"]


def test_one_store_for_all(own_engine):
    """Containers and images are the same whether the daemon remaps or not."""
    engine = own_engine(prepare=prepare)
    if engine.is_reference:
        # It has a store for each map.
        return
    box = engine.start_container("touch /f; chown 7:8 /f; echo done; exec sleep 1000")
    box.wait_log("done")
    engine.stop()
    engine.arguments.append("--userns-remap=remapped")
    engine.start()
    # What runs goes on as it was started.
    assert box.exec("id -u; stat -c '%u:%g' /f; cat /proc/self/uid_map")[1].split() == ["0", "7:8", "0", "0", "4294967295"]
    box.stop(t=0)
    box.start()
    assert box.exec("stat -c '%u:%g' /f /bin/busybox; cat /proc/self/uid_map")[1].split() == [
        "7:8", "0:0", "0", str(FIRST), str(COUNT)]
    engine.stop()
    engine.arguments.pop()
    engine.start()
    # Looked into with the map it was started with.
    found = members(engine.api.get(f"{box.path}/archive", path="/f", expect=200).body)
    assert found == {"f": (7, 8)}
    assert put(engine, box, "/", "in", 5, 6).status == 200
    assert box.exec("stat -c '%u:%g' /in")[1] == "5:6\n"


def test_builds(remapped):
    """Files of images are the container's own ids, whoever made them; caches and contexts can be used."""
    text = """FROM busybox:e2e
COPY --chown=5:6 f /copied
RUN --mount=type=cache,target=/c,id=remapped echo kept > /c/n && cat /c/n > /from-cache && chown 7:8 /from-cache
RUN --mount=target=/ctx cp /ctx/f /from-context
"""
    if remapped.is_reference:
        # The classic builder knows no mounts.
        text = "FROM busybox:e2e\nCOPY --chown=5:6 f /copied\nRUN echo kept > /from-cache && chown 7:8 /from-cache\nCOPY f /from-context\n"
    found = walk(remapped, build(remapped, {"f": {"data": "x", "mode": 0o600}}, text).id)
    assert found["copied"] == (b"0", "0o600", 5, 6, b"x")
    assert found["from-cache"] == (b"0", "0o644", 7, 8, b"kept\n")
    assert found["from-context"] == (b"0", "0o600", 0, 0, b"x")
