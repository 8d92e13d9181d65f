"""The docker command beyond the everyday: formats, filters and flags of what looks at containers and acts on them."""

import contextlib
import io
import json
import re
import tarfile
import time

import pytest

from harness.engine import IMAGE, wait_until

LOOP = "while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def stop_at_the_end(engine):
    yield
    for container in engine.api.get("/containers/json").json:
        engine.api.post(f"/containers/{container['Id']}/kill")


@pytest.fixture
def crowd(docker):
    """Four containers in four states, and their ids by name."""
    docker("run", "-d", "--name", "alpha", "-l", "kind=one", "-l", "bare", "-v", "kept:/kept", "--network", "none", IMAGE, "sleep", "1000")
    docker("run", "-d", "--name", "beta", "-l", "kind=two", "-p", "8091:80", "--expose", "90", IMAGE, "sleep", "1000")
    docker("pause", "beta")
    docker("run", "--name", "gamma", "-l", "kind=two", IMAGE, "sh", "-c", "exit 3", check=False)
    docker("create", "--name", "delta", IMAGE, "true")
    return {name: docker.out("inspect", "-f", "{{.Id}}", name) for name in ("alpha", "beta", "gamma", "delta")}


def names(docker, *arguments):
    return sorted(docker.out("ps", "--format", "{{.Names}}", *arguments).split())


FILTERS = [
    (["status=paused"], ["beta"]), (["status=exited", "status=created"], ["delta", "gamma"]), (["status=running"], ["alpha"]),
    (["exited=3"], ["gamma"]), (["label=kind"], ["alpha", "beta", "gamma"]), (["label=kind=two"], ["beta", "gamma"]),
    (["label=kind=two", "status=paused"], ["beta"]), (["label=bare", "label=kind=one"], ["alpha"]), (["name=^/?alpha$"], ["alpha"]),
    (["name=a"], ["alpha", "beta", "delta", "gamma"]), (["ancestor=" + IMAGE], ["alpha", "beta", "delta", "gamma"]), (["ancestor=nope"], []),
    (["before=gamma"], ["alpha", "beta"]), (["since=beta"], ["delta", "gamma"]), (["volume=kept"], ["alpha"]), (["volume=/kept"], ["alpha"]),
    (["network=none"], ["alpha"]), (["network=bridge"], ["beta", "delta", "gamma"]), (["publish=8091"], ["beta"]), (["publish=8091/udp"], []),
    (["publish=80"], []), (["expose=90"], ["beta"]),
    (["expose=80-95/tcp"], ["beta"]), (["health=none"], ["alpha", "beta", "delta", "gamma"]), (["is-task=true"], []),
]


def test_ps_filters(docker, crowd):
    def ask(filters):
        return names(docker, "-a", *(word for one in filters for word in ("--filter", one)))
    assert [(filters, ask(filters)) for filters, _ in FILTERS] == FILTERS


def test_ps_flags(docker, crowd):
    assert names(docker) == ["alpha", "beta"]
    assert docker.out("ps", "-l", "--format", "{{.Names}}") == "delta"
    assert names(docker, "-n", "2") == ["delta", "gamma"]
    assert docker.out("ps", "-aq").split() == [crowd[name][:12] for name in ("delta", "gamma", "beta", "alpha")]
    assert docker.out("ps", "-q", "--no-trunc").split() == [crowd["beta"], crowd["alpha"]]
    assert re.search(r"\d+(\.\d+)?[kMG]?B \(virtual \d+(\.\d+)?[kMG]?B\)", docker.out("ps", "-s"))
    done = docker("ps", "--filter", "status=nonsense", check=False)
    assert done.returncode == 1 and re.search("(?i)invalid filter|unrecognised filter value", done.stderr)


