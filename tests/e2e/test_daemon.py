"""The daemon goes and comes back: containers go on, exits are seen, nothing is forgotten; and its flags."""

import json
import os
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from harness.engine import program, wait_until

# What the reference does only when told to, ours does always.
LIVE = ["--live-restore"]


@pytest.fixture
def engine(own_engine):
    return own_engine(*LIVE)


def plain(value):
    """null and empty are one: 20.10 turns some of one into the other when it comes back."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()} or None
    if isinstance(value, list):
        return [plain(v) for v in value] or None
    return value or None


def gone(engine, container, pid):
    """Until a container, and who looks after it when no daemon does, has ended."""
    wait_until(lambda: not engine.sandbox.proc(pid).exists(), what="the container's end")
    if not engine.is_reference:
        wait_until(lambda: f"gantry-shim {container.id}" not in engine.sandbox.processes().values(), what="its parent's end")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_containers_go_on(engine, how):
    container = engine.start_container(["probe", "lines", "-1", "1000"], name="goes-on")
    container.wait_log("line 10\n")
    before = plain(container.inspect())
    getattr(engine, how)()
    engine.start()
    after = plain(container.inspect())
    for key in ("Id", "Name", "Created", "Path", "Args", "Image", "HostConfig", "Config", "Mounts"):
        assert after[key] == before[key], key
    assert after["State"]["Running"]
    assert (after["State"]["Pid"], after["State"]["StartedAt"]) == (before["State"]["Pid"], before["State"]["StartedAt"])
    seen = int(container.logs(tail=1)[0].split()[1])
    wait_until(lambda: int(container.logs(tail=1)[0].split()[1]) > seen + 10)
    container.kill()
    assert container.wait() == 137
    lines = container.logs()[0].splitlines()
    assert lines == [f"line {n}" for n in range(1, len(lines) + 1)] or engine.is_reference


def test_an_exit_while_the_daemon_is_dead(engine):
    container = engine.start_container("while ! test -e /data/go; do sleep 0.05; done; echo last words; exit 42", name="dies-alone",
                                       host={"Binds": [f"{engine.dir}:/data"]})
    pid = container.pid
    engine.kill()
    before = datetime.now(timezone.utc)
    (engine.dir / "go").touch()
    gone(engine, container, pid)
    ended = datetime.now(timezone.utc)
    engine.start()
    state = container.state
    assert state["Status"] == "exited" and state["ExitCode"] == 42
    assert container.logs()[0] == "last words\n" or engine.is_reference  # Nobody read them.
    if not engine.is_reference:  # 20.10 says when it noticed.
        # Cut to whole microseconds.
        assert before <= datetime.fromisoformat(state["FinishedAt"]) + timedelta(microseconds=1) and ended >= datetime.fromisoformat(state["FinishedAt"])
    assert container.wait() == 42


def test_created_and_stopped_ones_stay(engine):
    created = engine.create(name="stays-created", Labels={"a": "b"}, host={"Binds": ["stays:/v"]})
    stopped = engine.start_container("echo kept; exit 3", name="stays-stopped")
    stopped.wait()
    before = [plain(c.inspect()) for c in (created, stopped)]
    engine.kill()
    engine.start()
    assert [plain(c.inspect()) for c in (created, stopped)] == before
    assert stopped.logs()[0] == "kept\n"
    assert engine.api.get("/volumes/stays").status == 200
    created.start()
    assert created.wait() == 0


def test_images_stay(engine):
    before = engine.api.get("/images/json").json
    engine.kill()
    engine.start()
    assert engine.api.get("/images/json").json == before
    assert engine.output("echo works") == "works\n"


def test_exec_attach_and_stop_after_a_restart(engine):
    container = engine.start_container("trap 'echo bye; exit 7' TERM; while read l; do echo got $l; done", OpenStdin=True)
    engine.kill()
    engine.start()
    assert container.exec("echo inside") == (0, "inside\n", "")
    answer = container.api.request("POST", "", raw_target=f"/v1.41{container.path}/attach?stream=1&stdin=1&stdout=1", hijack=True)
    answer.connection.write(b"x\n")
    container.wait_log("got x")
    answer.close()
    container.stop(t=2)
    assert container.state["Status"] == "exited"


def test_a_terminal_after_a_restart(engine):
    container = engine.start_container(["probe", "winsize"], Tty=True)
    engine.kill()
    engine.start()
    container.api.post(f"{container.path}/resize", h=41, w=121, expect=200)
    container.wait_log("size 41 121")


def test_ports_after_a_restart(engine):
    from harness.published import ask
    container = engine.start_container(["probe", "echo", "tcp", "80"], network="bridge", ExposedPorts={"80/tcp": {}}, host={
        "PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    container.wait_log("listening")
    before = container.inspect()["NetworkSettings"]
    engine.kill()
    if not engine.is_reference:  # Its user-land proxy died with it; rules alone remain.
        assert ask(engine, "outside", engine.address, 8080).startswith("echo:")
    engine.start()
    assert ask(engine, "outside", engine.address, 8080).startswith("echo:")
    assert ask(engine, "host", "127.0.0.1", 8080).startswith("echo:")
    after = container.inspect()["NetworkSettings"]
    assert (after["IPAddress"], after["Ports"]) == (before["IPAddress"], before["Ports"])
    other = engine.start_container(network="bridge")
    assert other.ip != before["IPAddress"]
    container.remove(force=True)


@pytest.mark.parametrize("name, restarted", [("always", True), ("unless-stopped", True), ("on-failure", True), ("no", False)])
def test_policies_work_on_what_ended_meanwhile(engine, name, restarted):
    container = engine.start_container("test -e /again && exec sleep 1000; touch /again; while ! test -e /data/go; do sleep 0.05; done; exit 1", host={
        "RestartPolicy": {"Name": name}, "Binds": [f"{engine.dir}:/data"]})
    wait_until(lambda: container.exec(["test", "-e", "/again"])[0] == 0)
    pid = container.pid
    engine.kill()
    (engine.dir / "go").touch()
    gone(engine, container, pid)
    engine.start()
    if restarted:
        wait_until(lambda: container.state["Running"])
    else:
        time.sleep(0.5)
        assert container.state["Status"] == "exited"


def test_policies_when_nothing_ran(engine):
    """always starts again after the user's stop when the daemon does; unless-stopped does not."""
    always = engine.start_container(host={"RestartPolicy": {"Name": "always"}})
    unless = engine.start_container(host={"RestartPolicy": {"Name": "unless-stopped"}})
    for container in (always, unless):
        container.stop(t=0)
    engine.restart()
    wait_until(lambda: always.state["Running"])
    assert unless.state["Status"] == "exited"


