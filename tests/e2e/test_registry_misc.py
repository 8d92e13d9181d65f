"""Distribution inspect, search, the docker command with a registry, and real images."""

import json
import re
import signal
import threading

import pytest

from harness import images
from harness.engine import IMAGE, Engine
from harness.images import DOCKER, OCI
from harness.pulls import pull, push
from harness.registry import PASSWORD, USER, DebianRegistry, FakeRegistry, auth_header
from harness.servers import Server
from harness.tokens import Basic, Bearer, TokenServer


@pytest.mark.parametrize("kind", [DOCKER, OCI])
def test_distribution(engine, fake, kind):
    image = images.small("distribution", kind)
    name = fake.put(image, "distribution", "v")
    found = engine.api.get(f"/distribution/{name}/json", expect=200).json
    assert found["Descriptor"]["digest"] == image.digest
    assert found["Descriptor"]["size"] == len(image.manifest)
    assert found["Descriptor"]["mediaType"] == image.media_type
    wanted = None if kind == OCI and engine.is_reference else [{"architecture": "amd64", "os": "linux"}]
    assert found["Platforms"] == wanted
    assert engine.api.get(f"/distribution/{fake.host}/distribution@{image.digest}/json", expect=200).json == found
    assert [i for i in engine.api.get("/images/json").json if i["Id"] == image.id] == []


