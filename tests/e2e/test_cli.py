"""The docker command, every one that is installed, its traffic recorded and judged."""

import json
import re
import subprocess
import time

import pytest

from harness import rootfs
from harness.engine import IMAGE, wait_until


@pytest.fixture(autouse=True)
def stop_at_the_end(engine):
    yield
    for container in engine.api.get("/containers/json").json:
        engine.api.post(f"/containers/{container['Id']}/kill")


@pytest.fixture
def terminal(docker):
    """Starts docker on a terminal; ended with the test."""
    made = []

    def start(*args, **options):
        found = docker.terminal(*args, **options)
        made.append(found)
        return found

    yield start
    for one in made:
        one.close()


def running(engine, name):
    answer = engine.api.get(f"/containers/{name}/json")
    return answer.status == 200 and answer.json["State"]["Running"]


def test_version(docker):
    out = docker.out("version")
    assert "Client" in out and "Server" in out
    assert docker.out("version", "--format", "{{.Server.Os}}") == "linux"


def test_info(docker, engine):
    out = docker.out("info")
    assert f"Docker Root Dir: {engine.data_root}" in out
    assert "ERROR" not in out


def test_run(docker):
    done = docker("run", IMAGE, "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize("code", [0, 1, 42])
def test_run_exit_codes(docker, code):
    assert docker("run", "--rm", IMAGE, "sh", "-c", f"exit {code}", check=False).returncode == code


def test_run_rm(docker, engine):
    docker("run", "--rm", "--name", "goes", IMAGE, "true")
    assert engine.api.get("/containers/goes/json").status == 404


@pytest.mark.parametrize("program, code, message", [
    ("no-such-program", 127, "executable file not found in $PATH"), ("/bin/not-executable", 126, "permission denied")])
def test_run_what_cannot_be(docker, program, code, message):
    done = docker("run", "--rm", IMAGE, program, check=False)
    assert done.returncode == code and message in done.stderr


def test_run_missing_image(docker):
    done = docker("run", "--pull", "never", "no-such-image", check=False)
    assert done.returncode == 125 and "No such image: no-such-image:latest" in done.stderr


def test_run_with_input(docker):
    assert docker("run", "-i", "--rm", IMAGE, "cat", stdin="some\ntext\n").stdout == "some\ntext\n"


def test_run_with_much_input(docker):
    text = "x" * 79 + "\n"
    assert docker("run", "-i", "--rm", IMAGE, "wc", "-l", stdin=text * 50000).stdout.strip() == "50000"


def test_run_on_a_terminal(docker, terminal):
    term = terminal("run", "-it", "--rm", "--name", "interactive", IMAGE, "sh", rows=31, cols=101)
    term.expect("# ")
    term.send("echo mark-$((40+2)); tty\r")
    term.expect("mark-42")
    term.expect("/dev/pts/0")
    term.expect("# ")
    term.send("probe winsize\r")
    term.expect("size 31 101")
    term.resize(45, 145)
    term.process.send_signal(28)
    term.expect("size 45 145")
    term.send("\x03exit 7\r")
    code, _ = term.wait()
    assert code == 7


def test_ctrl_c_on_a_terminal(docker, terminal):
    term = terminal("run", "-it", "--rm", IMAGE, "sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done")
    term.expect("ready")
    term.send("\x03")
    term.expect("caught")
    assert term.wait()[0] == 3


def test_detach_and_attach_on_a_terminal(docker, engine, terminal):
    term = terminal("run", "-it", "--name", "detached", IMAGE, "sh")
    term.expect("# ")
    term.send("\x10\x11")
    assert term.wait()[0] == 0
    assert running(engine, "detached")
    term = terminal("attach", "detached")
    term.send("echo again-$((1+1))\r")
    term.expect("again-2")
    term.send("exit 5\r")
    assert term.wait()[0] == 5


def test_attach(docker, engine):
    docker("run", "-d", "--name", "att", IMAGE, "sh", "-c", "mkfifo /go; read x < /go; echo later; exit 4")
    process = docker.popen("attach", "--no-stdin", "att")
    engine.wait_answered("/attach?")
    wait_until(lambda: docker("exec", "att", "test", "-e", "/go", check=False).returncode == 0)
    # The container may end, and all its processes with it, before this one has.
    docker("exec", "att", "sh", "-c", "echo > /go", check=False)
    assert (process.stdout.read(), process.wait(40)) == (b"later\n", 4)


def test_signals_are_passed_on(docker, engine):
    process = docker.popen("run", "--rm", "--name", "sig", IMAGE, "probe", "signals")
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(1)
    assert process.stdout.readline() == b"signal 1\n"
    docker("kill", "-s", "USR2", "sig")
    assert process.wait(40) == 42


def test_run_detached_and_published(docker, engine):
    from harness.published import ask
    id = docker.out("run", "-d", "-p", "8080:80", "-p", "127.0.0.1::81/udp", "--name", "pub", IMAGE, "probe", "echo", "tcp", "80")
    assert re.fullmatch("[0-9a-f]{64}", id)
    wait_until(lambda: "listening" in docker.out("logs", "pub"))
    assert ask(engine, "outside", engine.address, 8080).startswith("echo:")
    assert "0.0.0.0:8080" in docker.out("port", "pub", "80")
    assert re.search(r"127\.0\.0\.1:\d+->81/udp", docker.out("ps", "--format", "{{.Ports}}"))


def test_ps(docker):
    docker("run", "-d", "--name", "up", IMAGE, "sleep", "1000")
    docker("run", "--name", "down", IMAGE, "true")
    lines = docker.out("ps").splitlines()
    assert len(lines) == 2 and lines[1].endswith("up") and '"sleep 1000"' in lines[1]
    assert docker.out("ps", "-a", "--format", "{{.Names}}").splitlines() == ["down", "up"]
    assert docker.out("ps", "-aq", "--filter", "name=down", "--no-trunc") == docker.out("inspect", "-f", "{{.Id}}", "down")
    assert docker.out("ps", "-as", "--format", "{{.Size}}")


def test_exec(docker):
    docker("run", "-d", "--name", "ex", IMAGE, "sleep", "1000")
    done = docker("exec", "-e", "A=1", "-w", "/data", "-u", "alice", "ex", "sh", "-c", "echo $A; pwd; id -un; exit 9", check=False)
    assert (done.returncode, done.stdout) == (9, "1\n/data\nalice\n")
    assert docker("exec", "-i", "ex", "cat", stdin="input\n").stdout == "input\n"
    docker("exec", "-d", "ex", "touch", "/detached")
    wait_until(lambda: docker("exec", "ex", "test", "-e", "/detached", check=False).returncode == 0)
    done = docker("exec", "ex", "no-such", check=False)
    assert done.returncode in (126, 127) and "executable file not found" in done.stdout + done.stderr


def test_exec_on_a_terminal(docker, terminal):
    docker("run", "-d", "--name", "ext", IMAGE, "sleep", "1000")
    term = terminal("exec", "-it", "ext", "sh")
    term.expect("# ")
    term.send("echo in-$((2*3)); exit 6\r")
    term.expect("in-6")
    assert term.wait()[0] == 6


def test_logs(docker):
    docker("run", "--name", "log", IMAGE, "sh", "-c", "for i in 1 2 3; do echo line $i; done; echo err >&2")
    done = docker("logs", "log")
    assert (done.stdout, done.stderr) == ("line 1\nline 2\nline 3\n", "err\n")
    assert docker.out("logs", "-n", "2", "log") in ("line 3", "line 2\nline 3")
    assert re.match(r"\d{4}-\d\d-\d\dT", docker.out("logs", "-t", "log"))
    assert docker.out("logs", "--since", "1h", "log")


def test_logs_follow(docker):
    docker("run", "-d", "--name", "follow", IMAGE, "probe", "lines", "20", "50000")
    done = docker("logs", "-f", "follow")
    assert done.stdout == "".join(f"line {n}\n" for n in range(1, 21))


def test_stop_start_restart_kill_wait(docker, engine):
    docker("run", "-d", "--name", "ssr", IMAGE, "sh", "-c", "trap 'exit 3' TERM; echo set; while :; do sleep 0.1; done")
    wait_until(lambda: docker.out("logs", "ssr") == "set")
    assert docker.out("stop", "-t", "40", "ssr") == "ssr"
    assert docker.out("inspect", "-f", "{{.State.ExitCode}}", "ssr") == "3"
    assert docker.out("start", "ssr") == "ssr" and running(engine, "ssr")
    assert docker.out("restart", "-t", "0", "ssr") == "ssr" and running(engine, "ssr")
    waiter = docker.popen("wait", "ssr")
    engine.wait_answered("/wait")
    assert docker.out("kill", "ssr") == "ssr"
    assert waiter.stdout.read() == b"137\n"
    assert docker.out("wait", "ssr") == "137"


def test_start_attached(docker):
    docker("create", "--name", "sa", "-i", IMAGE, "cat")
    assert docker("start", "-ai", "sa", stdin="typed\n").stdout == "typed\n"


def test_pause(docker):
    docker("run", "-d", "--name", "pause", IMAGE, "sleep", "1000")
    docker("pause", "pause")
    assert "(Paused)" in docker.out("ps", "--format", "{{.Status}}")
    docker("unpause", "pause")


def test_update_and_stats(docker):
    docker("run", "-d", "--name", "pud", "-m", "64m", IMAGE, "sleep", "1000")
    docker("update", "-m", "128m", "--memory-swap", "256m", "pud")
    assert docker.out("inspect", "-f", "{{.HostConfig.Memory}}", "pud") == str(128 << 20)
    assert "pud" in docker.out("stats", "--no-stream", "pud")


def test_rm(docker, engine):
    docker("run", "-d", "--name", "rm1", IMAGE, "sleep", "1000")
    done = docker("rm", "rm1", check=False)
    assert done.returncode == 1 and "container" in done.stderr
    assert docker.out("rm", "-f", "rm1") == "rm1"
    done = docker("rm", "rm1", check=False)
    assert done.returncode == 1 and "No such container: rm1" in done.stderr


def test_rename_top_port_inspect(docker):
    docker("run", "-d", "--name", "before", IMAGE, "sleep", "1000")
    docker("rename", "before", "after")
    assert "sleep 1000" in docker.out("top", "after")
    assert "sleep" in docker.out("top", "after", "-o", "pid,comm")
    found = json.loads(docker.out("inspect", "after"))
    assert found[0]["Name"] == "/after"
    assert docker.out("inspect", "--type", "container", "-s", "-f", "{{.SizeRw}}", "after").isdigit()
    done = docker("inspect", "nothing", check=False)
    assert done.returncode == 1 and "No such object: nothing" in done.stderr


def test_images_and_tags(docker):
    docker("tag", IMAGE, "cli-tag:one")
    lines = docker.out("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
    assert {"cli-tag:one", IMAGE} <= set(lines)
    assert docker.out("images", "-q", "--no-trunc", "cli-tag").startswith("sha256:")
    assert "Untagged: cli-tag:one" in docker.out("rmi", "cli-tag:one")
    assert "Imported from -" in docker.out("history", IMAGE)
    assert json.loads(docker.out("image", "inspect", IMAGE))[0]["Os"] == "linux"
    done = docker("rmi", "nothing", check=False)
    assert done.returncode == 1 and "No such image" in done.stderr


def test_import(docker, tmp_path):
    (tmp_path / "root.tar").write_bytes(rootfs.busybox())
    id = docker.out("import", "-c", "CMD [\"echo\", \"imported\"]", "-m", "by hand", tmp_path / "root.tar", "cli-import:v1")
    assert id.startswith("sha256:")
    assert docker.out("run", "--rm", "cli-import:v1") == "imported"
    piped = docker("import", "-", "cli-piped", stdin=rootfs.busybox(), text=False)
    assert piped.stdout.startswith(b"sha256:")


def test_save_and_load(docker, tmp_path):
    docker("tag", IMAGE, "cli-save:1")
    saved = docker("save", "cli-save:1", text=False).stdout
    docker("rmi", "cli-save:1")
    assert docker("load", stdin=saved, text=False).stdout == b"Loaded image: cli-save:1\n"
    docker("save", "-o", tmp_path / "s.tar", "cli-save:1")
    assert "Loaded image: cli-save:1" in docker.out("load", "-i", tmp_path / "s.tar")
    assert docker.out("run", "--rm", "cli-save:1", "echo", "fine") == "fine"


def test_save_piped_into_load(docker):
    docker("tag", IMAGE, "cli-pipe:1")
    line = f"{docker.path} save cli-pipe:1 | {docker.path} load"
    done = subprocess.run(["sh", "-c", line], env=docker.environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "Loaded image: cli-pipe:1\n"


def test_events(docker):
    since = str(time.time())
    docker("run", "--rm", "--name", "evt", IMAGE, "true")
    out = docker.out("events", "--since", since, "--until", str(time.time() + 0.1), "--filter", "container=evt", "--format", "{{.Action}}")
    assert [a for a in out.splitlines() if a in ("create", "start", "die", "destroy", "attach")] == ["create", "attach", "start", "die", "destroy"]


def test_events_follow(docker, engine):
    process = docker.popen("events", "--filter", "event=create", "--format", "{{.Actor.Attributes.name}}")
    engine.wait_answered("/events?")
    docker("create", "--name", "evf", IMAGE, "true")
    assert process.stdout.readline() == b"evf\n"
    process.kill()
    process.wait()


def test_volumes(docker):
    assert docker.out("volume", "create", "cli-vol") == "cli-vol"
    docker("run", "--rm", "-v", "cli-vol:/v", IMAGE, "sh", "-c", "echo x > /v/f")
    assert docker.out("run", "--rm", "--mount", "type=volume,src=cli-vol,dst=/v,ro", IMAGE, "cat", "/v/f") == "x"
    assert "cli-vol" in docker.out("volume", "ls", "-q").splitlines()
    assert json.loads(docker.out("volume", "inspect", "cli-vol"))[0]["Name"] == "cli-vol"
    assert docker.out("volume", "rm", "cli-vol") == "cli-vol"
    assert "Total reclaimed space" in docker.out("volume", "prune", "-f")


def test_many_options(docker, engine):
    out = docker.out(
        "run", "--rm", "-h", "opt", "-u", "bob", "-w", "/data", "-e", "A=1", "--add-host", "h:1.2.3.4", "--dns", "9.9.9.9", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--read-only", "--tmpfs", "/t", "--ulimit", "nofile=99", "--shm-size", "2m", "--pids-limit", "30",
        "-m", "64m", "--cpus", "0.5", "--cpuset-cpus", "0", "--sysctl", "net.core.somaxconn=77", "--label", "a=b", "--init", "--oom-score-adj", "100",
        "--network", "none", "--log-opt", "max-size=1m", "--stop-signal", "INT", "--group-add", "wheel", "-v", "/data",
        IMAGE, "sh", "-c", "hostname; id -un; pwd; echo $A; ulimit -n; cat /proc/sys/net/core/somaxconn; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status")
    assert out.split() == ["opt", "bob", "/data", "1", "99", "77", "100", "NoNewPrivs:", "1"]


def test_prunes(docker):
    docker("run", "--name", "pr", IMAGE, "true")
    assert "Deleted Containers" in docker.out("container", "prune", "-f")
    docker("image", "prune", "-f")
    assert "Total reclaimed space" in docker.out("image", "prune", "-f")


def test_env_file_and_cidfile(docker, tmp_path):
    (tmp_path / "env").write_text("FROM_FILE=yes\n")
    out = docker.out("run", "--rm", "--env-file", tmp_path / "env", "--cidfile", tmp_path / "cid", IMAGE, "sh", "-c", "echo $FROM_FILE")
    assert out == "yes" and len((tmp_path / "cid").read_text()) == 64


def test_nginx(docker, engine, debian_tar):
    """A real server from a real distribution."""
    if engine.api.get("/images/debian-nginx:e2e/json").status == 404:
        with open(debian_tar, "rb") as data:
            subprocess.run([docker.path, "import", "-c", 'CMD ["nginx", "-g", "daemon off;"]', "-c", "EXPOSE 80", "-", "debian-nginx:e2e"],
                           stdin=data, env=docker.environment, check=True, capture_output=True)
    docker("run", "-d", "--name", "web", "-p", "8088:80", "debian-nginx:e2e")

    def fetch():
        with engine.sandbox.socket("outside") as sock:
            try:
                sock.connect((engine.address, 8088))
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"".join(iter(lambda: sock.recv(65536), b""))
            except OSError:
                return b""

    assert b"Welcome to nginx!" in wait_until(fetch)
    assert "nginx: master process" in docker.out("top", "web")
    assert "PRETTY_NAME=\"Debian" in docker.out("exec", "web", "cat", "/etc/os-release")
    docker("stop", "web")
    assert docker.out("inspect", "-f", "{{.State.ExitCode}}", "web") == "0"
    docker("rm", "web")
