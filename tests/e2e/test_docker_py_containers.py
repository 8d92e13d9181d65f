"""docker-py: every method of its collection of containers and of a container."""

import io
import socket
import tarfile
import threading
from datetime import datetime

import docker as sdk
import pytest
from docker.types import Healthcheck, LogConfig, Mount, Ulimit

from harness.engine import IMAGE, wait_until
from harness.http import demultiplex


@pytest.fixture
def box(client):
    """A container that sleeps, as docker-py sees it."""
    return client.containers.run(IMAGE, ["sleep", "1000"], detach=True)


def status(container):
    container.reload()
    return container.status


def received(raw):
    data = b""
    while part := raw.recv(4096):
        data += part
    return data


def archive(**content):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(data), 0o640, 1000
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


# The collection.


def test_run_forms(client):
    assert client.containers.run(IMAGE, "echo 'two words'", remove=True) == b"two words\n"
    assert client.containers.run(IMAGE, ["sh", "-c", "echo o; sleep 0.7; echo e >&2"], remove=True, stderr=True) == b"o\ne\n"
    assert client.containers.run(IMAGE, ["sh", "-c", "echo o; echo e >&2"], remove=True, stdout=False, stderr=True) == b"e\n"
    stream = client.containers.run(IMAGE, ["sh", "-c", "for i in 1 2 3; do echo $i; done"], stream=True, remove=True)
    assert b"".join(stream) == b"1\n2\n3\n"
    with pytest.raises(sdk.errors.ImageNotFound):
        client.api.create_container("py-nowhere:1", ["true"])
    with pytest.raises(sdk.errors.APIError):
        client.containers.run(IMAGE, ["/no/such/program"], remove=True)


def test_run_with_many_options(client):
    client.volumes.create("py-named")
    container = client.containers.run(
        IMAGE, ["sleep", "1000"], detach=True, name="py-many", hostname="many", domainname="example.test",
        environment={"A": "1", "B": None}, labels=["x", "y"], user="1000:1000", working_dir="/tmp", tty=True, stdin_open=True,
        mem_limit="64m", memswap_limit="128m", mem_reservation="32m", cpu_shares=512, cpu_period=100000, cpu_quota=50000,
        cpuset_cpus="0", pids_limit=50, oom_score_adj=100, shm_size="8m",
        cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], security_opt=["no-new-privileges"], read_only=True,
        tmpfs={"/t": "size=1m"}, volumes={"py-named": {"bind": "/n", "mode": "ro"}}, mounts=[Mount("/m", None, type="volume")],
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)], sysctls={"net.ipv4.ip_forward": "1"},
        dns=["192.0.2.1"], dns_search=["search.test"], dns_opt=["ndots:2"], extra_hosts={"other": "192.0.2.2"},
        ports={"80/tcp": ("127.0.0.1", None), "53/udp": None}, log_config=LogConfig(type="json-file", config={"max-size": "1m"}),
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 3},
        healthcheck=Healthcheck(test=["CMD", "true"], interval=10**9), init=True, stop_signal="SIGINT", ipc_mode="private")
    container.reload()
    config, host = container.attrs["Config"], container.attrs["HostConfig"]
    assert (config["Hostname"], config["Domainname"], config["User"], config["WorkingDir"]) == ("many", "example.test", "1000:1000", "/tmp")
    assert config["Tty"] and config["OpenStdin"] and config["StopSignal"] == "SIGINT" and config["Labels"] == {"x": "", "y": ""}
    assert (host["Memory"], host["MemorySwap"], host["MemoryReservation"]) == (64 << 20, 128 << 20, 32 << 20)
    assert (host["CpuShares"], host["CpuQuota"], host["PidsLimit"], host["OomScoreAdj"]) == (512, 50000, 50, 100)
    assert host["Init"] and host["ReadonlyRootfs"] and host["Tmpfs"] == {"/t": "size=1m"}
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert {m["Destination"] for m in container.attrs["Mounts"]} == {"/n", "/m"}
    out = container.exec_run(["sh", "-c", "ulimit -n; id -u; cat /etc/resolv.conf /etc/hosts; hostname"]).output.decode()
    for expected in ("100\n1000\n", "nameserver 192.0.2.1", "search search.test", "ndots:2", "192.0.2.2\tother", "many"):
        assert expected in out, out
    assert container.ports["80/tcp"][0]["HostIp"] == "127.0.0.1"
    container.remove(force=True, v=True)


def test_create_and_get(client):
    container = client.containers.create(IMAGE, ["true"], name="py-get")
    assert container.status == "created" and len(container.id) == 64 and container.short_id == container.id[:12]
    assert client.containers.get("py-get") == client.containers.get(container.short_id) == container
    assert container.image.tags == [IMAGE]
    with pytest.raises(sdk.errors.NotFound):
        client.containers.get("py-nothing")
    with pytest.raises(sdk.errors.APIError) as caught:
        client.containers.create(IMAGE, ["true"], name="py-get")
    assert caught.value.status_code == 409