def test_ps_formats(docker, crowd):
    fields = ("ID", "Image", "Command", "CreatedAt", "RunningFor", "Ports", "Status", "Size", "Names", "Labels", "Mounts", "Networks", "LocalVolumes")
    rows = docker.out("ps", "-a", "--format", "|".join("{{.%s}}" % field for field in fields)).splitlines()
    found = {row.split("|")[8]: dict(zip(fields, row.split("|"))) for row in rows}
    assert found["alpha"]["ID"] == crowd["alpha"][:12] and found["alpha"]["Image"] == IMAGE and found["alpha"]["Command"] == '"sleep 1000"'
    assert found["alpha"]["Mounts"] == "kept" and found["alpha"]["LocalVolumes"] == "1" and found["alpha"]["Networks"] == "none"
    assert set(found["alpha"]["Labels"].split(",")) == {"kind=one", "bare="}
    assert "0.0.0.0:8091->80/tcp" in found["beta"]["Ports"] and "90/tcp" in found["beta"]["Ports"]
    assert re.match(r"Up .* \(Paused\)", found["beta"]["Status"]) and re.match(r"Exited \(3\) .* ago", found["gamma"]["Status"])
    assert found["delta"]["Status"] == "Created" and found["delta"]["Ports"] == ""
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", found["alpha"]["CreatedAt"])
    one = json.loads(docker.out("ps", "--format", "{{json .}}", "--filter", "name=alpha"))
    assert one["Names"] == "alpha" and one["State"] == "running"
    assert docker.out("ps", "--format", "table {{.Names}}\t{{.Label \"kind\"}}").splitlines()[0].split()[0] == "NAMES"


def test_inspect_formats(docker, crowd):
    def ask(template, name="alpha", *flags):
        return docker.out("inspect", *flags, "-f", template, name)
    assert ask("{{.State.Status}} {{.State.Running}}") == "running true" and ask("{{.State.Paused}}", "beta") == "true"
    assert ask("{{.Config.Image}}") == IMAGE and ask("{{index .Config.Labels \"kind\"}}") == "one"
    assert ask("{{range .Mounts}}{{.Name}}:{{.Destination}}{{end}}") == "kept:/kept"
    assert ask("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "beta") == "8091"
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", ask("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "beta"))
    assert json.loads(ask("{{json .Config.Cmd}}")) == ["sleep", "1000"] and int(ask("{{.State.Pid}}")) > 0
    assert int(ask("{{.SizeRootFs}}", "alpha", "--size")) > 0
    assert [one["Name"] for one in json.loads(docker.out("container", "inspect", "alpha", "gamma"))] == ["/alpha", "/gamma"]
    done = docker("inspect", "alpha", "nope", check=False)
    assert done.returncode == 1 and json.loads(done.stdout)[0]["Name"] == "/alpha" and "No such object: nope" in done.stderr


def test_logs_flags(docker):
    docker("run", "--name", "log", "-e", "E=env", "-l", "L=label", "--log-opt", "env=E", "--log-opt", "labels=L", IMAGE, "sh", "-c",
           "echo one; sleep 1.2; echo two; sleep 1.2; echo three >&2")
    line = docker.out("logs", "--details", "--tail", "2", "log")
    assert re.fullmatch(r"(E=env,L=label|L=label,E=env) two", line)
    stamps = [text.split(" ")[0] for text in docker.out("logs", "-t", "log").splitlines()]
    assert docker.out("logs", "--since", stamps[1], "log") == "two"
    assert docker.out("logs", "--until", stamps[0], "log") == "one"
    assert docker.out("logs", "--since", stamps[0], "--until", stamps[1], "log") == "one\ntwo"
    assert docker.out("logs", "--since", "1h", "log") == "one\ntwo" and docker.out("logs", "--until", "1h", "log") == ""
    assert docker.out("logs", "--tail", "0", "log") == "" and docker("logs", "-n", "1", "log").stderr == "three\n"
    assert docker.out("logs", "-n", "all", "log") == "one\ntwo"
    done = docker("logs", "--since", "nonsense", "log", check=False)
    assert done.returncode == 1 and "invalid value for \"since\"" in done.stderr


