"""A stack of nginx, redis and a web application by both Composes: up, scale, restart, logs, exec, down."""

import json
import shutil
from pathlib import Path

import pytest

from harness.compose import Compose
from harness.engine import wait_until

STACK = Path(__file__).parent / "compose"
# Making the image takes its time, once for a machine.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["v1", "v2"])
def compose(request, engine, tmp_path):
    folder = tmp_path / "project"
    shutil.copytree(STACK, folder)
    (folder / ".env").write_text(f"STACK_IMAGE={engine.load_stack()}\n")
    made = Compose(request.param, engine, folder, engine.name("stack"))
    if request.param == "v2":
        made.files.append("compose.v2.yaml")
    yield made
    made("down", "-v", "-t", "0", check=False)


def ask(engine, path="/", where="host", address="127.0.0.1"):
    """The body of an answer of the published port, or None."""
    with engine.sandbox.socket(where) as sock:
        sock.settimeout(30)
        try:
            sock.connect((address, 8080))
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: stack\r\n\r\n".encode())
            answer = b""
            while chunk := sock.recv(65536):
                answer += chunk
        except OSError:
            return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode() if b" 200 " in head.splitlines()[0] else None


def visit(engine, **where):
    """A visit to the application, when all are up."""
    return json.loads(wait_until(lambda: ask(engine, **where), timeout=60, what="an answer"))


def names(listed, key="Name"):
    return [one[key] for one in listed or []]


def mine(engine, compose):
    """Names of the project's networks and volumes."""
    networks = engine.api.get("/networks").json
    volumes = engine.api.get("/volumes").json["Volumes"]
    return sorted(name for name in names(networks) + names(volumes) if name.startswith(compose.project))


def test_a_stack(engine, compose):
    compose("up", "-d")
    # What it depends on was healthy before it was started.
    health = {service: engine.api.get(f"/containers/{compose.containers(service)[0]['Id']}/json").json["State"]["Health"]["Status"]
              for service in ("app", "cache")}
    assert health == {"app": "healthy", "cache": "healthy"}
    first = visit(engine)
    assert first["token"] == "sesame" and first["visitors"] == "1"
    assert visit(engine, where="outside", address=engine.address)["visitors"] == "2"
    if compose.version == "v2":
        assert ask(engine, "/greeting.txt") == "hello from a config\n"
    assert sorted(mine(engine, compose)) == [f"{compose.project}_{name}" for name in ("back", "data", "front")]
    listed = compose.out("ps")
    assert all(service in listed for service in ("web", "app", "cache"))

    assert compose.out("exec", "-T", "cache", "redis-cli", "get", "visitors") == "2"
    assert compose.out("exec", "-T", "app", "cat", "/run/secrets/token") == "sesame"
    assert compose("exec", "-T", "app", "sh", "-c", "exit 7", check=False).returncode == 7
    assert "served /" in compose.out("logs", "app")

    compose("up", "-d", "--scale", "app=3", "--no-recreate")
    assert len(compose.containers("app")) == 3
    hosts = set()
    wait_until(lambda: hosts.add(visit(engine)["host"]) or len(hosts) == 3, timeout=100, what="answers of all three")
    assert hosts == {one["Id"][:12] for one in compose.containers("app")}
    compose("up", "-d", "--scale", "app=1", "--no-recreate")
    assert len(compose.containers("app")) == 1

    before = int(visit(engine)["visitors"])
    compose("restart", "-t", "5")
    assert int(visit(engine)["visitors"]) > before, "redis has kept its number"
    compose("stop", "-t", "5")
    assert compose.containers() == [] and len(compose.containers(all=True)) == 3
    compose("start")
    before = int(visit(engine)["visitors"])

    compose("down", "-t", "5")
    assert compose.containers(all=True) == [] and mine(engine, compose) == [f"{compose.project}_data"]
    compose("up", "-d")
    assert int(visit(engine)["visitors"]) > before, "so has the volume"
    compose("down", "-v", "-t", "0")
    assert mine(engine, compose) == []


def test_a_change_recreates_what_it_concerns(engine, compose):
    compose("up", "-d", "cache")
    cache = compose.containers("cache")[0]["Id"]
    compose("up", "-d", "cache")
    assert compose.containers("cache")[0]["Id"] == cache, "nothing has changed"
    text = (compose.folder / "compose.yaml").read_text()
    (compose.folder / "compose.yaml").write_text(text.replace('"--appendonly", "yes"', '"--appendonly", "no"'))
    compose("up", "-d", "cache")
    changed = compose.containers("cache")
    assert len(changed) == 1 and changed[0]["Id"] != cache


def test_a_single_run(engine, compose):
    compose("up", "-d", "cache")
    out = compose.out("run", "--rm", "--no-deps", "-T", "-e", "GREETING=hi", "app", "sh", "-c", "echo $GREETING; getent hosts store")
    assert out.splitlines()[0] == "hi" and out.splitlines()[1].endswith("store")
    assert compose.containers("app", all=True) == []
    failed = compose("run", "--rm", "--no-deps", "-T", "app", "sh", "-c", "exit 9", check=False)
    assert failed.returncode == 9


@pytest.mark.differs(reference="20.10 gives it a default route that leads nowhere")
def test_an_internal_network_has_no_way_out(engine, compose):
    compose("up", "-d", "cache")
    routes = compose.out("run", "--rm", "--no-deps", "-T", "cache", "awk", "$2 == \"00000000\"", "/proc/net/route")
    assert routes == ""
