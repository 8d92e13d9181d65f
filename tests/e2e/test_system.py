"""/_ping, /version, /info and the versions in paths."""

import pytest

from harness.engine import VERSIONS


def test_ping(api):
    answer = api.get("/_ping", expect=200)
    assert answer.body == b"OK"
    assert answer.headers["content-type"].startswith("text/plain")
    for name in ("api-version", "docker-experimental", "ostype", "server", "cache-control", "pragma"):
        assert name in answer.headers, name
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"


def test_ping_head(api):
    answer = api.head("/_ping", expect=200)
    assert "api-version" in answer.headers
    assert answer.body == b""


def test_ping_without_version(engine):
    assert engine.api.at(None).get("/_ping", expect=200).headers["api-version"] == VERSIONS[engine.kind][-1]


def test_version(engine):
    found = engine.api.get("/version", expect=200).json
    assert found["ApiVersion"] == VERSIONS[engine.kind][-1]
    assert found["MinAPIVersion"] == ("1.12" if engine.is_reference else "1.24")
    assert found["Os"] == "linux"
    assert found["Arch"] == "amd64"
    assert found["KernelVersion"]
    assert {c["Name"] for c in found["Components"]} >= {"Engine"}


def test_every_version_answers(engine, version):
    api = engine.api.at(version)
    api.get("/_ping", expect=200)
    api.get("/version", expect=200)
    assert isinstance(api.get("/containers/json", expect=200).json, list)
    assert isinstance(api.get("/images/json", expect=200).json, list)
    api.get("/info", expect=200)


def test_version_too_new(engine):
    newest = engine.versions[-1]
    message = engine.api.at("1.99").get("/info", expect=400).message
    assert message == f"client version 1.99 is too new. Maximum supported API version is {newest}"


def test_version_too_old(engine):
    lowest = "1.12" if engine.is_reference else "1.24"
    # Versions before 1.24 knew errors as plain text only; either form is understood.
    text = engine.api.at("1.11").get("/info", expect=400).text
    assert (f"client version 1.11 is too old. Minimum supported API version is {lowest}, "
                       "please upgrade your client to a newer version") in text


@pytest.mark.parametrize("path", ["/v1.35/nothing", "/nothing", "/v1.35/containers/a/b/c/d", "/"])
def test_unknown_path(api, path):
    answer = api.request("GET", "", raw_target=path, expect=404)
    assert answer.json == {"message": "page not found"}


def test_wrong_method_is_not_found(api):
    answer = api.request("PUT", "/containers/json")
    assert answer.status in (404, 405)
    assert answer.json == {"message": "page not found"}


def test_info(engine):
    before = engine.api.get("/info", expect=200).json
    running = engine.start_container()
    engine.create()
    found = engine.api.get("/info", expect=200).json
    assert found["Containers"] == before["Containers"] + 2
    assert found["ContainersRunning"] == before["ContainersRunning"] + 1
    assert found["ContainersStopped"] == before["ContainersStopped"] + 1
    assert found["Images"] >= 1
    assert found["DockerRootDir"] == str(engine.data_root)
    assert found["OSType"] == "linux"
    assert found["Architecture"] == "x86_64"
    assert found["NCPU"] > 0 and found["MemTotal"] > 0
    assert found["Driver"] == ("overlay2" if engine.is_reference else found["Driver"])
    assert found["LoggingDriver"] == "json-file"
    assert found["Name"] == "sandbox"
    assert {"name=seccomp,profile=default", "name=seccomp,profile=builtin"} & set(found["SecurityOptions"])
    assert "json-file" in found["Plugins"]["Log"]
    assert {"bridge", "host", "null"} <= set(found["Plugins"]["Network"])
    assert "local" in found["Plugins"]["Volume"]
    assert found["Swarm"]["LocalNodeState"] == "inactive"
    running.kill()


def test_server_header(engine):
    assert engine.api.get("/version").headers["server"].endswith("(linux)")


def test_request_body_is_bounded_by_its_type(api):
    """Docker asks for JSON where a body is JSON."""
    answer = api.request("POST", "/containers/create", body=b'{"Image":"busybox:e2e"}',
                         headers={"Content-Type": "text/plain"})
    assert answer.status in (400, 415)
    assert "application/json" in answer.message


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"{}garbage"])
def test_malformed_json(engine, body):
    answer = engine.api.request("POST", "/containers/create", body=body, headers={"Content-Type": "application/json"})
    # 20.10 blames itself for some of these.
    assert answer.status in ((400, 500) if engine.is_reference else (400,))
    assert answer.message
