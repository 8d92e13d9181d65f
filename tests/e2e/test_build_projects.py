"""Real projects: their images built from Debian's, Python's and Rust's packages, run, and asked over their protocols."""

import json
from pathlib import Path

import pytest

from harness import asking, machine, rootfs
from harness.build import build, context
from harness.engine import wait_until

PROJECTS = Path(__file__).parent / "projects"
BASE = "debian-base:e2e"
# Packages come over the network.
pytestmark = pytest.mark.timeout(900)


def load_base(engine):
    """Debian's smallest, which the projects begin with."""
    if engine.api.get(f"/images/{BASE}/json").status != 200:
        name, tag = BASE.split(":")
        engine.api.post("/images/create", body=rootfs.debian("base").read_bytes(), fromSrc="-", repo=name, tag=tag, expect=200,
                        timeout=400)


def project(name):
    """The archive of a project, with what this machine says of its packages where they are fetched."""
    folder = PROJECTS / name
    files = {str(path.relative_to(folder)): {"data": path.read_bytes(), "mode": path.stat().st_mode & 0o777}
             for path in sorted(folder.rglob("*")) if path.is_file()}
    if "machine/" in (folder / "Dockerfile").read_text():
        files |= machine.files()
    return context(files)


def make(engine, name, way_out):
    load_base(engine)
    return build(engine, project(name), buildargs=way_out.arguments, t=f"{name}:made", forcerm=True, timeout=800)


@pytest.fixture
def way_out(engine, closing):
    return closing(machine.WayOut(engine.sandbox))


@pytest.fixture
def started(engine, way_out):
    """started(project, port): the container of an image that was just built, and the address at which it serves."""
    def start(name, port, ready=None, **options):
        built = make(engine, name, way_out)
        # What is only for the build is nowhere in the image.
        inspected = engine.api.get(f"/images/{built.id}/json", expect=200).json
        history = engine.api.get(f"/images/{built.id}/history", expect=200).json
        assert way_out.host not in json.dumps([inspected, history])
        container = engine.start_container(None, image=built.id, network="bridge", **options)
        address = container.ip
        if ready is not None:
            container.wait_log(ready, timeout=60)

        def answers():
            assert container.state["Running"], container.logs()
            with engine.sandbox.socket("host") as probe:
                return probe.connect_ex((address, port)) == 0

        wait_until(answers, timeout=60, what=f"{name} to listen")
        return container, address
    return start


def test_nginx(engine, started):
    container, address = started("nginx", 80)
    status, headers, body = asking.http(engine, address, 80, path="/")
    assert (status, body) == (200, "<!doctype html><title>served</title>\n") and headers["server"].startswith("nginx/")
    assert asking.http(engine, address, 80, path="/style.css")[1]["content-type"] == "text/css"
    assert asking.http(engine, address, 80, path="/made-by")[2].startswith("nginx 1.")
    assert asking.http(engine, address, 80, path="/none")[0] == 404
    # Its logs are the container's, and the image's signal ends it in peace.
    wait_until(lambda: '"GET /none HTTP/1.1" 404' in container.logs()[0], what="the log")
    container.stop(t=20)
    assert container.state["ExitCode"] == 0


def test_redis(engine, started):
    container, address = started("redis", 6379)
    told = asking.redis(engine, address, 6379, ["PING"], ["SET", "k", "v w"], ["GET", "k"], ["GET", "none"], ["INCR", "n"],
                        ["RPUSH", "l", "a", "b"], ["LRANGE", "l", "0", "-1"])
    assert told == ["PONG", "OK", "v w", None, 1, 2, ["a", "b"]]
    assert container.exec(["stat", "-c", "%U", "/proc/1"])[1] == "redis\n"
    # The volume that the image declares has it after a restart.
    container.api.post(f"{container.path}/restart", t=20, expect=204)
    address = container.ip
    wait_until(lambda: "Ready to accept connections" in container.logs(tail=3)[0], what="redis")
    assert asking.redis(engine, address, 6379, ["GET", "k"]) == ["v w"]


def test_postgres(engine, started):
    container, address = started("postgres", 5432, ready="ready to accept connections")
    assert asking.sql(engine, address, 5432, "SELECT word FROM words ORDER BY id") == [["first"], ["second"]]
    assert asking.sql(engine, address, 5432, "INSERT INTO words VALUES (3, NULL) RETURNING *") == [["3", None]]
    ((version,),) = asking.sql(engine, address, 5432, "SELECT version()")
    assert version.startswith("PostgreSQL 15.")
    assert container.inspect()["Config"]["User"] == "postgres"
    container.stop(t=30)
    assert container.state["ExitCode"] == 0


def test_rust(engine, started):
    _, address = started("rust", 8080)
    assert asking.http(engine, address, 8080, path="/count")[::2] == (200, '{"count":0}')
    assert asking.http(engine, address, 8080, "POST", "/count")[::2] == (201, '{"count":1}')
    assert asking.http(engine, address, 8080, path="/count")[2] == '{"count":1}'
    assert asking.http(engine, address, 8080, path="/other")[0] == 404


def test_python(engine, started):
    container, address = started("python", 8000)
    status, _, body = asking.http(engine, address, 8000, "POST", "/words", {"word": "first"})
    assert (status, json.loads(body)) == (201, {"count": 1})
    status, _, body = asking.http(engine, address, 8000, path="/words")
    assert (status, json.loads(body)) == (200, {"words": ["first"], "user": 1000})
    assert "gunicorn" in container.logs()[1].lower()