def test_auto_remove_of_what_ended_meanwhile(engine):
    container = engine.start_container("while ! test -e /data/go; do sleep 0.05; done", host={"AutoRemove": True, "Binds": [f"{engine.dir}:/data"]})
    pid = container.pid
    engine.kill()
    (engine.dir / "go").touch()
    gone(engine, container, pid)
    engine.start()
    wait_until(lambda: container.api.get(f"{container.path}/json").status == 404)


def test_half_a_remove_is_finished_or_undone(engine):
    containers = [engine.start_container() for _ in range(5)]
    import threading
    threads = [threading.Thread(target=lambda c=c: _quietly(lambda: c.remove(force=True))) for c in containers]
    for thread in threads:
        thread.start()
    time.sleep(0.02)
    engine.kill()
    for thread in threads:
        thread.join()
    engine.start()
    for container in containers:
        answer = container.api.get(f"{container.path}/json")
        assert answer.status in (200, 404)
        if answer.status == 200:
            # Its removal may be under way.
            container.remove(force=True, expect=(204, 404, 409))
    wait_until(lambda: engine.api.get("/containers/json", all=True).json == [])
    if not engine.is_reference:
        wait_until(lambda: engine.sandbox.cgroups() == [])


def _quietly(action):
    try:
        action()
    except (OSError, AssertionError):
        pass


def test_events_go_on(engine):
    since = f"{time.time():.9f}"
    container = engine.start_container(name="evented")
    engine.restart()
    container.kill()
    container.wait()
    found = engine.api.get("/events", since=since, until=f"{time.time() + 0.01:.9f}", filters={"container": [container.id]}).objects
    assert [e["Action"] for e in found][-2:] == ["kill", "die"]


def test_sigterm_ends_it_cleanly(engine):
    container = engine.start_container()
    assert engine.stop(60) == 0
    assert not engine.pidfile.exists()
    engine.start()
    assert container.state["Running"]
    assert int(engine.pidfile.read_text()) > 1


def test_pidfile_in_use(engine):
    if engine.is_reference:
        assert engine.pidfile.exists()
    line = engine.command()
    line[line.index("-H") + 1] = f"unix://{engine.dir}/second.sock"
    done = engine.sandbox.run(line, check=False, timeout=60)
    assert done.returncode != 0
    assert "pid" in (done.stdout + done.stderr).lower()


