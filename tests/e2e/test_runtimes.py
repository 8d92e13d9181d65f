"""`HostConfig.Runtime`: containers of other OCI runtimes, runc and crun of Debian, beside the built-in one."""

import json
import signal
import threading
import time

import pytest

from harness.engine import cgroup_v2, wait_until
from harness.http import Client

RUNC = "/usr/sbin/runc"
CRUN = "/usr/bin/crun"
ENGINE = {"arguments": ["--add-runtime", f"other={RUNC}", "--add-runtime", f"crun={CRUN}"]}


@pytest.fixture
def engine(engine_of_module):
    return engine_of_module


def other(**host):
    return {"Runtime": "other", **host}


def no_cgroup(engine, box):
    return not any(box.id in path for path in engine.sandbox.cgroups())


def test_info(engine):
    info = engine.api.get("/info", expect=200).json
    assert {"runc", "other", "crun"} <= set(info["Runtimes"]) and info["DefaultRuntime"] == "runc"
    assert info["Runtimes"]["other"]["path"] == RUNC


def test_unknown_runtime(engine):
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"Runtime": "nope"}}
    answer = engine.api.post("/containers/create", body)
    assert answer.status == 400 and answer.json["message"] == "Unknown runtime specified nope"


def test_output_status_and_inspect(engine):
    box = engine.create("echo out; echo err >&2; exit 7", host=other())
    box.start()
    assert box.wait() == 7
    assert box.logs() == ("out\n", "err\n")
    shown = box.inspect()
    assert shown["HostConfig"]["Runtime"] == "other" and shown["State"]["ExitCode"] == 7
    box.start()
    assert box.wait() == 7


def test_a_container_like_any_other(engine):
    out = engine.output("hostname; id -u; id -G; pwd; cat /etc/hostname; echo $HOME; echo $X; mount | grep -c ' /dev/shm '; "
                        "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status; ls /proc/acpi | wc -l; touch /proc/sys/x 2>/dev/null || echo ro",
                        host=other(SecurityOpt=["no-new-privileges"]), Hostname="box", Env=["X=y"], WorkingDir="/tmp/new")
    assert out.splitlines() == ["box", "0", "0", "/tmp/new", "box", "/root", "y", "1", "CapEff:\t00000000a80425fb",
                                "NoNewPrivs:\t1", "Seccomp:\t2", "0", "ro"]


def test_users(engine):
    out = engine.output("id -u; id -g; id -G; echo $HOME; grep CapEff /proc/self/status", User="alice:staff", host=other(GroupAdd=["audio", "77"]))
    assert out.splitlines() == ["1000", "50", "50 29 77", "/home/alice", "CapEff:\t0000000000000000"]