def test_list(client, box):
    made = client.containers.create(IMAGE, ["true"], name="py-listed", labels={"kind": "made"})
    assert {c.id for c in client.containers.list()} == {box.id}
    assert {c.id for c in client.containers.list(all=True)} == {box.id, made.id}
    assert [c.id for c in client.containers.list(limit=1)] == [made.id]
    assert [c.id for c in client.containers.list(all=True, filters={"since": box.id})] == [made.id]
    assert [c.id for c in client.containers.list(all=True, filters={"before": made.id})] == [box.id]
    for filters, expected in [
        ({"status": "created"}, {made.id}), ({"status": "running"}, {box.id}), ({"name": "py-listed"}, {made.id}),
        ({"label": "kind"}, {made.id}), ({"label": ["kind=made"]}, {made.id}), ({"ancestor": IMAGE}, {box.id, made.id}),
        ({"id": box.id[:20]}, {box.id}), ({"exited": 1}, set()), ({"volume": "none"}, set()),
    ]:
        assert {c.id for c in client.containers.list(all=True, filters=filters)} == expected, filters
    sparse = client.containers.list(sparse=True)
    assert sparse[0].status == "running" and sparse[0].attrs["Image"] == IMAGE
    with pytest.raises(sdk.errors.APIError):
        client.containers.list(filters={"no-such": "x"})
    assert client.api.containers(quiet=True, all=True)[0]["Id"] in (box.id, made.id)
    assert "SizeRootFs" in client.api.containers(size=True)[0]


def test_prune(client, box):
    kept = client.containers.create(IMAGE, ["true"], labels={"keep": "1"})
    gone = client.containers.create(IMAGE, ["true"])
    assert client.containers.prune(filters={"label!": ["keep"]})["ContainersDeleted"] == [gone.id]
    assert client.containers.prune(filters={"until": "1h"})["ContainersDeleted"] is None
    assert client.containers.prune() == {"ContainersDeleted": [kept.id], "SpaceReclaimed": 0}
    assert [c.id for c in client.containers.list(all=True)] == [box.id]


# Life.


def test_start_stop_restart_kill_wait(client):
    container = client.containers.create(IMAGE, ["sh", "-c", "trap 'exit 5' USR1; trap 'exit 6' TERM; echo set; while :; do sleep 0.05; done"])
    assert status(container) == "created"
    container.start()
    assert status(container) == "running"
    wait_until(lambda: container.logs() == b"set\n")
    begun = container.attrs["State"]["StartedAt"]
    container.restart(timeout=25)
    assert status(container) == "running" and container.attrs["State"]["StartedAt"] > begun
    wait_until(lambda: container.logs() == b"set\n" * 2)
    container.kill("SIGUSR1")
    assert container.wait() == {"StatusCode": 5} or container.wait()["StatusCode"] == 5
    container.start()
    wait_until(lambda: container.logs() == b"set\n" * 3)
    container.stop(timeout=25)
    assert container.wait(condition="not-running")["StatusCode"] == 6
    assert status(container) == "exited"
    with pytest.raises(sdk.errors.APIError) as caught:
        container.kill()
    assert caught.value.status_code == 409
    container.start()
    container.kill(signal=9)
    assert container.wait()["StatusCode"] == 137


def test_wait_conditions(client, engine):
    container = client.containers.create(IMAGE, ["sh", "-c", "exit 3"])
    found = []
    threads = [threading.Thread(target=lambda c=c: found.append((c, container.wait(condition=c)["StatusCode"])))
               for c in ("next-exit", "removed")]
    for thread in threads:
        thread.start()
    engine.wait_answered("/wait?", 2)
    container.start()
    threads[0].join(40)
    container.wait()
    container.remove()
    threads[1].join(40)
    assert sorted(found) == [("next-exit", 3), ("removed", 3)]


def test_pause_unpause(box):
    box.pause()
    assert status(box) == "paused"
    with pytest.raises(sdk.errors.APIError) as caught:
        box.exec_run(["true"])
    assert caught.value.status_code == 409
    box.unpause()
    assert status(box) == "running"
    with pytest.raises(sdk.errors.APIError):
        box.unpause()


def test_rename_and_remove(client, box):
    box.rename("py-renamed")
    box.reload()
    assert box.name == "py-renamed"
    other = client.containers.create(IMAGE, ["true"])
    with pytest.raises(sdk.errors.APIError) as caught:
        other.rename("py-renamed")
    assert caught.value.status_code == 409
    with pytest.raises(sdk.errors.APIError) as caught:
        box.remove()
    assert caught.value.status_code == 409
    box.remove(force=True, v=True)
    other.remove()
    with pytest.raises(sdk.errors.NotFound):
        other.reload()


