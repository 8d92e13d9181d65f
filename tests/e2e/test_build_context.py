"""What belongs to a context, and whose credentials fetch what a build begins with."""

import base64
import json
import tarfile

import pytest

from harness import images
from harness.build import build, config, context, document, walk
from harness.registry import PASSWORD, USER, FakeRegistry
from harness.tokens import Basic

BASE = "FROM busybox:e2e\n"

TREE = ["a.txt", "b.md", "README.md", "README-secret.md", "#odd", "!bang", "dir/a.txt", "dir/keep.txt", "dir/sub/a.txt", "dir/sub/deep/x",
        "other/dir/a.txt", "temp1", "tempx/y", "build/out.o", "build/lib/out.o", "lib/build/z", ".hidden/f", "sp ace/f"]

RULES = {
    "nothing": "",
    "comments": "# a.txt\n  # b.md\n#\n\n \n",
    "a mark of the encoding": "\ufeffa.txt\n",
    "lines of another system": "a.txt\r\ndir\r\n",
    "slashes": "/a.txt\ndir/\n./other//dir/\n",
    "names at the top alone": "a.txt\nsub\n",
    "one level": "*/a.txt\n*/*/deep\n",
    "one character": "temp?\n?.md\n",
    "classes": "temp[0-9]\n[^a-z!#.R]*\n",
    "any depth": "**/a.txt\n**/*.o\n",
    "any depth in between": "dir/**/x\n**/build/**\n",
    "everything below": "dir/**\n",
    "but": "*.md\n!README*.md\nREADME-secret.md\n",
    "but of directories": "dir\n!dir/keep.txt\n!dir/sub\n",
    "but of everything": "*\n!dir/sub/deep\n!*.txt\n",
    "but, and the other way": "!a.txt\n*.txt\n",
    "but with spaces": "dir\n! dir/sub  \n",
    "out and back": "../a.txt\ndir/../b.md\n../../dir\n..\n.\n/\n",
    "escapes": "\\#odd\n\\!bang\ndir/\\a.txt\n",
    "spaces": "sp ace\n",
    "hidden": ".*\n**/.hidden\n!.dockerignore\n",
    "itself": "Dockerfile\n.dockerignore\n",
}


def copied(engine, built):
    return {name[2:] for name, entry in walk(engine, built.id).items() if name.startswith("x/") and entry[0] == b"0"}


@pytest.mark.parametrize("name", RULES)
def test_ignored_as_by_the_docker_command(engine, docker, tmp_path, name):
    """The docker command leaves out what Docker's rules say; an engine that gets everything must leave out the same."""
    docker.environment["DOCKER_BUILDKIT"] = "0"
    files = {"Dockerfile": BASE + "COPY . /x\n", ".dockerignore": RULES[name], **{path: path for path in TREE}}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text.encode())
    done = docker("build", "-t", "ignored:1", str(tmp_path), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = copied(engine, type("Built", (), {"id": "ignored:1"}))
    if name == "itself":
        assert wanted == set(TREE)
    if not engine.is_reference:
        assert copied(engine, build(engine, files, nocache=True)) == wanted


def test_rules_that_cannot_be_read(engine, docker, tmp_path):
    docker.environment["DOCKER_BUILDKIT"] = "0"
    (tmp_path / "Dockerfile").write_text(BASE)
    for rules in ("!\n", "a\n[\n"):
        (tmp_path / ".dockerignore").write_text(rules)
        assert docker("build", str(tmp_path), check=False).returncode != 0
        if not engine.is_reference:
            assert "dockerignore" in build(engine, {".dockerignore": rules}, BASE, check=False).error


@pytest.mark.differs(reference="the file beside a Dockerfile is BuildKit's")
def test_rules_beside_a_dockerfile(engine):
    text = BASE + "COPY . /x\n"
    files = {"sub/My.Dockerfile": text, "sub/My.Dockerfile.dockerignore": "a\n**/*.dockerignore\nsub\n", ".dockerignore": "b\n",
             "Dockerfile": text, "a": "", "b": ""}
    assert copied(engine, build(engine, files, path="sub/My.Dockerfile")) == {"Dockerfile", "b"}
    assert copied(engine, build(engine, files)) == {".dockerignore", "Dockerfile", "a", "sub/My.Dockerfile", "sub/My.Dockerfile.dockerignore"}


def test_names_of_a_lone_dockerfile(engine):
    assert config(engine, build(engine, {"dockerfile": BASE + "LABEL small=yes\n"}).id)["Labels"] == {"small": "yes"}


def credentials(**registries):
    """X-Registry-Config as the docker command sends it."""
    return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(registries).encode()).decode()}


def test_private_bases(engine, closing):
    registry = closing(FakeRegistry(engine.sandbox, auth=Basic()))
    name = registry.put(images.runnable("private"), "team/private", "v")
    mine = {"username": USER, "password": PASSWORD, "serveraddress": registry.host}
    text = f"FROM {name} AS one\nFROM busybox:e2e\nCOPY --from={name} /marker /marker\nCOPY --from=one /marker /again\n"
    for headers in ({}, credentials(**{registry.host: {**mine, "password": "wrong"}}), credentials(**{"elsewhere:1": mine})):
        failed = build(engine, {}, text, headers=headers, check=False)
        assert failed.error and failed.status in (200, 401, 404, 500), failed.error
        engine.api.get(f"/images/{name}/json", expect=404)
    auth = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    # The form of the client's own file, which 20.10 does not read here.
    for given in (mine,) if engine.is_reference else (mine, auth):
        built = build(engine, {}, text, headers=credentials(**{registry.host: given, "https://index.docker.io/v1/": {"username": "x"}}))
        found = walk(engine, built.id)
        assert found["marker"][4] == found["again"][4] != b""
        assert PASSWORD not in json.dumps(document(engine, built.id)) and PASSWORD not in built.text
        engine.api.delete(f"/images/{built.id}", force=True)
        engine.api.delete(f"/images/{name}", force=True)


def test_newer_bases(engine, closing):
    registry = closing(FakeRegistry(engine.sandbox))
    name = registry.put(images.runnable("first"), "moving", "v")
    text = f"FROM {name}\nLABEL a=b\n"
    first = build(engine, {}, text)
    registry.put(images.runnable("second"), "moving", "v")
    assert build(engine, {}, text).id == first.id
    newer = build(engine, {}, text, pull=True)
    assert newer.id != first.id and walk(engine, newer.id)["marker"][4] == b"second"
    asked = len(registry.requests(pattern="/manifests/"))
    assert build(engine, {}, text, pull=True).id == newer.id and len(registry.requests(pattern="/manifests/")) > asked


def test_hard_links_that_lead_nowhere(engine):
    for link in ("nope", "../../etc/passwd", "/etc/passwd"):
        body = context({"Dockerfile": BASE + "COPY . /x\n", "l": {"kind": tarfile.LNKTYPE, "link": link}})
        assert build(engine, body, check=False).error, link
