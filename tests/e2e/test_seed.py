"""The seed's calls, as written there, with curl."""

import json
import re
import subprocess

import pytest

from harness import rootfs

TIMEOUT = 120


class Curl:
    """curl as the seed calls it: no escaping, `http://v1.35/...` URLs."""

    def __init__(self, engine):
        self.engine = engine

    def __call__(self, *args):
        line = ["curl", "-sS", "--unix-socket", str(self.engine.proxy_socket), *args, "-w", "\n%{http_code}"]
        done = subprocess.run(line, capture_output=True, timeout=TIMEOUT, cwd=self.engine.dir)
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition(b"\n")
        return int(status), body

    def json(self, *args, status=200):
        got, body = self(*args)
        assert got == status, body
        return json.loads(body)


@pytest.fixture
def curl(engine):
    (engine.dir / "hello.tar").write_bytes(rootfs.busybox())
    return Curl(engine)


def create(curl, name="curl", image="busybox:e2e", cmd=("sleep", "1000")):
    body = json.dumps({"Image": image, "Cmd": list(cmd)})
    return curl.json("-H", "Content-Type: application/json", "--data", body, "-X", "POST",
                     f"http://v1.35/containers/create?name={name}", status=201)["Id"]


def test_list_images(curl):
    images = curl.json("-X", "GET", "http://v1.35/images/json")
    assert any("busybox:e2e" in image["RepoTags"] for image in images)


def test_create_an_image(curl, engine):
    status, body = curl("-v", "-H", "Content-Type: application/tar", "-X", "POST", "--data-binary", "@hello.tar",
                        "http://v1.35/images/create?fromSrc=-&tag=hello:latest")
    assert status == 200
    last = json.loads(body.splitlines()[-1])
    id = re.fullmatch(r"sha256:[0-9a-f]{64}", last["status"])[0]
    found = engine.api.get(f"/images/{id}/json", expect=200).json
    # Docker forgets the name that the caller meant (docs/differences.md).
    assert found["RepoTags"] == ([] if engine.is_reference else ["hello:latest"])


def test_tag_an_image(curl, engine):
    id = engine.api.get("/images/busybox:e2e/json").json["Id"]
    short = id.removeprefix("sha256:")[:4]
    status, _ = curl("-X", "POST", f"http://v1.35/images/{short}/tag?tag=zqq01&repo=test")
    assert status == 201
    assert engine.api.get("/images/test:zqq01/json", expect=200).json["Id"] == id


def test_export_and_import_an_image(curl, engine):
    status, _ = curl("-o", "nginx.tar", "-X", "GET", "http://v1.35/images/busybox:e2e/get")
    assert status == 200
    listing = subprocess.run(["tar", "tf", engine.dir / "nginx.tar"], capture_output=True, text=True, check=True).stdout
    assert "manifest.json" in listing.split()
    id = engine.api.get("/images/busybox:e2e/json").json["Id"]
    engine.api.delete("/images/busybox:e2e", expect=200)
    try:
        status, body = curl("--data-binary", "@nginx.tar", "-H", "Content-Type: application/tar",
                            "-X", "POST", "http://v1.35/images/load")
        assert status == 200
        assert "Loaded image: busybox:e2e" in body.decode()
        assert engine.api.get("/images/busybox:e2e/json").json["Id"] == id
    finally:
        if engine.api.get("/images/busybox:e2e/json").status == 404:
            engine.load_images()


def test_list_containers(curl, engine):
    running = create(curl, "seed-running")
    engine.api.post(f"/containers/{running}/start", expect=204)
    idle = create(curl, "seed-idle")
    assert [c["Id"] for c in curl.json("-X", "GET", "http://v1.35/containers/json")] == [running]
    everything = curl.json("-X", "GET", "http://v1.35/containers/json?all=true")
    assert {c["Id"] for c in everything} == {running, idle}
    # -g because newer versions of curl would take braces and brackets as a pattern; the bytes sent are the seed's.
    filtered = curl.json("-g", "-X", "GET", f'http://v1.35/containers/json?all=true&filters={{"id":["{idle[:3]}"]}}')
    assert idle in [c["Id"] for c in filtered]
    none = curl.json("-g", "-X", "GET", 'http://v1.35/containers/json?all=true&filters={"id":["123"]}')
    # Docker finds the text anywhere in the id.
    assert all("123" in c["Id"] for c in none)


def test_create_inspect_start_rename(curl):
    id = create(curl, "curl")
    short = id[:12]
    assert curl.json("-X", "GET", f"http://v1.35/containers/{short}/json")["Id"] == id
    assert curl.json("-X", "GET", "http://v1.35/containers/curl/json")["Name"] == "/curl"
    status, body = curl("-H", "Content-Type: application/json", "-X", "POST", f"http://v1.35/containers/{short}/start")
    assert (status, body) == (204, b"")
    status, _ = curl("-H", "Content-Type: application/json", "-X", "POST",
                     f"http://v1.35/containers/{short}/rename?name=curl_new")
    assert status == 204
    found = curl.json("-X", "GET", "http://v1.35/containers/curl_new/json")
    assert found["Id"] == id and found["State"]["Running"]


@pytest.mark.parametrize("tty", [True, False])
def test_exec(curl, engine, tty):
    id = create(curl, "seed-exec")
    engine.api.post(f"/containers/{id}/start", expect=204)
    config = {"Cmd": ["date"]} if tty else {"Cmd": ["date"], "AttachStdout": True}
    if tty:
        config = {"Cmd": ["date"], "AttachStdout": True, "Tty": True}
    instance = curl.json("-H", "Content-Type: application/json", "--data", json.dumps(config),
                         "-X", "POST", f"http://v1.35/containers/{id}/exec", status=201)["Id"]
    status, body = curl("-H", "Content-Type: application/json", "--data",
                        json.dumps({"Detach": False, "Tty": tty}), "-X", "POST",
                        f"http://v1.35/exec/{instance}/start")
    assert status == 200
    assert re.search(rb"\d\d:\d\d:\d\d", body), body
    assert engine.api.get(f"/exec/{instance}/json").json["ExitCode"] == 0


def test_exec_verbatim(curl, engine):
    """The seed attaches nothing at create and says Tty at start only; the command runs all the same."""
    id = create(curl, "seed-verbatim")
    engine.api.post(f"/containers/{id}/start", expect=204)
    instance = curl.json("-H", "Content-Type: application/json", "--data", '{"Cmd":["date"]}',
                         "-X", "POST", f"http://v1.35/containers/{id[:3]}/exec", status=201)["Id"]
    status, _ = curl("-H", "Content-Type: application/json", "--data", '{"Detach":false,"Tty":true}',
                     "-X", "POST", f"http://v1.35/exec/{instance}/start")
    assert status == 200
    found = engine.api.get(f"/exec/{instance}/json", expect=200).json
    assert found["ContainerID"] == id
    assert (found["Running"], found["ExitCode"]) == (False, 0)