@pytest.mark.parametrize("kind", [DOCKER, OCI])
def test_distribution_of_an_index(engine, fake, kind):
    members = [images.small("amd64", kind), images.small("arm", kind, architecture="arm", variant="v7")]
    name = fake.put_index("distribution-index", members, "v", kind=kind)
    found = engine.api.get(f"/distribution/{name}/json", expect=200).json
    assert found["Descriptor"]["mediaType"] == images.INDEX[kind]
    assert found["Platforms"] == [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm", "os": "linux", "variant": "v7"}]


def test_distribution_with_a_password(engine, closing):
    registry = closing(FakeRegistry(engine.sandbox, auth=Basic()))
    name = registry.put(images.small("private"), "private", "v")
    assert engine.api.get(f"/distribution/{name}/json").status in (401, 403, 500)
    assert engine.api.get(f"/distribution/{name}/json", headers=auth_header(), expect=200).json["Descriptor"]


@pytest.mark.parametrize("name, status", [("UPPER", (400,)), ("127.0.0.1:1/x:v", (403, 404, 500)), ("x@sha256:abc", (400,))])
def test_distribution_of_what_is_not_there(engine, fake, name, status):
    assert engine.api.get(f"/distribution/{name}/json").status in status


def test_distribution_of_a_missing_tag(engine, fake):
    answer = engine.api.get(f"/distribution/{fake.host}/missing:v/json")
    assert answer.status in (403, 404, 500), answer.text
    assert "manifest unknown" in answer.message


class Index(Server):
    """A search index of v1."""

    found = [
        {"name": "library/alpha", "description": "first", "star_count": 50, "is_official": True, "is_automated": False, "is_trusted": False},
        {"name": "someone/alpha", "description": "second", "star_count": 5, "is_official": False, "is_automated": True, "is_trusted": True},
        {"name": "someone/beta", "description": "third", "star_count": 0, "is_official": False, "is_automated": False, "is_trusted": False},
    ]

    def answer(self, handler):
        if handler.seen.path == "/v1/search":
            limit = int(handler.seen.query.get("n") or 25)
            body = {"query": handler.seen.query["q"], "num_results": len(self.found), "results": self.found[:limit]}
            handler.reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        elif handler.seen.path == "/v1/_ping":
            handler.reply(200, b"true", {"X-Docker-Registry-Version": "0.1", "X-Docker-Registry-Standalone": "true"})
        else:
            handler.reply(404)


@pytest.fixture
def index(engine, closing):
    return closing(Index(engine.sandbox))


def search(engine, term, **query):
    return engine.api.get("/images/search", term=term, expect=200, **query).json


def test_search(engine, index):
    found = search(engine, f"{index.host}/alpha")
    assert [one["name"] for one in found] == [one["name"] for one in Index.found]
    assert found[0]["description"] == "first"
    assert (found[0]["star_count"], found[0]["is_official"], found[1]["is_automated"]) == (50, True, True)
    asked = index.requests("GET", "/v1/search")[-1]
    assert asked.query["q"] == "alpha"


def test_search_limit(engine, index):
    assert len(search(engine, f"{index.host}/x", limit=2)) == 2
    assert index.requests("GET", "/v1/search")[-1].query["n"] == "2"


@pytest.mark.parametrize("filters, wanted", [
    ({"is-official": ["true"]}, ["library/alpha"]), ({"is-automated": ["true"]}, ["someone/alpha"]),
    ({"stars": ["5"]}, ["library/alpha", "someone/alpha"]), ({"stars": ["6"]}, ["library/alpha"]),
    ({"is-official": ["false"], "stars": ["1"]}, ["someone/alpha"]),
])
def test_search_filters(engine, index, filters, wanted):
    assert [one["name"] for one in search(engine, f"{index.host}/alpha", filters=filters)] == wanted


@pytest.mark.parametrize("query", [
    {"filters": {"nonsense": ["x"]}}, {"filters": {"stars": ["many"]}}, {"filters": {"is-official": ["maybe"]}},
    {"limit": "x"}, {"limit": 1000}, {"limit": -1}])
def test_bad_searches(engine, index, query):
    answer = engine.api.get("/images/search", term=f"{index.host}/alpha", **query)
    assert answer.status in (400, 500), answer.text
    assert not index.requests("GET", "/v1/search")


def test_search_without_a_term(engine):
    assert engine.api.get("/images/search").status in (400, 500)


def test_search_where_nobody_is(engine):
    assert engine.api.get("/images/search", term="127.0.0.1:1/alpha").status == 500


@pytest.mark.parametrize("data", [b"junk", b"5", b'{"results": "x"}', b'{"results": [{"name": 5}]}', b"[" * 100_000])
def test_search_of_a_broken_index(engine, index, data):
    index.on("GET", "/v1/search", lambda h: h.reply(200, data, {"Content-Type": "application/json"}))
    answer = engine.api.get("/images/search", term=f"{index.host}/alpha")
    assert answer.status == 500, answer.text


# The docker command.

def test_cli_pull(docker, engine, fake):
    image = images.runnable("by the command")
    name = fake.put(image, "command", "v")
    lines = docker.out("pull", name).splitlines()
    short = [layer.digest.removeprefix("sha256:")[:12] for layer in image.layers]
    assert lines[0] == "v: Pulling from command"
    assert all(any(line.startswith(f"{id}: ") for line in lines) for id in short)
    assert lines[-3:] == [f"Digest: {image.digest}", f"Status: Downloaded newer image for {name}", name]
    assert docker.out("pull", "-q", name) == name
    assert docker.out("run", "--rm", name) == "by the command"


def test_cli_bars(docker, engine, fake):
    """On a terminal: a line for each layer, redrawn in place."""
    image = images.big(300_000, seed=50, layers=2)
    name = fake.put(image, "bars", "v")
    terminal = docker.terminal("pull", name)
    try:
        code, text = terminal.wait(60)
    finally:
        terminal.close()
    assert code == 0
    for layer in image.layers:
        assert f"{layer.digest.removeprefix('sha256:')[:12]}: Pull complete" in re.sub(r"\x1b\[[0-9]*[A-Z]", "", text)
    assert "\x1b[" in text


def test_cli_all_tags(docker, engine, fake):
    for tag in ("a", "b"):
        fake.put(images.small(tag), "tags", tag)
    docker("pull", "--all-tags", f"{fake.host}/tags")
    assert sorted(docker.out("images", "--format", "{{.Tag}}", f"{fake.host}/tags").split()) == ["a", "b"]


def test_cli_missing(docker, fake):
    fake.put(images.small("x"), "there", "v")
    done = docker("pull", f"{fake.host}/there:missing", check=False)
    assert done.returncode == 1
    assert f"manifest for {fake.host}/there:missing not found: manifest unknown" in done.stderr


def test_cli_run_pulls(docker, engine, fake):
    name = fake.put(images.runnable("pulled by run"), "run", "v")
    done = docker("run", "--rm", name)
    assert done.stdout == "pulled by run"
    assert f"Unable to find image '{name}' locally" in done.stderr
    assert f"Status: Downloaded newer image for {name}" in done.stderr


def test_cli_push(docker, engine, registry):
    name = f"{registry.host}/by-command:v"
    docker("tag", IMAGE, name)
    out = docker.out("push", name)
    _, digest = registry.raw("by-command:v")
    assert f"The push refers to repository [{registry.host}/by-command]" in out
    assert re.search(rf"^v: digest: {digest} size: \d+$", out, re.M), out
    docker("rmi", name)
    assert digest in docker.out("pull", name)
    assert docker.out("images", "--digests", "--format", "{{.Digest}}", f"{registry.host}/by-command") == digest


@pytest.mark.parametrize("token", [False, True], ids=["password", "identity"])
def test_cli_login(docker, engine, closing, token):
    tokens = closing(TokenServer(engine.sandbox))
    registry = closing(FakeRegistry(engine.sandbox, auth=Bearer(tokens) if token else Basic()))
    name = registry.put(images.small("login"), "login", "v")
    assert docker("pull", name, check=False).returncode == 1
    wrong = docker("login", "-u", USER, "--password-stdin", registry.host, stdin="wrong", check=False)
    assert wrong.returncode == 1
    assert "unauthorized" in wrong.stderr or "401" in wrong.stderr or "incorrect" in wrong.stderr
    assert "Login Succeeded" in docker("login", "-u", USER, "--password-stdin", registry.host, stdin=PASSWORD).stdout
    docker("pull", name)
    docker("push", name)
    docker("logout", registry.host)
    docker("rmi", name)
    assert docker("pull", name, check=False).returncode == 1


def test_cli_search(docker, index):
    out = docker.out("search", f"{index.host}/alpha")
    assert "library/alpha" in out and "someone/beta" in out


def test_cli_interrupted(docker, engine, fake):
    """Ctrl-C at the command: it ends, and so does what was done for it."""
    image = images.big(1_000_000, seed=60)
    name = fake.put(image, "interrupted", "v")
    reached, ended = threading.Event(), threading.Event()

    def drip(handler):
        blob = image.layers[0].blob
        handler.head(200, len(blob))
        handler.send(blob[:100_000])
        reached.set()
        try:
            for at in range(100_000, len(blob), 100):
                handler.wfile.write(blob[at:at + 100])
                if ended.wait(0.02):
                    return
        except OSError:
            ended.set()
            raise

    fake.on("GET", image.layers[0].digest, drip)
    process = docker.popen("pull", name)
    try:
        assert reached.wait(40)
        process.send_signal(signal.SIGINT)
        process.wait(40)
        assert ended.wait(40)
    finally:
        ended.set()
        process.kill()
        process.communicate()


# Real images.

POSTGRES = "cd /tmp && b=$(ls -d /usr/lib/postgresql/*/bin) && $b/initdb -D /tmp/d >/dev/null && " \
    "echo 'select 6*7' | $b/postgres --single -D /tmp/d postgres | grep -o '\"42\"'"


# Whoever is first makes the image from packages.
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind, command, user, wanted", [
    ("nginx", ["nginx", "-t", "-q"], "", ""),
    ("python", ["python3", "-c", "print(6 * 7)"], "", "42"),
    ("postgres", ["sh", "-c", POSTGRES], "postgres", '"42"'),
], ids=["nginx", "python", "postgres"])
def test_a_real_image(engine, registry, kind, command, user, wanted):
    """A Debian in three layers, pushed by skopeo, pulled, run, pushed, and the same digest again."""
    source = f"{registry.host}/{kind}:layers"
    registry.skopeo("copy", "--dest-tls-verify=false", f"oci:{images.real_layout(kind)}:v", f"docker://{source}")
    raw, digest = registry.raw(f"{kind}:layers")
    pull(engine.api, source)
    assert engine.api.get(f"/images/{source}/json").json["RepoDigests"] == [f"{registry.host}/{kind}@{digest}"]
    assert engine.output(command, image=source, User=user).strip() == wanted
    assert engine.output(["cat", "/etc/top"], image=source) == "top\n"
    if engine.is_reference:
        return  # 20.10 compresses anew, for minutes.
    engine.api.post(f"/images/{source}/tag", repo=f"{registry.host}/again-{kind}", tag="v", expect=201)
    push(engine.api, f"{registry.host}/again-{kind}", "v")
    assert registry.raw(f"again-{kind}:v") == (raw, digest)