def test_update(box):
    answer = box.update(mem_limit="64m", memswap_limit="64m", cpu_shares=300, restart_policy={"Name": "always"})
    assert not answer.get("Warnings")
    box.reload()
    host = box.attrs["HostConfig"]
    assert (host["Memory"], host["CpuShares"], host["RestartPolicy"]["Name"]) == (64 << 20, 300, "always")


def test_health_and_status(client):
    container = client.containers.run(IMAGE, ["sleep", "1000"], detach=True,
                                      healthcheck={"test": ["CMD-SHELL", "echo fine"], "interval": 100_000_000})
    wait_until(lambda: (container.reload(), container.attrs["State"]["Health"]["Status"])[1] == "healthy")
    assert container.health == "healthy" and container.attrs["State"]["Health"]["Log"][0]["Output"] == "fine\n"


# What runs inside.


def test_exec_run(box):
    assert tuple(box.exec_run("echo hi")) == (0, b"hi\n")
    assert tuple(box.exec_run(["sh", "-c", "echo $X; id -un; pwd"], environment={"X": "y"}, user="alice", workdir="/tmp")) == (
        0, b"y\nalice\n/tmp\n")
    assert box.exec_run(["sh", "-c", "echo $X"], environment=["X=list"]).output == b"list\n"
    assert tuple(box.exec_run(["sh", "-c", "echo o; echo e >&2"], stdout=False)) == (0, b"e\n")
    assert tuple(box.exec_run(["sh", "-c", "echo o; echo e >&2"], stderr=False)) == (0, b"o\n")
    assert box.exec_run(["sh", "-c", "echo e >&2"], demux=True).output == (None, b"e\n")
    assert tuple(box.exec_run(["sh", "-c", "exit 7"])) == (7, b"")
    assert box.exec_run(["tty"], tty=True).output.startswith(b"/dev/pts/")
    code, stream = box.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True)
    assert code is None and b"".join(stream) == b"1\n2\n"
    code, stream = box.exec_run(["sh", "-c", "echo 1; echo 2 >&2"], stream=True, demux=True)
    parts = list(stream)
    assert (b"".join(o or b"" for o, _ in parts), b"".join(e or b"" for _, e in parts)) == (b"1\n", b"2\n")
    code, output = box.exec_run(["touch", "/detached"], detach=True)
    assert not output
    wait_until(lambda: box.exec_run(["test", "-e", "/detached"]).exit_code == 0)
    assert b"CapEff:\t000000" in box.exec_run(["grep", "CapEff", "/proc/self/status"], user="alice").output


def test_exec_on_a_socket(box):
    code, sock = box.exec_run(["cat"], stdin=True, socket=True)
    raw = sock._sock
    raw.sendall(b"through\n")
    raw.shutdown(socket.SHUT_WR)
    assert code is None and demultiplex(received(raw)) == (b"through\n", b"")
    sock.close()


def test_exec_low_level(client, box):
    id = client.api.exec_create(box.id, ["sleep", "1000"], tty=True, stdin=True, detach_keys="ctrl-x")["Id"]
    assert client.api.exec_inspect(id)["ProcessConfig"]["entrypoint"] == "sleep"
    client.api.exec_start(id, detach=True, tty=True)
    client.api.exec_resize(id, height=40, width=100)
    assert client.api.exec_inspect(id)["Running"] and client.api.inspect_container(box.id)["ExecIDs"] == [id]
    with pytest.raises(sdk.errors.APIError) as caught:
        client.api.exec_start(id, detach=True)
    assert caught.value.status_code in (409, 500)
    with pytest.raises(sdk.errors.NotFound):
        client.api.exec_inspect("0" * 64)


def test_top(box):
    found = box.top()
    assert found["Titles"][0] == "UID" and "sleep 1000" in found["Processes"][0][-1]
    assert box.top(ps_args="-o pid,comm")["Titles"] == ["PID", "COMMAND"]
    with pytest.raises(sdk.errors.APIError):
        box.top(ps_args="-o comm")


