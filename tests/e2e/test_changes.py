"""`GET /containers/{id}/changes`: what a container did to its image's files."""

import pytest

from harness.cli import Cli

MODIFIED, ADDED, DELETED = 0, 1, 2


def changes(container):
    listed = container.api.get(f"{container.path}/changes", expect=200).json
    if listed is None:
        return None
    found = {change["Path"]: change["Kind"] for change in listed}
    assert len(found) == len(listed), "each path once"
    # A directory comes before what is in it.
    paths = list(found)
    for at, path in enumerate(paths):
        parent = path.rpartition("/")[0]
        assert parent not in paths or paths.index(parent) < at
    return found


def after(engine, command, **options):
    container = engine.start_container(command, **options)
    container.wait()
    return changes(container)


def test_nothing(engine):
    assert changes(engine.create(["true"])) is None
    assert after(engine, "true") is None
    container = engine.start_container()
    assert changes(container) is None


@pytest.mark.parametrize("command, expected", [
    ("echo x > /tmp/new", {"/tmp": MODIFIED, "/tmp/new": ADDED}),
    ("echo x > /new", {"/new": ADDED}),
    ("echo x >> /data/seed", {"/data": MODIFIED, "/data/seed": MODIFIED}),
    ("rm /data/seed", {"/data": MODIFIED, "/data/seed": DELETED}),
    ("rm -r /data", {"/data": DELETED}),
    ("chmod 700 /data", {"/data": MODIFIED}),
    ("mkdir -p /data/sub/a/b", {"/data": MODIFIED, "/data/sub": MODIFIED, "/data/sub/a": ADDED, "/data/sub/a/b": ADDED}),
    ("rm -r /data; mkdir /data; echo x > /data/y; echo other > /data/seed",
     {"/data": MODIFIED, "/data/y": ADDED, "/data/seed": MODIFIED, "/data/link": DELETED, "/data/sub": DELETED}),
    ("chmod 711 /data/sub", {"/data": MODIFIED, "/data/sub": MODIFIED}),
    ("touch /data /data/sub", None),
    ("rm /data/seed; mkdir /data/seed; touch /data/seed/in",
     {"/data": MODIFIED, "/data/seed": MODIFIED, "/data/seed/in": ADDED}),
    ("rm -r /data; echo x > /data", {"/data": MODIFIED}),
    ("ln -s /nowhere /link; mkfifo /pipe", {"/link": ADDED, "/pipe": ADDED}),
    ("mv /data/seed /data/moved", {"/data": MODIFIED, "/data/seed": DELETED, "/data/moved": ADDED}),
    ("touch /x; rm /x", None),
    ("echo x > /etc/new", {"/etc": MODIFIED, "/etc/new": ADDED}),
])
def test_kinds(engine, command, expected):
    assert after(engine, command) == expected


def test_places_of_mounts(engine):
    volume = engine.name("vol")
    found = after(engine, "echo x > /new/in-volume; echo x > /tmp/t", host={"Binds": [f"{volume}:/new"], "Tmpfs": {"/tmp": ""}})
    assert found == {"/new": ADDED}


def test_of_a_running_container(engine):
    container = engine.start_container("echo x > /a; echo ready; sleep 1000")
    container.wait_log("ready")
    assert changes(container) == {"/a": ADDED}
    container.exec("rm /a; echo y > /b")
    assert changes(container) == {"/b": ADDED}


def test_on_an_image_of_several_layers(engine):
    first = engine.start_container("rm /data/seed; echo first > /layer")
    first.wait()
    engine.api.post("/commit", container=first.id, repo="layered", expect=201)
    found = after(engine, "echo again, longer > /layer; echo x > /data/seed; rm /data/link", image="layered")
    assert found == {"/layer": MODIFIED, "/data": MODIFIED, "/data/seed": ADDED, "/data/link": DELETED}


def test_many(engine):
    container = engine.start_container("mkdir /many; cd /many; seq 3000 | xargs touch")
    container.wait()
    assert len(changes(container)) == 3001


def test_unknown_containers(engine):
    assert engine.api.get("/containers/nobody/changes", expect=404).message == "No such container: nobody"


def test_docker_diff(engine, docker_path):
    container = engine.start_container("rm /data/seed; echo x > /new; echo root:x >> /etc/passwd")
    container.wait()
    lines = Cli(docker_path, engine).out("diff", container.id).splitlines()
    assert sorted(lines) == ["A /new", "C /data", "C /etc", "C /etc/passwd", "D /data/seed"]