@pytest.mark.differs(reference="20.10 knows no zstd")
def test_a_real_image_in_zstd(engine, registry):
    source = f"{registry.host}/debian:zstd"
    layout = images.real_layout("python", "zstd")
    registry.skopeo("copy", "--dest-tls-verify=false", "--format", "oci", f"oci:{layout}:v", f"docker://{source}")
    assert b"tar+zstd" in registry.raw("debian:zstd")[0]
    pull(engine.api, source)
    assert engine.output(["python3", "-c", "print(6 * 7)"], image=source) == "42\n"


def test_what_one_pushes_the_other_runs(engine, registry, closing):
    """Pushed here; pulled, run and pushed by a reference engine; and back."""
    name = f"{registry.host}/exchange"
    engine.api.post(f"/images/{IMAGE}/tag", repo=name, tag="ours", expect=201)
    push(engine.api, name, "ours")
    _, digest = registry.raw("exchange:ours")
    other = closing(Engine("reference"))
    there = closing(DebianRegistry(other, storage=registry.storage))
    theirs = f"{there.host}/exchange"
    pull(other.api, theirs, "ours")
    assert other.output("cat /data/seed", image=f"{theirs}:ours") == "from the image\n"
    assert other.api.get(f"/images/{theirs}:ours/json").json["RepoDigests"] == [f"{theirs}@{digest}"]
    other.api.post(f"/images/{theirs}:ours/tag", repo=theirs, tag="theirs", expect=201)
    push(other.api, theirs, "theirs")
    pull(engine.api, name, "theirs")
    assert engine.output("cat /data/seed", image=f"{name}:theirs") == "from the image\n"