def test_stats(client, box):
    stream = box.stats(decode=True)
    first, second = next(stream), next(stream)
    assert first["read"] < second["read"] and second["precpu_stats"]["cpu_usage"]["total_usage"] <= second["cpu_stats"]["cpu_usage"]["total_usage"]
    stream.close()
    once = box.stats(stream=False)
    assert once["pids_stats"]["current"] >= 1 and "eth0" in once["networks"] and once["id"] == box.id
    if "one_shot" in client.api.stats.__code__.co_varnames:
        assert client.api.stats(box.id, stream=False, one_shot=True)["precpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_diff(client):
    container = client.containers.run(IMAGE, ["sh", "-c", "touch /new; rm /etc/group; echo x >> /etc/passwd"], detach=True)
    container.wait()
    changes = {c["Path"]: c["Kind"] for c in container.diff()}
    assert (changes["/new"], changes["/etc/group"], changes["/etc/passwd"]) == (1, 2, 0)


# Streams.


def test_logs(client):
    container = client.containers.run(IMAGE, ["sh", "-c", "echo one; sleep 2; echo two; sleep 0.7; echo err >&2"], detach=True)
    container.wait()
    assert container.logs() == b"one\ntwo\nerr\n"
    assert container.logs(stdout=False) == b"err\n" and container.logs(stderr=False) == b"one\ntwo\n"
    assert container.logs(tail=2, stderr=False) == b"two\n"
    assert container.logs(tail="all") == container.logs()
    stamped = container.logs(timestamps=True).splitlines()
    assert stamped[0].endswith(b"Z one") and stamped[0][:4].isdigit()
    assert b"".join(container.logs(stream=True, follow=False)) == b"one\ntwo\nerr\n"
    begun = datetime.fromisoformat(stamped[1].decode()[:19])
    assert container.logs(since=begun) == b"two\nerr\n"
    assert container.logs(until=begun) == b"one\n"
    follower = client.containers.run(IMAGE, ["sh", "-c", "echo a; sleep 0.3; echo b"], detach=True)
    assert b"".join(follower.logs(stream=True, follow=True)) == b"a\nb\n"


def test_attach(client):
    container = client.containers.create(IMAGE, ["sh", "-c", "echo o; echo e >&2"])
    stream = container.attach(stream=True, demux=True, logs=True)
    container.start()
    parts = list(stream)
    assert (b"".join(o or b"" for o, _ in parts), b"".join(e or b"" for _, e in parts)) == (b"o\n", b"e\n")
    container.wait()
    # docker-py loses what arrives together with the answer's head.
    wait_until(lambda: container.attach(logs=True, stream=False, stderr=False) == b"o\n")


def test_attach_socket_with_a_terminal(client):
    container = client.containers.create(IMAGE, ["sh"], stdin_open=True, tty=True)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    container.start()
    container.resize(height=33, width=111)
    raw = sock._sock
    raw.settimeout(20)
    raw.sendall(b"stty size; exit 4\n")
    assert b"33 111" in received(raw)
    assert container.wait()["StatusCode"] == 4
    sock.close()


def test_attach_websocket_parameters(client, box):
    with pytest.raises(sdk.errors.APIError):
        client.api.attach_socket("py-nobody", params={"stream": 1})
    sock = client.api.attach_socket(box.id, params={"stream": 1, "stdout": 1, "detachKeys": "ctrl-a"})
    sock.close()


# Files.


def test_archives(client, box):
    assert box.put_archive("/tmp", archive(file=b"content", other=b"x" * 100_000))
    assert box.exec_run(["sh", "-c", "cat /tmp/file; stat -c %a:%u /tmp/file"]).output == b"content640:1000\n"
    stream, about = box.get_archive("/tmp/file")
    assert about["name"] == "file" and about["size"] == 7 and about["linkTarget"] == ""
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        assert tar.getnames() == ["file"] and tar.extractfile("file").read() == b"content"
    stream, about = box.get_archive("/tmp", chunk_size=4096, encode_stream=True)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        assert {"tmp/file", "tmp/other"} <= set(tar.getnames())
    with pytest.raises(sdk.errors.NotFound):
        box.get_archive("/no/such")
    with pytest.raises(sdk.errors.NotFound):
        box.put_archive("/no/such", archive(a=b""))
    box.stop(timeout=0)
    assert box.put_archive("/", archive(late=b"late"))
    assert client.api.get_archive(box.id, "/late")[1]["size"] == 4


def test_export(client):
    container = client.containers.create(IMAGE, ["true"])
    with tarfile.open(fileobj=io.BytesIO(b"".join(container.export(chunk_size=1 << 16)))) as tar:
        assert "etc/passwd" in tar.getnames()


def test_commit(client, box):
    box.exec_run(["sh", "-c", "echo kept > /kept"])
    image = box.commit("py-commit", "1", message="why", author="who", pause=True, changes=["CMD [\"cat\", \"/kept\"]", "ENV A=b"],
                       conf={"Labels": {"from": "conf"}})
    assert image.tags == ["py-commit:1"] and image.attrs["Comment"] == "why" and image.attrs["Author"] == "who"
    assert image.attrs["Config"]["Cmd"] == ["cat", "/kept"] and image.labels == {"from": "conf"}
    assert client.containers.run("py-commit:1", remove=True) == b"kept\n"
