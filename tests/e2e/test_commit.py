"""`POST /commit`: a container becomes an image."""

import io
import json
import tarfile
import threading
import time

import pytest

from harness.cli import Cli
from harness.engine import wait_until


def commit(container, body=None, expect=201, **query):
    options = {"json_body": body} if body is not None else {}
    answer = container.api.request("POST", "/commit", container=container.id, expect=expect, **options, **query)
    return answer.json["Id"] if answer.status == 201 else answer.message


def finished(engine, command, **options):
    container = engine.start_container(command, **options)
    container.wait()
    return container


def layer(engine, image):
    """The entries of the image's uppermost layer."""
    saved = tarfile.open(fileobj=io.BytesIO(engine.api.get(f"/images/{image}/get", expect=200).body))
    name = json.load(saved.extractfile("manifest.json"))[0]["Layers"][-1]
    return {m.name: m for m in tarfile.open(fileobj=saved.extractfile(name))}


def test_the_image_runs(engine):
    container = finished(engine, "echo kept > /kept; rm /data/seed; rm -r /home; mkdir /home; echo x > /home/new; chown 7:8 /kept")
    image = commit(container, repo="made", tag="1")
    assert image.startswith("sha256:")
    out = engine.output("cat /kept; stat -c %u:%g /kept; ls /home; ls /data", image="made:1")
    assert out == "kept\n7:8\nnew\nlink\nsub\n"
    again = finished(engine, "echo more >> /kept", image="made:1")
    commit(again, repo="made", tag="2")
    assert engine.output("cat /kept", image="made:2") == "kept\nmore\n"


