"""docker-py, the SDK of Compose's ancestors and many tools."""

import docker as sdk
import pytest

from harness import rootfs
from harness.engine import IMAGE


def test_system(client):
    assert client.ping()
    assert client.version()["Os"] == "linux"
    assert client.info()["OSType"] == "linux"


def test_run(client):
    assert client.containers.run(IMAGE, ["echo", "hi"], remove=True) == b"hi\n"
    with pytest.raises(sdk.errors.ContainerError) as caught:
        client.containers.run(IMAGE, ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    assert caught.value.exit_status == 3 and b"bad" in caught.value.stderr
    with pytest.raises(sdk.errors.ImageNotFound):
        client.api.create_container("no-such-image:x", ["true"])


def test_container(client):
    container = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, name="py", labels={"a": "b"}, environment={"A": "1"},
                                      ports={"80/tcp": None})
    container.reload()
    assert container.status == "running" and container.labels == {"a": "b"}
    assert container.ports["80/tcp"][0]["HostPort"].isdigit()
    assert [c.name for c in client.containers.list(filters={"label": "a=b"})] == ["py"]
    result = container.exec_run(["sh", "-c", "echo $A; exit 4"])
    assert (result.exit_code, result.output) == (4, b"1\n")
    code, (out, err) = container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
    assert (out, err) == (b"o\n", b"e\n")
    assert "sleep 1000" in container.top()["Processes"][0]
    container.rename("py2")
    container.pause()
    container.unpause()
    container.restart(timeout=0)
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.remove()
    with pytest.raises(sdk.errors.NotFound):
        client.containers.get("py2")


def test_logs_and_attach(client):
    container = client.containers.create(IMAGE, ["sh", "-c", "echo one; echo two"])
    stream = container.attach(stream=True, logs=True)
    container.start()
    assert b"".join(stream) == b"one\ntwo\n"
    assert list(container.logs(stream=True, follow=True)) == [b"one\ntwo\n"] or b"".join(container.logs(stream=True)) == b"one\ntwo\n"
    assert container.logs(tail=1) == b"two\n"


def test_attach_socket(client):
    container = client.containers.create(IMAGE, ["cat"], stdin_open=True, tty=False)
    sock = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    raw = sock._sock
    raw.sendall(b"hello\n")
    assert raw.recv(8)[0] == 1
    assert raw.recv(100) == b"hello\n"
    sock.close()


def test_images(client):
    client.api.import_image_from_data(rootfs.busybox(), repository="py-import", tag="1")
    image = client.images.get("py-import:1")
    assert image.tags == ["py-import:1"]
    assert image.tag("py-tag", "2")
    image.reload()
    data = b"".join(image.save(named="py-tag:2"))
    client.images.remove("py-tag:2")
    client.images.remove("py-import:1")
    loaded = client.images.load(data)
    assert loaded[0].tags == ["py-tag:2"]
    assert loaded[0].history()
    client.images.remove("py-tag:2", force=True)


def test_volumes(client):
    volume = client.volumes.create("py-vol", labels={"k": "v"})
    client.containers.run(IMAGE, ["touch", "/v/x"], volumes={"py-vol": {"bind": "/v", "mode": "rw"}}, remove=True)
    assert volume.name in [v.name for v in client.volumes.list(filters={"label": "k=v"})]
    volume.remove()


def test_events(client):
    import time
    since = time.time()
    container = client.containers.run(IMAGE, ["true"], detach=True)
    container.wait()
    found = [e["Action"] for e in client.events(since=since, until=time.time() + 0.5, filters={"container": container.id}, decode=True)]
    assert found == ["create", "start", "die"]


def test_stats(client):
    container = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, mem_limit="64m")
    assert container.stats(stream=False)["memory_stats"]["limit"] == 64 << 20


def test_networks(client):
    assert {"bridge", "host", "none"} <= {n.name for n in client.networks.list()}