def test_a_second_daemon_on_the_same_root_is_refused(engine):
    if engine.is_reference:
        return  # dockerd relies on its pidfile alone.
    line = engine.command()
    line[line.index("-H") + 1] = f"unix://{engine.dir}/second.sock"
    line[line.index("--pidfile") + 1] = str(engine.dir / "second.pid")
    done = engine.sandbox.run(line, check=False, timeout=60)
    assert done.returncode != 0, done.stdout
    engine.api.get("/_ping", expect=200)


def test_socket_mode(engine):
    assert engine.socket.stat().st_mode & 0o777 == 0o660


class TestFlags:
    """Without a running engine."""

    @pytest.fixture
    def run(self, engine_kind, tmp_path):
        def run(*args, config=None, timeout=60):
            line = [program(engine_kind)] + ([] if engine_kind == "reference" else ["daemon"])
            if config is not None:
                (tmp_path / "daemon.json").write_text(config if isinstance(config, str) else json.dumps(config))
                line += ["--config-file", str(tmp_path / "daemon.json")]
            done = subprocess.run([*line, "--data-root", str(tmp_path / "d"), "--exec-root", str(tmp_path / "e"),
                                   "--pidfile", str(tmp_path / "p"), *map(str, args)], capture_output=True, text=True, timeout=timeout)
            return done.returncode, done.stdout + done.stderr
        return run

    def test_validate(self, run, engine_kind):
        code, out = run("--validate", config={"hosts": ["unix:///tmp/x.sock"], "debug": True})
        if engine_kind == "reference":
            assert code != 0 and "unknown flag" in out  # Came with 23.0.
            return
        assert (code, out.strip().splitlines()[-1]) == (0, "configuration OK")

    def test_unknown_key(self, run):
        code, out = run(config={"hosts": ["unix:///nowhere/x"], "nonsense-key": 1})
        assert code != 0 and "nonsense-key" in out

    def test_wrong_type(self, run):
        code, out = run(config={"debug": "perhaps"})
        assert code != 0 and "debug" in out

    def test_not_json(self, run):
        code, out = run(config="{not json")
        assert code != 0 and "daemon.json" in out

    def test_conflict_of_flag_and_file(self, run, tmp_path):
        code, out = run("-H", f"unix://{tmp_path}/a", config={"hosts": ["unix:///b"]})
        assert code != 0 and "hosts" in out and "both as a flag and in the configuration file" in out

    def test_unknown_flag(self, run):
        code, out = run("--nonsense")
        assert code != 0 and "--nonsense" in out

    def test_version(self, engine_kind):
        done = subprocess.run([program(engine_kind), "--version"], capture_output=True, text=True)
        assert done.returncode == 0 and "ersion" in done.stdout or engine_kind == "gantry" and "gantry" in done.stdout


@pytest.mark.parametrize("arguments", [
    ["--bip", "10.77.0.1/24"], ["--mtu", "1400"], ["--default-ulimit", "nofile=100:200"], ["--log-opt", "max-size=1m"],
    ["--init"], ["--label", "kind=test"], ["--userland-proxy=false"], ["--iptables=false"], ["-D"], ["--log-level", "warn"],
    ["--shutdown-timeout", "3"], ["--log-driver", "none"], ["--dns", "10.9.9.9"], ["--default-shm-size", "8m"],
])
def test_flags_take_effect(own_engine, arguments):
    engine = own_engine(*arguments)
    container = engine.start_container(network="bridge")
    name = arguments[0].split("=")[0]
    if name == "--bip":
        assert container.ip.startswith("10.77.0.")
    elif name == "--mtu":
        assert "mtu 1400" in container.exec(["ip", "link", "show", "eth0"])[1]
    elif name == "--default-ulimit":
        # 20.10's Go raises the soft limit of what it execs now and then.
        assert container.exec("ulimit -n; ulimit -Hn")[1] in (["100\n200\n", "200\n200\n"] if engine.is_reference else ["100\n200\n"])
    elif name == "--init":
        assert "sleep" not in container.exec(["cat", "/proc/1/cmdline"])[1].split("\0")[0]
    elif name == "--label":
        assert engine.api.get("/info").json["Labels"] == ["kind=test"]
    elif name == "--log-opt":
        assert container.inspect()["HostConfig"]["LogConfig"]["Config"] == {"max-size": "1m"}
    elif name == "--log-driver":
        assert container.inspect()["HostConfig"]["LogConfig"]["Type"] == "none"
    elif name == "--iptables":
        assert not any("dnat" in line or "masquerade" in line for line in engine.sandbox.ruleset())
    elif name == "-D":
        assert engine.api.get("/info").json["Debug"]
    elif name == "--dns":
        assert "10.9.9.9" in container.exec(["cat", "/etc/resolv.conf"])[1]
    elif name == "--default-shm-size":
        assert container.exec("df -k /dev/shm | tail -1")[1].split()[1] == "8192"
    container.remove(force=True)