def test_what_the_image_says_of_itself(engine):
    container = finished(engine, "echo x > /x", Labels={"own": "1"}, Env=["A=1"], ExposedPorts={"80/tcp": {}})
    image = commit(container, repo="described", comment="a note", author="me <me@example.org>")
    found = engine.api.get(f"/images/{image}/json", expect=200).json
    base = engine.api.get("/images/busybox:e2e/json", expect=200).json
    config = container.inspect()["Config"]
    assert (found["Author"], found["Comment"], found["Parent"]) == ("me <me@example.org>", "a note", base["Id"])
    assert found["RepoTags"] == ["described:latest"] and found["Architecture"] == base["Architecture"]
    assert found["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    for key in ("Cmd", "Env", "Labels", "ExposedPorts", "Entrypoint", "User", "WorkingDir"):
        assert found["Config"].get(key) == config.get(key), key
    steps = engine.api.get(f"/images/{image}/history", expect=200).json
    assert (steps[0]["Comment"], steps[0]["CreatedBy"], steps[0]["Size"]) == ("a note", "sh -c echo x > /x", 2)
    assert len(steps) == 2
    saved = tarfile.open(fileobj=io.BytesIO(engine.api.get(f"/images/{image}/get", expect=200).body))
    document = json.load(saved.extractfile(json.load(saved.extractfile("manifest.json"))[0]["Config"]))
    assert document["container"] == container.id
    assert document["container_config"]["Cmd"] == ["sh", "-c", "echo x > /x"]


def test_the_layer_has_the_changes_and_nothing_else(engine):
    container = finished(engine, "echo x > /x; rm /data/seed; rm -r /home; mkdir /home; mkfifo /pipe; ln /x /y; ln -s x /s;"
                         "echo y > /vol/in-volume; echo z > /tmp/t",
                         host={"Binds": [f"{engine.name('vol')}:/vol"], "Tmpfs": {"/tmp": ""}})
    found = layer(engine, commit(container))
    assert set(found) - {"home/.wh..wh..opq"} == {"x", "y", "s", "pipe", "vol", "data", "data/.wh.seed", "home"}
    assert found["y"].islnk() and found["s"].issym() and found["pipe"].isfifo()
    assert not any("overlay" in key for member in found.values() for key in member.pax_headers)


def test_nothing_changed(engine):
    container = engine.create(["true"])
    image = commit(container, repo="same")
    base = engine.api.get("/images/busybox:e2e/json", expect=200).json
    assert engine.api.get(f"/images/{image}/json", expect=200).json["RootFS"] == base["RootFS"]
    assert engine.api.get(f"/images/{image}/history", expect=200).json[0]["Size"] == 0
    assert engine.output("echo fine", image="same") == "fine\n"


def test_the_configuration_of_the_request(engine):
    container = finished(engine, "true", Env=["A=1", "B=2"], Labels={"own": "1"}, ExposedPorts={"80/tcp": {}}, User="alice")
    body = {"Cmd": ["w"], "Env": ["B=9", "C=3"], "Labels": {"new": "2"}, "ExposedPorts": {"81/tcp": {}}, "WorkingDir": "/tmp"}
    image = commit(container, body)
    config = engine.api.get(f"/images/{image}/json", expect=200).json["Config"]
    assert (config["Cmd"], config["User"], config["WorkingDir"]) == (["w"], "alice", "/tmp")
    assert {"B=9", "C=3", "A=1"} == set(config["Env"]) - {e for e in config["Env"] if e.startswith("PATH=")}
    assert config["Labels"] == {"own": "1", "new": "2"} and set(config["ExposedPorts"]) == {"80/tcp", "81/tcp"}
    config = engine.api.get(f"/images/{commit(container, {})}/json", expect=200).json["Config"]
    assert config["Cmd"] == ["sh", "-c", "true"]


def test_changes(engine):
    container = finished(engine, "true", Env=["A=1"])
    changes = ['CMD ["echo", "changed"]', "ENV A=2 D=4", "LABEL k=v", "EXPOSE 99", "USER bob", "WORKDIR /tmp", "VOLUME /v",
               'ENTRYPOINT ["/bin/env"]', "ONBUILD RUN x"]
    image = commit(container, changes=changes, repo="changed")
    config = engine.api.get(f"/images/{image}/json", expect=200).json["Config"]
    assert (config["Cmd"], config["Entrypoint"], config["User"]) == (["echo", "changed"], ["/bin/env"], "bob")
    assert {"A=2", "D=4"} <= set(config["Env"]) and "A=1" not in config["Env"]
    assert config["Labels"]["k"] == "v" and "99/tcp" in config["ExposedPorts"] and "/v" in config["Volumes"]
    assert (config["WorkingDir"], config["OnBuild"]) == ("/tmp", ["RUN x"])
    assert engine.output(None, image="changed") == "changed\n"


@pytest.mark.parametrize("query, status, message", [
    ({"changes": "RUN x"}, 400, "run is not a valid change command"),
    ({"repo": "UPPER"}, (400, 500), "must be lowercase"),
    ({"repo": "r", "tag": "b:c"}, (400, 500), "invalid tag format"),
])
def test_refusals(engine, query, status, message):
    container = engine.create(["true"])
    assert message in commit(container, expect=status, **query)


def test_requests_that_name_no_container(engine):
    assert engine.api.post("/commit", container="nobody", expect=404).message == "No such container: nobody"
    assert engine.api.post("/commit", expect=400).message == 'invalid name or ID supplied: ""'
    container = engine.create(["true"])
    wrong = engine.api.request("POST", "/commit", body=b"x", headers={"Content-Type": "text/plain"}, container=container.id, expect=400)
    assert "must be 'application/json'" in wrong.message
    wrong = engine.api.request("POST", "/commit", body=b"{x", headers={"Content-Type": "application/json"}, container=container.id, expect=(400, 500))
    assert "invalid character" in wrong.message


def test_a_name_moves_to_the_new_image(engine):
    container = finished(engine, "echo x > /x")
    first, second = commit(container, repo="moving"), commit(container, repo="moving")
    assert first != second
    assert engine.api.get("/images/moving/json", expect=200).json["Id"] == second
    assert engine.api.get(f"/images/{first}/json", expect=200).json["RepoTags"] == []


def events(engine, container, image, since):
    found = engine.api.get("/events", since=since, until=int(time.time()) + 1, expect=200).objects
    return [e for e in found if e["Actor"]["ID"] in (container.id, image) and e["Action"] in ("pause", "unpause", "commit", "tag")]


@pytest.mark.parametrize("pause", [None, True, False])
def test_events_and_the_pause(engine, pause):
    container = engine.start_container("while :; do echo $((n=n+1)) > /next; mv /next /count; done")
    since = int(time.time()) - 1
    image = commit(container, repo="paused", comment="c", pause=pause)
    found = events(engine, container, image, since)
    paused = pause is not False
    assert [e["Action"] for e in found] == (["pause"] if paused else []) + ["tag", "commit"] + (["unpause"] if paused else [])
    attributes = found[2 if paused else 1]["Actor"]["Attributes"]
    assert {k: attributes[k] for k in ("comment", "imageID", "imageRef")} == {"comment": "c", "imageID": image, "imageRef": "paused"}
    assert container.state["Status"] == "running"
    count = lambda: container.exec("cat /count")[1]
    before = count()
    wait_until(lambda: count() not in ("", before), what="the container going on")


def test_a_container_that_is_paused_stays_so(engine):
    container = engine.start_container()
    engine.api.post(f"{container.path}/pause", expect=204)
    commit(container)
    assert container.state["Status"] == "paused"
    engine.api.post(f"{container.path}/unpause", expect=204)


def test_files_of_one_moment(engine):
    """Paused, a container cannot write the second file after the first was read."""
    container = engine.start_container("i=0; while :; do i=$((i+1)); echo $i > /n; mv /n /a; echo $i > /n; mv /n /z; done")
    wait_until(lambda: container.exec("test -e /z")[0] == 0)
    container.exec("dd if=/dev/zero of=/middle bs=1M count=20")
    image = commit(container, repo="moment")
    a, z = engine.output("cat /a; cat /z", image=image).split()
    assert int(a) - int(z) in (0, 1)


@pytest.mark.differs(reference="cannot find the base")
def test_the_base_is_gone(engine):
    data = finished(engine, "echo base > /base")
    commit(data, repo="base-to-go")
    container = finished(engine, "echo top > /top", image="base-to-go")
    engine.api.delete("/images/base-to-go", force=True, expect=(200, 409))
    image = commit(container)
    assert engine.output("cat /base /top", image=image) == "base\ntop\n"


def test_many_at_once(engine):
    container = finished(engine, "dd if=/dev/zero of=/big bs=1M count=5; echo x > /x")
    images = []
    workers = [threading.Thread(target=lambda n=n: images.append(commit(container, repo=f"many{n}"))) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(set(images)) == 6
    assert engine.output("cat /x", image="many3") == "x\n"


def test_docker_commit(engine, docker_path):
    docker = Cli(docker_path, engine)
    container = finished(engine, "echo x > /x")
    image = docker.out("commit", "-m", "note", "-a", "me", "-c", 'CMD ["cat", "/x"]', container.id, "by-command:1")
    assert engine.output(None, image="by-command:1") == "x\n"
    assert docker.out("inspect", "-f", "{{.Comment}} {{.Author}}", image) == "note me"