def test_logs_follow_from_the_end(docker, engine):
    docker("run", "-d", "--name", "fol", IMAGE, "sh", "-c", "mkfifo /go; echo early; read x < /go; echo late")
    wait_until(lambda: docker.out("logs", "fol") == "early")
    process = docker.popen("logs", "-f", "--tail", "0", "fol")
    engine.wait_answered("follow=1")
    # The container may end, and all its processes with it, before this one has.
    docker("exec", "fol", "sh", "-c", "echo > /go", check=False)
    assert process.stdout.read() == b"late\n" and process.wait() == 0


def test_events_filters_and_formats(docker):
    since = str(time.time())
    docker("run", "--name", "ev1", "-l", "mark=1", IMAGE, "true")
    docker("run", "--name", "ev2", IMAGE, "sh", "-c", "exit 4", check=False)
    docker("volume", "create", "ev-vol")
    docker("tag", IMAGE, "ev-image:1")
    until = str(time.time() + 0.2)
    time.sleep(0.3)

    def ask(*filters, form="{{.Type}} {{.Action}}"):
        arguments = [word for one in filters for word in ("--filter", one)]
        return docker.out("events", "--since", since, "--until", until, *arguments, "--format", form).splitlines()

    assert ask("type=volume") == ["volume create"] and ask("type=image", "image=ev-image:1") == ["image tag"]
    assert ask("event=die", form="{{.Actor.Attributes.name}} {{index .Actor.Attributes \"exitCode\"}}") == ["ev1 0", "ev2 4"]
    assert ask("label=mark=1", "event=start", "event=create") == ["container create", "container start"]
    assert ask("container=ev1", "container=ev2", "event=start", form="{{.From}}") == [IMAGE, IMAGE]
    assert ask("type=daemon") == [] and ask("scope=swarm") == [] and "container die" in ask("scope=local")
    parsed = [json.loads(line) for line in ask("container=ev1", form="{{json .}}")]
    assert [one["Action"] for one in parsed if one["Action"] != "attach"] == ["create", "start", "die"]
    assert all(one["timeNano"] // 10**9 == one["time"] and one["scope"] == "local" for one in parsed)
    lines = docker.out("events", "--since", since, "--until", until, "--filter", "container=ev2", "--filter", "event=die").splitlines()
    assert len(lines) == 1 and re.match(r"\d{4}-\d\d-\d\dT.* container die [0-9a-f]{64} \(.*exitCode=4.*image=%s.*name=ev2\)" % IMAGE, lines[0])


def test_stats_percentages(docker, engine):
    """A loop that may use half a processor, beside memory that is known."""
    docker("run", "-d", "--name", "busy", "--cpus", "0.5", "-m", "128m", "--tmpfs", "/m", IMAGE, "sh", "-c",
           "head -c 33554432 /dev/zero > /m/x; while :; do :; done")
    wait_until(lambda: docker("exec", "busy", "sh", "-c", "test $(stat -c %s /m/x) = 33554432", check=False).returncode == 0)
    form = "{{.Name}}|{{.CPUPerc}}|{{.MemUsage}}|{{.MemPerc}}|{{.NetIO}}|{{.BlockIO}}|{{.PIDs}}|{{.ID}}"

    def sample():
        return dict(zip(("name", "cpu", "usage", "memory", "net", "block", "pids", "id"),
                        docker.out("stats", "--no-stream", "--format", form, "busy").split("|")))
    found = sample()
    assert found["name"] == "busy" and found["pids"] == "1"
    # A machine with much else to do gives less than the limit; and where much time goes by between the look at the container
    # and the look at the machine, one sample may be wrong.
    wait_until(lambda: 2 < float(sample()["cpu"].rstrip("%")) < 65, what="half a processor")
    used, limit = found["usage"].split(" / ")
    assert limit == "128MiB" and 32 <= float(used.removesuffix("MiB")) < 48
    assert 25 <= float(found["memory"].rstrip("%")) < 38
    assert re.fullmatch(r"[\d.]+k?B / [\d.]+k?B", found["net"])
    # Without names: those that run; with --all the others too, of which nothing is known.
    docker("create", "--name", "still", IMAGE, "true")
    assert docker.out("stats", "--no-stream", "--format", "{{.Name}}") == "busy"
    assert sorted(docker.out("stats", "-a", "--no-stream", "--format", "{{.Name}} {{.PIDs}}").splitlines()) in (["busy 1", "still 0"], ["busy 1", "still --"])
    assert docker.out("stats", "--no-stream", "--no-trunc", "busy").splitlines()[1].split()[0] == docker.out("inspect", "-f", "{{.Id}}", "busy")


def test_stats_stream(docker):
    docker("run", "-d", "--name", "streamed", IMAGE, "sleep", "1000")
    process = docker.popen("stats", "--format", "{{.Name}}", "streamed")
    seen = b""
    while seen.count(b"streamed") < 2:
        seen += process.stdout.readline()
    process.kill()
    process.wait()


def test_top(docker):
    docker("run", "-d", "--name", "topped", "-u", "alice", IMAGE, "sh", "-c", "sleep 999 & exec sleep 1000")
    both = lambda: {"sleep 999", "sleep 1000"} == {line.split(None, 7)[7] for line in docker.out("top", "topped").splitlines()[1:]}
    wait_until(both, what="both processes")
    lines = docker.out("top", "topped").splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"] and len(lines) == 3
    lines = docker.out("top", "topped", "-eo", "pid,args").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"] and {line.split(None, 1)[1] for line in lines[1:]} == {"sleep 999", "sleep 1000"}
    assert docker.out("top", "topped", "aux").splitlines()[0].startswith("USER")
    docker("stop", "-t", "0", "topped")
    assert "is not running" in docker("top", "topped", check=False).stderr


@pytest.mark.parametrize("arguments, path, value", [
    (["--cpu-shares", "300"], "CpuShares", 300), (["--cpu-period", "50000", "--cpu-quota", "20000"], "CpuQuota", 20000), (["--cpus", "0.7"], "NanoCpus", 700_000_000),
    (["--cpuset-cpus", "0"], "CpusetCpus", "0"), (["--cpuset-mems", "0"], "CpusetMems", "0"), (["-m", "96m", "--memory-swap", "-1"], "Memory", 96 << 20),
    (["--memory-reservation", "16m"], "MemoryReservation", 16 << 20), (["--pids-limit", "33"], "PidsLimit", 33),
    (["--restart", "on-failure:5"], "RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 5}),
])
def test_update(docker, arguments, path, value):
    docker("run", "-d", "--name", "upd", IMAGE, "sleep", "1000")
    assert docker.out("update", *arguments, "upd") == "upd"
    assert json.loads(docker.out("inspect", "-f", "{{json .HostConfig.%s}}" % path, "upd")) == value


def test_update_that_cannot_be(docker):
    docker("run", "-d", "--rm", "--name", "upd", IMAGE, "sleep", "1000")
    assert "Restart policy cannot be updated because AutoRemove is enabled" in docker("update", "--restart", "always", "upd", check=False).stderr
    assert "inimum memory limit" in docker("update", "-m", "1m", "upd", check=False).stderr
    assert "No such container: nope" in docker("update", "-m", "64m", "nope", check=False).stderr


def test_cp(docker, tmp_path):
    docker("create", "--name", "cpy", IMAGE, "true")
    (tmp_path / "dir/below").mkdir(parents=True)
    (tmp_path / "dir/below/file").write_text("text")
    (tmp_path / "link").symlink_to("dir/below/file")
    docker("cp", tmp_path / "dir", "cpy:/into")
    docker("cp", f"{tmp_path}/dir/.", "cpy:/tmp")
    docker("cp", "-L", tmp_path / "link", "cpy:/followed")
    docker("cp", tmp_path / "link", "cpy:/kept")
    docker("cp", "cpy:/into", tmp_path / "back")
    assert (tmp_path / "back/below/file").read_text() == "text"
    docker("cp", "cpy:/tmp/below/file", f"{tmp_path}/renamed")
    docker("cp", "cpy:/followed", tmp_path / "followed")
    assert (tmp_path / "renamed").read_text() == (tmp_path / "followed").read_text() == "text"
    piped = docker("cp", "cpy:/kept", "-", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(piped)) as tar:
        assert tar.getmember("kept").linkname == "dir/below/file"
    docker("cp", "-a", "-", "cpy:/tmp", stdin=piped, text=False)
    done = docker("cp", "cpy:/no/such", tmp_path, check=False)
    assert done.returncode == 1 and re.search("no such|could not find", done.stderr.lower())
    done = docker("cp", tmp_path / "renamed", "cpy:/no/such/", check=False)
    assert done.returncode == 1 and done.stderr
    done = docker("cp", "cpy:/a", "cpy:/b", check=False)
    assert "copying between containers is not supported" in done.stderr


def test_attach_flags(docker):
    docker("run", "-dit", "--name", "att", IMAGE, "sh")
    with contextlib.closing(docker.terminal("attach", "--detach-keys", "ctrl-a,d", "att")) as term:
        term.send("echo mark-$((40+2))\r")
        term.expect("mark-42")
        term.send("\x01d")
        assert term.wait()[0] in (0, 1)
    assert names(docker, "--filter", "name=att") == ["att"]
    docker("kill", "att")
    assert "cannot attach to a stopped container" in docker("attach", "att", check=False).stderr.lower()


def test_attach_passes_signals(docker, engine):
    docker("run", "-d", "--name", "sig", IMAGE, "probe", "signals")
    wait_until(lambda: docker.out("logs", "sig") == "ready")
    process = docker.popen("attach", "--no-stdin", "sig")
    engine.wait_answered("/attach?")
    process.send_signal(1)
    assert process.stdout.readline() == b"signal 1\n"
    docker("kill", "-s", "USR2", "sig")
    assert process.wait(40) == 42


@pytest.mark.parametrize("arguments, script, expected", [
    (["-e", "A=1", "-e", "B"], "echo $A$B", "1\n"), (["-u", "1000:10"], "id -u; id -g", "1000\n10\n"), (["-u", "bob"], "id -un", "bob\n"),
    (["-w", "/etc"], "pwd", "/etc\n"), (["--privileged"], "grep -c 'CapEff.*[1-9a-f]' /proc/self/status", "1\n"), (["-t"], "tty", "/dev/pts/0\n"),
    (["-i"], "cat", "typed"),
])
def test_exec_flags(docker, engine, arguments, script, expected):
    docker("run", "-d", "--name", "exe", IMAGE, "sleep", "1000")
    done = docker("exec", *arguments, "exe", "sh", "-c", script, stdin="typed" if "-i" in arguments else None, check=False)
    if engine.is_reference and "--privileged" in arguments:
        # It wants every capability there is; the host may have fewer (docs/differences.md).
        assert done.stdout == expected or "unable to apply caps" in done.stdout
    else:
        assert done.stdout.replace("\r", "") == expected, done


def test_exec_env_file_and_detach_keys(docker, tmp_path):
    (tmp_path / "env").write_text("FROM=file\n")
    docker("run", "-d", "--name", "exe", IMAGE, "sleep", "1000")
    assert docker.out("exec", "--env-file", tmp_path / "env", "exe", "sh", "-c", "echo $FROM") == "file"
    with contextlib.closing(docker.terminal("exec", "-it", "--detach-keys", "ctrl-x", "exe", "sh")) as term:
        term.expect("# ")
        term.send("\x18")
        assert term.wait()[0] in (0, 1)
    assert docker.out("inspect", "-f", "{{.State.Status}}", "exe") == "running"


@pytest.mark.parametrize("code, what", [(0, "true"), (1, "false"), (7, "exit 7"), (137, "kill -9 $$")])
def test_exec_exit_codes(docker, code, what):
    docker("run", "-d", "--name", "exe", IMAGE, "sleep", "1000")
    assert docker("exec", "exe", "sh", "-c", what, check=False).returncode == code


def test_exec_where_it_cannot_be(docker):
    docker("create", "--name", "exe", IMAGE, "true")
    done = docker("exec", "exe", "true", check=False)
    assert done.returncode == 1 and "is not running" in done.stderr
    docker("run", "-d", "--name", "pau", IMAGE, "sleep", "1000")
    docker("pause", "pau")
    assert "is paused, unpause the container before exec" in docker("exec", "pau", "true", check=False).stderr
    docker("unpause", "pau")
    assert "No such container: nope" in docker("exec", "nope", "true", check=False).stderr


def test_health(docker):
    docker("run", "-d", "--name", "hea", "--health-cmd", "test -e /fine && echo fine", "--health-interval", "200ms", "--health-retries", "2",
           "--health-timeout", "5s", "--health-start-period", "0s", IMAGE, "sleep", "1000")
    wait_until(lambda: "(unhealthy)" in docker.out("ps", "--format", "{{.Status}}"))
    assert names(docker, "--filter", "health=unhealthy") == ["hea"]
    docker("exec", "hea", "touch", "/fine")
    wait_until(lambda: "(healthy)" in docker.out("ps", "--format", "{{.Status}}"))
    log = json.loads(docker.out("inspect", "-f", "{{json .State.Health}}", "hea"))
    assert log["Status"] == "healthy" and log["Log"][-1]["Output"] == "fine\n" and log["Log"][-1]["ExitCode"] == 0
    docker("run", "-d", "--name", "not", "--no-healthcheck", IMAGE, "sleep", "1000")
    assert docker.out("inspect", "-f", "{{.State.Health}}", "not") in ("<nil>", "<no value>")


def test_rename_diff_commit_export_port(docker, tmp_path):
    docker("run", "-d", "--name", "old", "-p", "8092:80", "-p", "127.0.0.1:8093:81/udp", IMAGE, "sh", "-c", "touch /new; rm /etc/group; exec sleep 1000")
    docker("rename", "old", "new")
    assert docker.out("port", "new", "80/tcp").splitlines()[0] == "0.0.0.0:8092"
    assert docker.out("port", "new", "81/udp") == "127.0.0.1:8093" and "80/tcp -> 0.0.0.0:8092" in docker.out("port", "new")
    done = docker("port", "new", "99", check=False)
    assert done.returncode == 1 and "99" in done.stderr
    wait_until(lambda: "D /etc/group" in docker.out("diff", "new"))
    assert sorted(docker.out("diff", "new").splitlines()) == ["A /new", "C /etc", "D /etc/group"]
    id = docker.out("commit", "-a", "me", "-m", "made", "-c", "CMD [\"ls\", \"/new\"]", "--pause=false", "new", "cli-commit:1")
    assert id.startswith("sha256:") and docker.out("run", "--rm", "cli-commit:1") == "/new"
    assert docker.out("inspect", "-f", "{{.Author}} {{.Comment}}", "cli-commit:1") == "me made"
    docker("export", "-o", tmp_path / "out.tar", "new")
    with tarfile.open(tmp_path / "out.tar") as tar:
        members = tar.getnames()
    assert "new" in members and "etc/group" not in members
    taken = docker("rename", "new", "new", check=False)
    assert taken.returncode == 1 and "same name as its current name" in taken.stderr


def test_several_at_once(docker):
    """Commands that take many names act on all and answer for each."""
    for name in ("m1", "m2", "m3"):
        docker("create", "--name", name, IMAGE, "sh", "-c", LOOP)
    both = ("m1", "m2", "m3")
    for words in (["start"], ["pause"], ["unpause"], ["restart", "-t", "0"], ["update", "--pids-limit", "9"], ["kill"], ["start"], ["stop", "-t", "0"]):
        assert docker.out(*words, *both).split() == list(both), words
    assert docker.out("wait", *both).split() == ["137"] * 3
    done = docker("rm", "m1", "nope", "m2", check=False)
    assert done.stdout.split() == ["m1", "m2"] and done.returncode == 1 and "No such container: nope" in done.stderr
    docker("rm", "-v", "m3")


def test_kill_and_stop_flags(docker):
    docker("run", "-d", "--name", "ks", IMAGE, "sh", "-c", "trap 'exit 5' USR1; echo set; " + LOOP)
    wait_until(lambda: docker.out("logs", "ks") == "set")
    docker("kill", "--signal", "SIGUSR1", "ks")
    assert docker.out("wait", "ks") == "5"
    assert "is not running" in docker("kill", "ks", check=False).stderr
    docker("start", "ks")
    assert "nvalid signal" in docker("kill", "-s", "nonsense", "ks", check=False).stderr
    begin = time.monotonic()
    docker("stop", "-t", "1", "ks")
    # The command's own patience would be ten seconds.
    assert 0.9 < time.monotonic() - begin < 10 and docker.out("inspect", "-f", "{{.State.ExitCode}}", "ks") == "137"


def test_rm_flags(docker):
    docker("run", "-d", "--name", "target", IMAGE, "sleep", "1000")
    docker("run", "-d", "--name", "linked", "--link", "target:t", "-v", "/anonymous", IMAGE, "sleep", "1000")
    docker("rm", "--link", "linked/t")
    volume = docker.out("inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", "linked")
    docker("rm", "-f", "linked")
    assert volume in docker.out("volume", "ls", "-q").split()
    docker("run", "--name", "again", "-v", "/anonymous", IMAGE, "true")
    volume = docker.out("inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", "again")
    docker("rm", "-v", "again")
    assert volume not in docker.out("volume", "ls", "-q").split()


def test_prune_filters(docker):
    docker("run", "--name", "p1", "-l", "keep", IMAGE, "true")
    docker("run", "--name", "p2", IMAGE, "true")
    docker("container", "prune", "-f", "--filter", "until=1h")
    assert names(docker, "-a") == ["p1", "p2"]
    docker("container", "prune", "-f", "--filter", "label!=keep")
    assert names(docker, "-a") == ["p1"]


def test_system_prune(docker):
    docker("run", "--name", "p1", "-l", "keep", IMAGE, "true")
    docker("run", "--name", "p2", IMAGE, "true")
    out = docker.out("system", "prune", "-f", "--filter", "label!=keep")
    assert "Total reclaimed space" in out and names(docker, "-a") == ["p1"]


def test_system(docker, crowd):
    out = docker.out("system", "df")
    assert [line.split()[0] for line in out.splitlines()] == ["TYPE", "Images", "Containers", "Local", "Build"]
    images = len(docker.out("images", "-q", "--no-trunc").split())  # The harness may keep another one for later tests.
    assert docker.out("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}}").splitlines()[:3] == [
        f"Images {images} 1", "Containers 4 2", "Local Volumes 1 1"]
    assert "alpha" in docker.out("system", "df", "-v")
    info = json.loads(docker.out("info", "--format", "{{json .}}"))
    assert (info["Containers"], info["ContainersRunning"], info["ContainersPaused"], info["ContainersStopped"]) == (4, 1, 1, 2)
    assert docker.out("info", "--format", "{{.Driver}} {{.OSType}}") == "overlay2 linux"
    assert docker.out("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}") == "linux/amd64"