def test_tcp(own_engine):
    import http.client
    from harness.sandbox import ENGINE_ADDRESS
    engine = own_engine("-H", f"tcp://{ENGINE_ADDRESS}:2375", images=False)
    sock = engine.sandbox.socket("outside")
    wait_until(lambda: sock.connect_ex((ENGINE_ADDRESS, 2375)) == 0)
    connection = http.client.HTTPConnection("x")
    connection.sock = sock
    connection.request("GET", "/version")
    assert json.load(connection.getresponse())["ApiVersion"]


def make_certificates(path):
    """An authority, a server and a client, made with openssl."""
    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=path)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name, extra in (("server", "subjectAltName=IP:10.99.0.2\nextendedKeyUsage=serverAuth"), ("client", "extendedKeyUsage=clientAuth")):
        (path / f"{name}.ext").write_text(extra)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem",
                "-days", "2", "-extfile", f"{name}.ext")


def test_tls(own_engine, tmp_path):
    import ssl
    from harness.sandbox import ENGINE_ADDRESS
    make_certificates(tmp_path)
    engine = own_engine("-H", f"tcp://{ENGINE_ADDRESS}:2376", "--tlsverify", "--tlscacert", tmp_path / "ca.pem",
                        "--tlscert", tmp_path / "server.pem", "--tlskey", tmp_path / "server.key", images=False)

    def ask(with_certificate):
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        if with_certificate:
            context.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        with engine.sandbox.socket("outside") as sock:
            sock.connect((ENGINE_ADDRESS, 2376))
            with context.wrap_socket(sock, server_hostname=ENGINE_ADDRESS) as secure:
                secure.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return secure.recv(4096)

    assert b"200 OK" in ask(True)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        assert b"200 OK" in ask(False) or _raise(ssl.SSLError("no answer"))
    with engine.sandbox.socket("outside") as sock:
        sock.connect((ENGINE_ADDRESS, 2376))
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" not in sock.recv(4096)


def _raise(error):
    raise error


def test_two_daemons_on_one_machine(own_engine):
    """In one sandbox: other roots, other bridge, nothing collides."""
    first = own_engine()
    if first.is_reference:
        return  # dockerd's chains have fixed names.
    line = first.command()
    for flag, value in (("-H", f"unix://{first.dir}/2.sock"), ("--data-root", f"{first.dir}/data2"), ("--exec-root", f"{first.dir}/exec2"),
                        ("--pidfile", f"{first.dir}/pid2")):
        line[line.index(flag) + 1] = value
    process = subprocess.Popen(first.sandbox.enter([*line, "--bip", "10.66.0.1/24"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        from harness.http import Client
        second = Client(f"{first.dir}/2.sock", "1.41")
        wait_until(lambda: Path(f"{first.dir}/2.sock").exists() and _answers(second))
        container = first.start_container(network="bridge")
        assert second.get("/containers/json", all=True).json == []
        assert first.api.get("/networks/bridge").json["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16"
        assert second.get("/networks/bridge").json["IPAM"]["Config"][0]["Subnet"] == "10.66.0.0/24"
        container.remove(force=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.kill()
        process.wait()


def _answers(client):
    try:
        return client.get("/_ping").status == 200
    except OSError:
        return False


def test_called_dockerd(own_engine, tmp_path):
    """By that name it takes dockerd's flags, also those that mean nothing here."""
    first = own_engine(images=False)
    link = tmp_path / "dockerd"
    os.symlink(program(first.kind), link)
    line = first.command()
    line = [str(link), *(line[1:] if first.is_reference else line[2:])]
    for flag, value in (("-H", f"unix://{first.dir}/2.sock"), ("--data-root", f"{first.dir}/data2"), ("--exec-root", f"{first.dir}/exec2"),
                        ("--pidfile", f"{first.dir}/pid2")):
        line[line.index(flag) + 1] = value
    extra = ["--containerd-namespace", "x", "--registry-mirror", "https://mirror.example", "--max-concurrent-downloads", "5",
             "--experimental", "--live-restore", "--bridge", "none", "--iptables=false", "--insecure-registry", "10.0.0.0/8"]
    process = subprocess.Popen(first.sandbox.enter([*line, *extra]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        from harness.http import Client
        wait_until(lambda: _answers(Client(f"{first.dir}/2.sock")))
    finally:
        process.kill()
        process.wait()
