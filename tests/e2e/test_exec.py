"""exec: attached, detached, with a terminal, its settings, its exit codes and what inspect says."""

import re
import time

import pytest

from harness.engine import wait_until
from harness.http import Connection, demultiplex


@pytest.fixture
def box(engine):
    """A container that sleeps."""
    return engine.start_container()


def create(box, cmd, **config):
    return box.api.post(f"{box.path}/exec", {"Cmd": list(cmd), **config}, expect=201).json["Id"]


def start(box, id, hijack=True, **body):
    """Start attached, on a hijacked connection."""
    answer = box.api.post(f"/exec/{id}/start", {"Detach": False, "Tty": False, **body}, hijack=hijack, stream=True)
    assert answer.status in (101, 200), answer.read()
    return answer


def drain(answer):
    data = b""
    while part := answer.connection.some():
        data += part
    answer.close()
    return data


def test_streams(box):
    assert box.exec("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


def test_upgrade(box):
    id = create(box, ["echo", "hi"], AttachStdout=True)
    answer = start(box, id)
    assert answer.status == 101
    assert demultiplex(drain(answer)) == (b"hi\n", b"")


def test_output_comes_after_the_head(box):
    """Clients read the head through a buffer that they forget then: output waits until they have it."""
    id = create(box, ["echo", "hi"], AttachStdout=True)
    connection = Connection(box.api.path)
    body = b"{}"
    connection.write(f"POST /v1.41/exec/{id}/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                     f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    wait_until(lambda: not box.api.get(f"/exec/{id}/json").json["Running"] or box.engine.is_reference)
    # What 20.10 does it does because its execs take longer than this.
    first = connection.sock.recv(65536)
    assert first.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    if not box.engine.is_reference:
        assert first.endswith(b"\r\n\r\n")
        assert demultiplex(connection.exactly(11)) == (b"hi\n", b"")
    connection.close()


def test_only_what_was_asked(box):
    assert box.exec("echo out; echo err >&2", AttachStderr=False)[1:] == ("out\n", "")
    assert box.exec("echo out; echo err >&2", AttachStdout=False)[1:] == ("", "err\n")


def test_stdin(box):
    id = create(box, ["sh", "-c", "cat; echo end"], AttachStdin=True, AttachStdout=True)
    answer = start(box, id)
    answer.connection.write(b"text\n")
    answer.connection.half_close()
    assert demultiplex(drain(answer))[0] == b"text\nend\n"


def test_tty(box):
    id = create(box, ["sh", "-c", "tty; read x; echo got $x"], Tty=True, AttachStdin=True, AttachStdout=True)
    answer = start(box, id, Tty=True)
    answer.connection.write(b"w\n")
    out = drain(answer).decode()
    assert re.search(r"/dev/pts/\d+\r\n", out)
    assert out.endswith("got w\r\n")


def test_tty_resize(box):
    id = create(box, ["probe", "winsize"], Tty=True, AttachStdout=True)
    answer = start(box, id, Tty=True)
    seen = answer.connection.until(b"\n")
    assert seen.startswith(b"size ")
    box.api.post(f"/exec/{id}/resize", h=50, w=150, expect=(200, 201))
    while b"size 50 150" not in seen:
        seen = answer.connection.until(b"\n")
        assert seen is not None
    answer.close()


def test_detached(box):
    id = create(box, ["sh", "-c", "touch /done; exit 4"])
    assert box.api.post(f"/exec/{id}/start", {"Detach": True}, expect=200).body == b""
    wait_until(lambda: not box.api.get(f"/exec/{id}/json").json["Running"])
    assert box.api.get(f"/exec/{id}/json").json["ExitCode"] == 4
    assert box.exec(["test", "-e", "/done"])[0] == 0


def test_detach_keys(box):
    id = create(box, ["cat"], Tty=True, AttachStdin=True, AttachStdout=True, DetachKeys="ctrl-a")
    answer = start(box, id, Tty=True)
    answer.connection.write(b"x\n\x01")
    drain(answer)
    # 20.10 takes the detaching for an error and the program for ended.
    assert box.api.get(f"/exec/{id}/json").json["Running"] != box.engine.is_reference


def test_environment(box):
    out = box.exec(["env"], Env=["A=1", "EMPTY=", "PATH=/bin"])[1].splitlines()
    assert {"A=1", "EMPTY=", "PATH=/bin"} <= set(out)


def test_environment_of_the_container(engine):
    box = engine.start_container(Env=["FROM=container"], Hostname="envhost")
    out = box.exec(["env"])[1].splitlines()
    assert "FROM=container" in out and "HOSTNAME=envhost" in out
    assert "HOME=/root" in out


@pytest.mark.parametrize("user, expected", [
    (None, "uid=0(root) gid=0(root)"), ("alice", "uid=1000(alice) gid=1000(alice)"),
    ("1001", "uid=1001(bob) gid=1001(bob)"), ("alice:wheel", "uid=1000(alice) gid=10(wheel)"),
    ("4242:4343", "uid=4242 gid=4343"), ("4242", "uid=4242 gid=0(root)"), ("alice:0", "uid=1000(alice) gid=0(root)"),
])
def test_user(box, user, expected):
    out = box.exec(["id"], User=user or "")[1]
    assert out.startswith(expected), out
    if user == "alice":
        assert "10(wheel)" in out and "29(audio)" in out
        assert "HOME=/home/alice" in box.exec(["env"], User=user)[1].splitlines()


def test_user_of_the_container(engine):
    box = engine.start_container(User="bob")
    assert box.exec(["id", "-u"])[1] == "1001\n"


def test_unknown_user(box):
    id = create(box, ["id"], User="nobody-here", AttachStdout=True)
    answer = box.api.post(f"/exec/{id}/start", {"Detach": False})
    assert "unable to find user nobody-here: no matching entries in passwd file" in answer.text


def test_working_directory(engine):
    box = engine.start_container(WorkingDir="/data")
    assert box.exec(["pwd"])[1] == "/data\n"
    assert box.exec(["pwd"], WorkingDir="/home/alice")[1] == "/home/alice\n"


def test_missing_working_directory(box):
    code, out, err = box.exec(["pwd"], WorkingDir="/nowhere")
    assert code in (126, 127)
    assert "no such file or directory" in out + err


@pytest.mark.parametrize("cmd, code, message", [
    (["no-such-program"], 127, 'exec: "no-such-program": executable file not found in $PATH'),
    (["/no/such"], 127, "no such file or directory"), (["/bin/not-executable"], 126, "permission denied"),
])
def test_what_cannot_be_executed(box, cmd, code, message):
    got, out, err = box.exec(cmd)
    assert got == (126 if box.engine.is_reference else code)
    assert message in out + err
    assert (out + err).startswith("OCI runtime exec failed: exec failed: ")


def test_killed_by_a_signal(box):
    assert box.exec(["sh", "-c", "kill -TERM $$; sleep 5"])[0] == 143


def test_privileged(box):
    if box.engine.is_reference and int(re.search(r"CapBnd:\s*(\w+)", open("/proc/self/status").read())[1], 16) & 1 << 24 == 0:
        id = create(box, ["true"], Privileged=True)
        box.api.post(f"/exec/{id}/start", {"Detach": True}, expect=(400, 500))  # Not without CAP_SYS_RESOURCE.
        return
    def effective(**config):
        return int(re.search(r"CapEff:\s*(\w+)", box.exec(["cat", "/proc/self/status"], **config)[1])[1], 16)

    assert effective() == 0xA80425FB
    assert effective(Privileged=True) & 0xA80425FB == 0xA80425FB and effective(Privileged=True) > 1 << 32


def test_same_confinement_as_the_container(box):
    def confinement(pid):
        out = box.exec(["cat", f"/proc/{pid}/status"])[1]
        return {k: re.search(rf"^{k}:\s*(.*)$", out, re.M)[1] for k in
                ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")}

    assert confinement("self") == confinement(1)
    assert confinement("self")["Seccomp"] == "2"


def test_same_namespaces_as_the_container(box):
    for kind in ("pid", "mnt", "net", "ipc", "uts", "cgroup", "user"):
        assert box.exec(["readlink", f"/proc/self/ns/{kind}"]) == box.exec(["readlink", f"/proc/1/ns/{kind}"])


def test_same_cgroup_as_the_container(box):
    assert box.exec(["cat", "/proc/self/cgroup"]) == box.exec(["cat", "/proc/1/cgroup"])


def test_inspect(box):
    id = create(box, ["sleep", "100"], AttachStdout=True, Tty=True, User="alice", DetachKeys="ctrl-a")
    found = box.api.get(f"/exec/{id}/json", expect=200).json
    assert re.fullmatch("[0-9a-f]{64}", id) and found["ID"] == id
    assert found["ContainerID"] == box.id
    assert not found["Running"] and found["ExitCode"] is None and found["Pid"] == 0
    assert found["ProcessConfig"] == {"arguments": ["100"], "entrypoint": "sleep", "privileged": False, "tty": True,
                                      "user": "alice"}
    assert found["OpenStdout"] and not found["OpenStdin"] and not found["CanRemove"]
    box.api.post(f"/exec/{id}/start", {"Detach": True, "Tty": True}, expect=200)
    found = box.api.get(f"/exec/{id}/json").json
    assert found["Running"] and found["Pid"] > 1
    wait_until(lambda: "sleep" in (box.engine.sandbox.proc(found["Pid"]) / "cmdline").read_text())
    assert box.inspect()["ExecIDs"] == [id]


def test_ids_are_forgotten_when_done(box):
    id = create(box, ["true"])
    box.api.post(f"/exec/{id}/start", {"Detach": True}, expect=200)
    wait_until(lambda: not box.inspect()["ExecIDs"])


def test_start_twice(box):
    id = create(box, ["sleep", "100"])
    box.api.post(f"/exec/{id}/start", {"Detach": True}, expect=200)
    message = box.api.post(f"/exec/{id}/start", {"Detach": True}, expect=409).message
    assert f"Exec command {id} is already running" in message or "Error: Exec command" in message


def test_missing(box):
    nowhere = "0" * 64
    for answer in (box.api.get(f"/exec/{nowhere}/json"), box.api.post(f"/exec/{nowhere}/start", {"Detach": True}),
                   box.api.post(f"/exec/{nowhere}/resize", h=1, w=1)):
        assert answer.status == 404
        assert "No such exec instance" in answer.text


def test_refused(engine, box):
    assert box.api.post(f"{box.path}/exec", {}, expect=400).message == "No exec command specified"
    stopped = engine.create()
    message = stopped.api.post(f"{stopped.path}/exec", {"Cmd": ["true"]}, expect=409).message
    assert message == f"Container {stopped.id} is not running"
    box.api.post(f"{box.path}/pause", expect=204)
    message = box.api.post(f"{box.path}/exec", {"Cmd": ["true"]}, expect=409).message
    assert message == f"Container {box.id} is paused, unpause the container before exec"
    box.api.post(f"{box.path}/unpause", expect=204)


def test_container_that_stopped_meanwhile(box):
    id = create(box, ["true"])
    box.kill()
    box.wait()
    answer = box.api.post(f"/exec/{id}/start", {"Detach": True})
    assert answer.status in (404, 409)


def test_ends_with_its_container(box):
    id = create(box, ["sleep", "1000"], AttachStdout=True)
    answer = start(box, id)
    begun = time.monotonic()
    box.kill()
    drain(answer)
    assert time.monotonic() - begun < 30


def test_a_client_that_leaves_does_not_end_it(box):
    id = create(box, ["sleep", "1000"], AttachStdout=True)
    start(box, id).close()
    time.sleep(0.3)
    assert box.api.get(f"/exec/{id}/json").json["Running"]


def test_many_at_once(box):
    import threading
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(box.exec(f"echo {n}; exit {n}") == (n, f"{n}\n", "")))
               for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_hundreds_at_once(box):
    """Created together, started together; then the container knows of none, and nothing of them runs."""
    import threading
    count = 60 if box.engine.is_reference else 300
    ids = [create(box, ["sh", "-c", f"echo {n}"], AttachStdout=True) for n in range(count)]
    assert len(box.inspect()["ExecIDs"]) == count
    found = {}

    def go(number, id):
        data = box.api.post(f"/exec/{id}/start", {"Detach": False}, stream=True, expect=200, timeout=100).read()
        found[number] = demultiplex(data)[0]

    threads = [threading.Thread(target=go, args=pair) for pair in enumerate(ids)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: f"{n}\n".encode() for n in range(count)}
    wait_until(lambda: not box.inspect()["ExecIDs"], what="an empty list of execs")
    assert box.api.get(f"/exec/{ids[-1]}/json", expect=200).json["ExitCode"] == 0
    assert len(box.api.get(f"{box.path}/top", expect=200).json["Processes"]) == 1


def test_much_output(box):
    code, out, _ = box.exec(["probe", "lines", "50000"])
    assert (code, len(out.splitlines())) == (0, 50000)


def test_children_that_keep_the_output_open(box):
    """The exec is over when its process is, whoever still holds its pipes... as long as Docker would wait."""
    id = create(box, ["sh", "-c", "sleep 1000 & echo parent"], AttachStdout=True)
    answer = start(box, id)
    assert answer.connection.until(b"parent") is not None
    wait_until(lambda: not box.api.get(f"/exec/{id}/json").json["Running"])
    answer.close()


def test_no_descriptors_leak_in(box):
    names = {line.split()[0] for line in box.exec(["probe", "descriptors"])[1].splitlines()}
    assert names == {"0", "1", "2"}
