"""How registries are configured: flags, the file, the environment, SIGHUP, and what /info and the events say of it."""

import json
import os
import signal
import time

import pytest

from harness import images
from harness.engine import wait_until
from harness.pulls import failure, pull
from harness.registry import FakeRegistry


def registry_config(engine):
    return engine.api.get("/info", expect=200).json["RegistryConfig"]


def write(path, **settings):
    path.write_text(json.dumps(settings))


def test_info(own_engine):
    engine = own_engine(
        "--insecure-registry=10.1.0.0/16", "--insecure-registry=reg.example.com:5000",
        "--registry-mirror=https://mirror.example.com", images=False,
        environment={"HTTP_PROXY": "http://user:secret@proxy:1", "https_proxy": "http://proxy:2", "NO_PROXY": "a,b"})
    found = registry_config(engine)
    assert {"10.1.0.0/16", "127.0.0.0/8"} <= set(found["InsecureRegistryCIDRs"])
    assert found["Mirrors"] == ["https://mirror.example.com/"]
    assert found["IndexConfigs"] == {
        "docker.io": {"Name": "docker.io", "Mirrors": ["https://mirror.example.com/"], "Secure": True, "Official": True},
        "reg.example.com:5000": {"Name": "reg.example.com:5000", "Mirrors": [], "Secure": False, "Official": False}}
    info = engine.api.get("/info").json
    assert (info["HttpProxy"], info["HttpsProxy"], info["NoProxy"]) == ("http://xxxxx:xxxxx@proxy:1", "http://proxy:2", "a,b")


@pytest.mark.differs(reference="20.10 has the environment alone")
def test_proxies_of_the_file(own_engine, tmp_path):
    file = tmp_path / "daemon.json"
    write(file, proxies={"http-proxy": "http://u:p@file:1", "https-proxy": "http://file:2", "no-proxy": "c"})
    engine = own_engine(f"--config-file={file}", images=False, environment={"HTTP_PROXY": "http://environment:1"})
    info = engine.api.get("/info").json
    assert (info["HttpProxy"], info["HttpsProxy"], info["NoProxy"]) == ("http://xxxxx:xxxxx@file:1", "http://file:2", "c")


@pytest.mark.parametrize("flag, says", [
    ("--registry-mirror=ftp://x", 'invalid mirror: unsupported scheme "ftp" in "ftp://x"'),
    ("--registry-mirror=https://x/y", 'invalid mirror: path, query, or fragment at end of the URI "https://x/y"'),
    ("--insecure-registry=a b", 'insecure registry a b is not valid: invalid host "a b"'),
    ("--insecure-registry=x:99999", 'insecure registry x:99999 is not valid: invalid port "99999"'),
    ("--max-concurrent-downloads=-1", "invalid max concurrent downloads: -1"),
    ("--max-concurrent-uploads=-1", "invalid max concurrent uploads: -1"),
    ("--max-download-attempts=0", "invalid max download attempts: 0"),
])
def test_mistakes(own_engine, flag, says):
    """The daemon does not start, and says why."""
    with pytest.raises(RuntimeError) as error:
        own_engine(flag, images=False)
    assert says in str(error.value)


def test_reload(own_engine, tmp_path):
    file = tmp_path / "daemon.json"
    write(file, labels=["a=b"])
    engine = own_engine(f"--config-file={file}", images=False)
    engine.api.get("/info", expect=200)
    write(file, labels=["c=d"], debug=True, **{
        "insecure-registries": ["reg:5000"], "registry-mirrors": ["https://m"], "max-concurrent-downloads": 7})
    os.kill(engine.pid, signal.SIGHUP)
    wait_until(lambda: engine.api.get("/info").json["Labels"] == ["c=d"], what="the reload")
    assert not registry_config(engine)["IndexConfigs"]["reg:5000"]["Secure"]
    assert registry_config(engine)["Mirrors"] == ["https://m/"]
    assert engine.api.get("/info").json["Debug"]
    # It is told when it is done.
    told = lambda: engine.api.get("/events", since=1, until=time.time(), filters={"type": ["daemon"]}).objects
    event = wait_until(told, what="the event")[-1]
    attributes = event["Actor"]["Attributes"]
    assert event["Action"] == "reload"
    assert attributes["labels"] == '["c=d"]' and attributes["debug"] == "true"
    assert attributes["insecure-registries"] == '["reg:5000"]'
    assert json.loads(attributes["registry-mirrors"])[0].startswith("https://m")
    assert (attributes["max-concurrent-downloads"], attributes["max-concurrent-uploads"]) == ("7", "5")
    # A file with a mistake changes nothing.
    write(file, labels=["e=f"], **{"max-concurrent-downloads": -1})
    os.kill(engine.pid, signal.SIGHUP)
    wait_until(lambda: "invalid max concurrent downloads: -1" in engine.log_tail(), what="the complaint")
    assert engine.api.get("/info").json["Labels"] == ["c=d"]


def test_a_registry_becomes_insecure(own_engine, tmp_path, closing):
    """SIGHUP is enough for the next pull to speak plain HTTP."""
    file = tmp_path / "daemon.json"
    write(file)
    engine = own_engine(f"--config-file={file}", images=False)
    registry = closing(FakeRegistry(engine.sandbox, "outside"))
    name = registry.put(images.small("reload"), "reload", "v")
    failure(engine.api.post("/images/create", fromImage=name))
    write(file, **{"insecure-registries": [registry.host]})
    os.kill(engine.pid, signal.SIGHUP)
    wait_until(lambda: registry.host in registry_config(engine)["IndexConfigs"], what="the reload")
    pull(engine.api, name)