def test_network_ports_and_restart(engine):
    box = engine.start_container("echo hi | nc -l -p 80", network="bridge", ExposedPorts={"80/tcp": {}},
                                 host=other(PortBindings={"80/tcp": [{"HostPort": ""}]}))
    assert box.exec("ip -o -4 addr show eth0 | wc -l; ip route | grep -c default")[1] == "1\n1\n"
    port = int(box.inspect()["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])
    client = engine.sandbox.socket("outside")
    wait_until(lambda: client.connect_ex((engine.address, port)) == 0)
    assert client.recv(10) == b"hi\n"
    client.close()


def test_mounts(engine):
    directory = engine.dir / engine.name("bound")
    directory.mkdir()
    (directory / "file").write_text("host\n")
    out = engine.output("cat /b/file; touch /b/x 2>/dev/null || echo ro; echo v > /v/new; stat -f -c %T /t; touch /x 2>/dev/null || echo root-ro",
                        host=other(Binds=[f"{directory}:/b:ro", "vol:/v"], Tmpfs={"/t": "size=1m"}, ReadonlyRootfs=True))
    assert out == "host\nro\ntmpfs\nroot-ro\n"
    assert engine.output("cat /v/new", host={"Binds": ["vol:/v"]}) == "v\n"


def test_terminal(engine):
    box = engine.start_container("tty; stty size; exec sleep 1000", Tty=True, host=other(ConsoleSize=[30, 90]))
    wait_until(lambda: "/dev/pts/0" in box.logs(tty=True)[0])
    engine.api.post(f"{box.path}/resize", h=40, w=100, expect=200)
    assert box.exec("stty size < /dev/console")[1] == "40 100\n"


def test_execs(engine):
    box = engine.start_container(host=other(), Env=["A=1"])
    code, out, err = box.exec("echo $A $B; echo err >&2; id -u; exit 5", Env=["B=2"], User="bob")
    assert (code, out, err) == (5, "1 2\n1001\n", "err\n")
    code, out, _ = box.exec("tty; exit 3", Tty=True)
    assert code == 3 and "/dev/pts/" in out
    ids = [engine.api.post(f"{box.path}/exec", {"Cmd": ["sleep", "0.2"]}, expect=201).json["Id"] for _ in range(5)]
    for id in ids:
        engine.api.post(f"/exec/{id}/start", {"Detach": True}, expect=200)
    wait_until(lambda: all(not engine.api.get(f"/exec/{id}/json", expect=200).json["Running"] for id in ids))
    assert box.exec(["/no/such"])[0] in (126, 127)
    assert "process" not in str(box.exec("ls /proc | grep -c '^[0-9]'")[2])


def test_signals_pause_stats_top_update(engine):
    box = engine.start_container("trap 'echo term; exit 9' TERM; echo ready; while true; do sleep 0.1; done", host=other(Memory=64 << 20))
    box.wait_log("ready")
    engine.api.post(f"{box.path}/pause", expect=204)
    assert box.state["Paused"]
    engine.api.post(f"{box.path}/unpause", expect=204)
    stats = json.loads(engine.api.get(f"/containers/{box.id}/stats?stream=0", expect=200).body)
    assert stats["memory_stats"]["limit"] == 64 << 20 and stats["pids_stats"]["current"] >= 1
    assert "sh" in str(engine.api.get(f"{box.path}/top", expect=200).json["Processes"])
    engine.api.post(f"{box.path}/update", {"Memory": 32 << 20, "MemorySwap": 64 << 20}, expect=200)
    assert (box.cgroup("memory") / ("memory.max" if cgroup_v2() else "memory.limit_in_bytes")).read_text().strip() == str(32 << 20)
    box.kill(signal="TERM")
    assert box.wait() == 9 and "term" in box.logs()[0]
    wait_until(lambda: no_cgroup(engine, box), what="the end of its cgroup")


def test_copies_and_changes(engine):
    box = engine.start_container("echo x > /made; echo done; exec sleep 1000", host=other())
    box.wait_log("done")
    assert b"made" in engine.api.get(f"{box.path}/export", expect=200).body
    assert {c["Path"] for c in engine.api.get(f"{box.path}/changes", expect=200).json} == {"/made"}
    assert engine.api.get(f"{box.path}/archive", path="/made", expect=200).status == 200


def test_init(engine):
    """Pid 1 passes signals on, reaps orphans and ends with the program's status."""
    box = engine.start_container("trap 'echo term; exit 9' TERM; (sleep 0.1 & exit) ; echo ready; while true; do sleep 0.1; done", host=other(Init=True))
    box.wait_log("ready")
    # Docker's init has its full path as its name where the kernel shows it.
    code, out, _ = box.exec("tr '\\0' ' ' < /proc/1/cmdline; echo; cat /proc/1/comm; ls -l /sbin/docker-init | cut -c1-10; touch /sbin/docker-init; mount | grep -c docker-init")
    line, comm, mode, mounts = out.splitlines()
    assert line.startswith("/sbin/docker-init -- sh -c ") and comm == "docker-init" and mounts == "1"
    assert code == 0 and mode.startswith("-r-xr-xr-x" if not engine.is_reference else "-rwx")
    wait_until(lambda: " Z " not in box.exec("ps -o pid,stat,args")[1])
    box.kill(signal="TERM")
    assert box.wait() == 9 and "term" in box.logs()[0]


@pytest.mark.parametrize("program, code, words", [("/no/such", 127, "No such file"), ("no-such", 127, "No such file"), ("/etc/passwd", 126, "ermission denied")])
def test_programs_that_cannot_run_under_init(engine, program, code, words):
    """The container starts: it is init that finds out."""
    box = engine.start_container([program], host=other(Init=True))
    assert (box.wait(), words in box.logs()[1]) == (code if not engine.is_reference else box.state["ExitCode"], True)


def test_init_with_a_terminal_and_a_user(engine):
    box = engine.start_container("tty; id -u; cat /proc/1/comm; ps -o pid,pgid,comm | grep -v ps; read x; echo got $x; exit 4", User="alice", Tty=True, OpenStdin=True,
                                 host=other(Init=True))
    session = engine.api.request("POST", "", raw_target=f"/v1.41{box.path}/attach?stream=1&stdin=1&stdout=1", hijack=True)
    session.connection.write(b"hello\n")
    assert box.wait() == 4
    session.close()
    out = box.logs(tty=True)[0]
    assert "/dev/pts/0" in out and "1000" in out and "docker-init" in out and "got hello" in out


@pytest.mark.differs(reference="20.10 has neither images nor parts of volumes as mounts")
def test_mounts_that_have_no_path_on_the_host(engine):
    """An image, parts of it and of a volume, and volumes that are a file system."""
    engine.run("mkdir -p /v/a/deep && echo part > /v/a/deep/file && ln -s /etc /v/a/out", host={"Binds": ["parted:/v"]})
    options = {"DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}}
    newest = Client(engine.socket, "1.41" if engine.is_reference else "1.51", engine.recorder)
    volume = lambda target, source="parted", **more: {"Type": "volume", "Source": source, "Target": target, **more}
    box = engine.create("cat /part/file /file; ls -d /image/bin /applets/sh; touch /image/x /applets/x 2>&1 | grep -c Read-only; "
                        "echo kept > /own/kept; df -k /own | tail -1; touch /part/ro 2>&1; ls /part; exec sleep 1000", api=newest, host=other(Mounts=[
        volume("/part", ReadOnly=True, VolumeOptions={"Subpath": "a/deep"}), volume("/file", VolumeOptions={"Subpath": "a/deep/file"}),
        {"Type": "image", "Source": "busybox:e2e", "Target": "/image"},
        {"Type": "image", "Source": "busybox:e2e", "Target": "/applets", "ImageOptions": {"Subpath": "bin"}},
        volume("/own", "small", VolumeOptions=options)]))
    box.start()
    box.wait_log("file\n")
    lines = box.logs()[0].splitlines()
    assert lines[:5] == ["part", "part", "/applets/sh", "/image/bin", "2"]
    assert lines[5].split()[1] == "1024" and "Read-only" in lines[6] and lines[7] == "file"
    # Another container sees the same file system, and it goes with the last of them.
    assert engine.output("cat /own/kept", host={"Binds": ["small:/own"]}) == "kept\n"
    box.remove(force=True)
    assert engine.output("ls /own", host=other(Binds=["small:/own"])) == ""
    # No link leads out of a volume.
    wrong = engine.create("true", api=newest, host=other(Mounts=[volume("/out", VolumeOptions={"Subpath": "a/out"})]))
    assert "escapes" in wrong.start(expect=(400, 500)).message
    assert not [path for path in engine.sandbox.cgroups() if wrong.id in path]


@pytest.fixture
def hangs(own_engine):
    """An engine with a runtime that does nothing but wait for a child of its own."""
    def prepare(engine):
        script = engine.dir / "hangs"
        script.write_text("#!/bin/sh\necho $1 $2 $3 $4 $5 $6 >> " + str(engine.dir / "calls") + "\nsleep 7777 & wait\n")
        script.chmod(0o755)
        engine.arguments += ["--add-runtime", f"hangs={script}"]
    return own_engine(prepare=prepare)


def begin(engine):
    """A container whose start hangs, the thread that waits for it, and the list that gets the answer."""
    box = engine.create(network="bridge", host={"Runtime": "hangs"})
    answers = []
    starts = threading.Thread(target=lambda: answers.append(engine.api.post(f"{box.path}/start", timeout=150)))
    starts.start()
    wait_until(lambda: (engine.dir / "calls").exists())
    return box, starts, answers


def sleepers(engine):
    return engine.sandbox.run(["pgrep", "-f", "sleep 7777"], check=False).stdout


@pytest.mark.timeout(200)
@pytest.mark.differs(reference="waits as long as the runtime does")
def test_a_runtime_that_hangs(hangs):
    """It is given a minute; then the start fails, with all that the runtime has started, and the container is as before."""
    engine = hangs
    box, starts, answers = begin(engine)
    # Nobody else waits for it.
    assert engine.output("echo hi") == "hi\n"
    assert engine.api.get(f"{box.path}/json", expect=200).json["State"]["Status"] == "created"
    starts.join()
    (answer,) = answers
    assert answer.status >= 400 and "the runtime did not answer" in answer.message, answer.text
    assert box.state["Status"] == "created" and "did not answer" in box.state["Error"]
    wait_until(lambda: sleepers(engine) == "", what="the end of what it has begun")
    box.remove()


@pytest.mark.differs(reference="waits as long as the runtime does")
def test_removal_during_a_start_that_hangs(hangs):
    """By force it does not wait for the runtime's minute, only for the end of what it has begun."""
    engine = hangs
    box, starts, answers = begin(engine)
    wait_until(lambda: sleepers(engine) != "")
    before = time.monotonic()
    box.remove(force=True)
    assert time.monotonic() - before < 40
    starts.join()
    assert answers[0].status >= 400 and "the runtime was killed" in answers[0].message, answers[0].text
    wait_until(lambda: sleepers(engine) == "" and no_cgroup(engine, box), what="the end of what it has begun")


@pytest.mark.parametrize("program, code", [("/no/such", 127), ("no-such", 127), ("/etc/passwd", 126)])
def test_programs_that_cannot_run(engine, program, code):
    box = engine.create([program], host=other())
    answer = box.start(expect=None)
    assert answer.status == 400 and "OCI runtime create failed" in answer.json["message"], answer.body
    assert box.state["ExitCode"] == code
    assert box.state["Status"] == "created" or box.state["Status"] == "exited"


def test_crun(engine):
    """Debian's crun refuses a machine with both kinds of hierarchies, in its own words."""
    box = engine.create("echo hi; exit 4", host={"Runtime": "crun"})
    answer = box.start(expect=None)
    from harness.sandbox import cgroup_hierarchies
    if len(cgroup_hierarchies()) > 1 and not cgroup_v2():
        assert answer.status in (400, 500) and "hybrid" in answer.json["message"], answer.body
        return
    assert answer.status == 204 and box.wait() == 4 and box.logs()[0] == "hi\n"


def test_the_program_is_missing(own_engine):
    engine = own_engine("--add-runtime", "gone=/no/such/runtime")
    box = engine.create(host={"Runtime": "gone"})
    answer = box.start(expect=None)
    assert answer.status >= 400 and "/no/such/runtime" in answer.json["message"], answer.body


def test_default_runtime(own_engine):
    engine = own_engine("--add-runtime", f"other={RUNC}", "--default-runtime", "other")
    assert engine.api.get("/info", expect=200).json["DefaultRuntime"] == "other"
    box = engine.start_container("echo x; exec sleep 1000")
    assert box.inspect()["HostConfig"]["Runtime"] == "other"


@pytest.mark.parametrize("arguments, words", [
    (["--default-runtime", "nope"], "specified default runtime 'nope' does not exist"),
    (["--add-runtime", "runc=/bin/true"], "runtime name 'runc' is reserved"),
])
def test_settings_that_are_wrong(own_engine, arguments, words):
    with pytest.raises(RuntimeError) as failed:
        own_engine(*arguments, images=False)
    assert words in str(failed.value)


def test_runtime_arguments(own_engine):
    def prepare(engine):
        # Written by the program itself: proof that it got them.
        wrapper = engine.dir / "wrapper"
        wrapper.write_text(f"#!/bin/sh\necho \"$@\" >> {engine.dir}/calls\n[ \"$1\" = --systemd-cgroup=false ] && shift\nexec {RUNC} \"$@\"\n")
        wrapper.chmod(0o755)
        config = engine.dir / "daemon.json"
        config.write_text(json.dumps({"runtimes": {"wrapped": {"path": str(wrapper), "runtimeArgs": ["--systemd-cgroup=false"]}}}))
        engine.arguments += ["--config-file", str(config)]
    engine = own_engine(prepare=prepare)
    assert engine.output("echo hi", host={"Runtime": "wrapped"}) == "hi\n"
    assert "--systemd-cgroup=false" in (engine.dir / "calls").read_text()


def test_the_daemon_dies(own_engine, engine_kind):
    if engine_kind == "reference":
        # Without --live-restore its containers die with it.
        return
    engine = own_engine("--add-runtime", f"other={RUNC}")
    box = engine.start_container("while read x; do echo got $x; done; exec sleep 1000", OpenStdin=True, host=other())
    quick = engine.start_container("sleep 1; exit 5", host=other())
    engine.kill()
    engine.start()
    assert box.state["Running"] and box.exec("echo in")[1] == "in\n"
    assert quick.wait() == 5
    box.kill()
    assert box.wait() == 137
    wait_until(lambda: no_cgroup(engine, box), what="the end of its cgroup")


def test_the_shim_dies(own_engine, engine_kind):
    if engine_kind == "reference":
        return
    engine = own_engine("--add-runtime", f"other={RUNC}")
    box = engine.start_container(host=other())
    pid = box.pid
    shim, = [p for p, line in engine.sandbox.processes().items() if line.startswith("gantry-shim " + box.id)]
    engine.sandbox.run(["kill", f"-{int(signal.SIGKILL)}", str(shim)])
    assert box.wait() == 137
    wait_until(lambda: pid not in engine.sandbox.processes() and no_cgroup(engine, box))
    box.start()
    assert box.exec("echo again")[1] == "again\n"
