"""The same calls to both engines: what they answer must be the same once ids, times and places are left out."""

import json
import re

import pytest

from harness import images
from harness.engine import IMAGE
from harness.rootfs import TarBuilder, busybox

HEX = re.compile(r"\b[0-9a-f]{64}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
SHORT = re.compile(r"\b[0-9a-f]{12}\b")

# Where the answers of the two may differ, and why.
EXPECTED = {
    r"^/GraphDriver/Data": "names the directories of the engine that made them",
    r"^/HostConfig/Runtime$": "runc is theirs",
    r"^/(ResolvConfPath|HostnamePath|HostsPath|LogPath)$": "places in the engine's own directories",
    r"^/NetworkSettings/Sandbox(ID|Key)$": "ours has no pinned namespace to name",
    r"^/NetworkSettings/(Networks/\w+/)?MacAddress$": "20.10 derives it from the address, newer ones and ours draw it",
    r"^/HostConfig/(KernelMemory|KernelMemoryTCP)$": "gone since 23.0; part of old versions' answers only",
    r"^/AppArmorProfile$": "where the host has AppArmor",
    r"^/NetworkSettings/Networks/\w+/(NetworkID|EndpointID)$": "ids",
    r"^/HostConfig/(Dns|DnsOptions|DnsSearch|Capabilities|MaskedPaths|ReadonlyPaths)": "null or empty, by the way a container was made",
    r"^/(while/)?Config/Env$": "null or empty when there is none",
    r"^/listed/\d+/Mounts/\d+/Source$": "20.10 leaves it out for volumes in the list",
    r"IPAddress$": "which address is free",
    r"^/NetworkSettings/Ports/": "20.10 publishes on the host's IPv6 addresses too (docs/differences.md); others are tested by themselves",
    r"^/HostConfig/SecurityOpt$": "20.10 adds label=disable to host modes, which is for SELinux",
    r"^/answer/Warnings$": "health checks come later, and ours says so",
    r"^/DockerVersion$": "their version",
    r"^/Metadata/LastTagTime$": "time",
    r"^/Created$": "time",
}


@pytest.fixture
def both(engine, reference):
    yield engine, reference
    reference.remove_everything()
    reference.recorder.drain()


def normal(value, engine):
    """Without what must differ: ids, times, directories, pids."""
    if isinstance(value, dict):
        return {k: normal(v, engine) for k, v in value.items()}
    if isinstance(value, list):
        return [normal(v, engine) for v in value]
    if isinstance(value, str):
        value = value.replace(str(engine.dir), "DIR")
        return SHORT.sub("SHORT", HEX.sub("ID", TIME.sub("TIME", value)))
    return value


def differences(ours, theirs, pointer=""):
    """Places where two values differ and are not expected to."""
    if any(re.search(pattern, pointer) for pattern in EXPECTED):
        return
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            where = f"{pointer}/{key}"
            if any(re.search(pattern, where) for pattern in EXPECTED):
                continue
            if key not in ours:
                yield f"{where}: absent here, {theirs[key]!r} there"
            elif key not in theirs:
                yield f"{where}: {ours[key]!r} here, absent there"
            else:
                yield from differences(ours[key], theirs[key], where)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs)):
            yield from differences(*pair, f"{pointer}/{index}")
    elif ours != theirs:
        yield f"{pointer}: {ours!r} here, {theirs!r} there"


def compare(both, ask):
    """`ask(engine)` of both, normalised, compared."""
    ours, theirs = (normal(ask(engine), engine) for engine in both)
    found = list(differences(ours, theirs))
    assert not found, "\n".join(found)


CONTAINERS = {
    "plain": {"Cmd": ["sh", "-c", "until test -e /go; do sleep 0.1; done"]},
    "host": {"Cmd": ["true"], "HostConfig": {"NetworkMode": "host"}},
    "none": {"Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}},
    "tty": {"Cmd": ["sh"], "Tty": True, "OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "AttachStdout": True},
    "labels": {"Cmd": ["true"], "Labels": {"a": "b"}, "Env": ["A=1", "B"], "Hostname": "h", "Domainname": "d.e", "User": "alice:wheel"},
    "limits": {"Cmd": ["true"], "HostConfig": {"Memory": 64 << 20, "MemoryReservation": 32 << 20, "CpuShares": 5, "NanoCpus": 10**9, "PidsLimit": 9,
                                              "CpusetCpus": "0", "OomScoreAdj": 5, "ShmSize": 1 << 20}},
    "swap": {"Cmd": ["true"], "HostConfig": {"Memory": 64 << 20, "MemorySwap": -1, "MemorySwappiness": 5, "OomKillDisable": True}},
    "ports": {"Cmd": ["true"], "ExposedPorts": {"80/tcp": {}, "90/udp": {}},
              "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "1234"}, {"HostIp": "127.0.0.1"}]}, "PublishAllPorts": True}},
    "mounts": {"Cmd": ["true"], "HostConfig": {"Binds": ["vol:/a", "vol2:/b:ro"], "Tmpfs": {"/t": "size=1m"},
                                              "Mounts": [{"Type": "volume", "Source": "mm", "Target": "/m"}, {"Type": "tmpfs", "Target": "/n"}]}},
    "security": {"Cmd": ["true"], "HostConfig": {"CapAdd": ["NET_ADMIN"], "CapDrop": ["CHOWN"], "SecurityOpt": ["no-new-privileges"],
                                                "ReadonlyRootfs": True, "GroupAdd": ["wheel"], "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}]}},
    "modes": {"Cmd": ["true"], "HostConfig": {"PidMode": "host", "IpcMode": "host"}},
    "names": {"Cmd": ["true"], "HostConfig": {"Dns": ["1.1.1.1"], "DnsSearch": ["x"], "DnsOptions": ["ndots:1"], "ExtraHosts": ["a:1.2.3.4"]}},
    "policy": {"Cmd": ["true"], "StopSignal": "INT", "StopTimeout": 5, "HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
                                                                                     "Init": True, "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}}},
    "health": {"Cmd": ["true"], "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Retries": 2}},
    "entrypoint": {"Cmd": ["a", "b"], "Entrypoint": ["/bin/echo", "-n"], "WorkingDir": "/x", "Volumes": {"/anon": {}}},
    "auto": {"Cmd": ["true"], "HostConfig": {"AutoRemove": True}},
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_inspect_of_what_was_created(both, case):
    def ask(engine):
        made = engine.api.post("/containers/create", {"Image": IMAGE, **CONTAINERS[case]}, name=f"diff-{case}")
        found = engine.api.get(f"/containers/diff-{case}/json").json
        found["Mounts"].sort(key=lambda m: m["Destination"])
        listed = engine.api.get("/containers/json", all=True).json
        for item in listed:
            item["Mounts"].sort(key=lambda m: m["Destination"])
            item["Created"] = 0
            item["Status"] = ""
        return {"status": made.status, "answer": made.json, **found, "listed": listed}
    compare(both, ask)


@pytest.mark.parametrize("case", ["plain", "labels", "limits", "mounts", "security", "health"])
def test_inspect_of_what_has_run(both, case):
    def ask(engine):
        id = engine.api.post("/containers/create", {"Image": IMAGE, **CONTAINERS[case]}, expect=201, name=f"ran-{case}").json["Id"]
        engine.api.post(f"/containers/{id}/start", expect=204)
        running = {}
        if case == "plain":
            running = engine.api.get(f"/containers/{id}/json").json
            engine.api.request("PUT", f"/containers/{id}/archive", body=images.files(go=""), path="/", expect=200)
        engine.api.post(f"/containers/{id}/wait")
        found = engine.api.get(f"/containers/{id}/json").json
        for one in (found, running):
            one.get("Mounts", []).sort(key=lambda m: m["Destination"])
            one.get("State", {}).update(Pid=0)
            one.get("State", {}).pop("Health", None)
        return {**found, "while": {k: v for k, v in running.items() if k in ("State", "Config")}}
    compare(both, ask)


def test_network_settings_while_running(both):
    def ask(engine):
        id = engine.api.post("/containers/create", {
            "Image": IMAGE, "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}, "81/udp": {}},
            "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "1234"}]}}}, expect=201).json["Id"]
        engine.api.post(f"/containers/{id}/start", expect=204)
        found = engine.api.get(f"/containers/{id}/json").json["NetworkSettings"]
        engine.api.post(f"/containers/{id}/kill")
        return {"NetworkSettings": found}
    compare(both, ask)


def test_image(both):
    def ask(engine):
        engine.api.post("/images/create", body=busybox(), fromSrc="-", repo="diff", message="m", expect=200, changes=[
            'CMD ["a"]', "ENV X=1", "EXPOSE 80", "VOLUME /v", "LABEL a=b", "USER alice", "WORKDIR /w"])
        found = engine.api.get("/images/diff/json").json
        return {k: v for k, v in found.items() if k not in ("Id", "RootFS", "Size", "VirtualSize", "Container", "GraphDriver")}
    compare(both, ask)


DOCUMENTS = {
    "bare": {"config": {}, "history": None, "created": None},
    "oci": {"config": {"Env": ["A=1"], "Cmd": ["x"], "Labels": {"a": "b"}}, "author": "me", "variant": "v2", "os.version": "1"},
    "docker": {"config": {"Hostname": "h", "Env": [], "Cmd": None, "Volumes": {}, "ExposedPorts": {"80/tcp": {}}, "OnBuild": [],
                          "Image": "sha256:p", "Labels": {}, "StopSignal": "INT", "Shell": ["sh"], "AttachStdout": True,
                          "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5}},
               "container": "c" * 64, "container_config": {"Cmd": ["/bin/sh"], "Tty": True}, "docker_version": "19.03.1", "comment": "hello",
               "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "ADD", "author": "a", "comment": "b"},
                           {"created": "2021-01-01T00:00:00.123456789Z", "created_by": "ENV", "empty_layer": True},
                           {"created": "2022-01-01T00:00:00Z", "created_by": "RUN"}]},
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_loaded_image(both, case):
    """The same archive in both: inspect, history, the list and disk usage say the same of it."""
    layers = [images.files(one="1" * 100), images.files(two="2" * 7)]
    image = images.image([images.layer(data, "plain") for data in layers], document=DOCUMENTS[case])
    tar = TarBuilder().add("c.json", image.document)
    tar.add("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["loaded:1", "other:2"], "Layers": ["0.tar", "1.tar"]}]))
    for number, data in enumerate(layers):
        tar.add(f"{number}.tar", data)
    archive = tar.bytes()

    def ask(engine):
        engine.api.post("/images/load", body=archive, expect=200)
        inspect = engine.api.get("/images/loaded:1/json", expect=200).json
        assert inspect["Id"] == image.id and inspect["RootFS"]["Layers"] == [layer.diff_id for layer in image.layers]
        inspect.pop("GraphDriver")
        inspect["RepoTags"].sort()
        listed = next(one for one in engine.api.get("/images/json").json if one["Id"] == image.id)
        used = next(one for one in engine.api.get("/system/df").json["Images"] if one["Id"] == image.id)
        for summary in (listed, used):
            # 20.10 sends null where the specification has an empty list or object.
            summary.update({key: sorted(summary[key] or []) for key in ("Labels", "RepoTags", "RepoDigests")})
            # Of an image that does not say when: Go's year 1 in seconds, since 25 as here.
            summary["Created"] = max(summary["Created"], 0)
        history = engine.api.get("/images/loaded:1/history").json
        for step in history:
            step["Tags"] = sorted(step["Tags"] or [])
        return {"inspect": inspect, "history": history, "listed": listed, "used": used}
    compare(both, ask)


def test_exec_inspect(both):
    def ask(engine):
        box = engine.start_container()
        id = engine.api.post(f"{box.path}/exec", {"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True, "Env": ["A=1"]}).json["Id"]
        before = engine.api.get(f"/exec/{id}/json").json
        engine.api.post(f"/exec/{id}/start", {"Detach": False})
        after = engine.api.get(f"/exec/{id}/json").json
        after["Pid"] = 0
        return {"before": before, "after": after}
    compare(both, ask)


REQUESTS = [
    ("GET", "/containers/none/json", None), ("POST", "/containers/none/start", None), ("DELETE", "/containers/none", None),
    ("GET", "/containers/none/logs?stdout=1", None), ("POST", "/containers/none/exec", {"Cmd": ["x"]}), ("GET", "/exec/none/json", None),
    ("POST", "/containers/create", {"Image": "none", "Cmd": ["x"]}), ("POST", "/containers/create", {"Image": IMAGE}),
    ("POST", "/containers/create?name=-x", {"Image": IMAGE, "Cmd": ["x"]}), ("POST", "/containers/diff/rename?name=", None),
    ("GET", "/containers/diff/logs", None), ("GET", "/containers/diff/top", None), ("POST", "/containers/diff/kill", None),
    ("POST", "/containers/diff/pause", None), ("POST", "/containers/diff/exec", {"Cmd": ["x"]}), ("POST", "/containers/diff/exec", {}),
    ("POST", "/containers/diff/stop", None), ("GET", "/containers/json?filters={\"status\":[\"x\"]}", None),
    ("GET", "/containers/json?filters={\"nonsense\":[\"x\"]}", None), ("GET", "/volumes/none", None), ("DELETE", "/volumes/none", None),
    ("GET", "/networks/none-such", None), ("GET", "/images/none/get", None), ("DELETE", "/images/none", None), ("GET", "/images/none/history", None),
    ("POST", "/images/none/tag?repo=x", None), ("POST", "/containers/diff/restart?t=x", None), ("POST", "/containers/diff/attach/none", None),
    ("GET", "/containers/diff/stats?stream=0", None), ("POST", "/volumes/create", {"Name": "x/y"}), ("GET", "/nonsense", None),
    ("POST", "/containers/diff/start?detachKeys=nonsense", None), ("POST", "/containers/diff/unpause", None),
]
# 20.10 blames itself for what its caller did; newer ones and ours do not.
BLAME = {500: {400, 404, 409}}


# Words that changed in newer versions.
SAME = [{"invalid filter 'status=x'", "Invalid filter 'status=x'"}, {"Unrecognised filter value for status: x", "Invalid filter 'status=x'"}]


@pytest.mark.parametrize("method, path, body", REQUESTS, ids=[f"{m} {p}" for m, p, _ in REQUESTS])
def test_errors(both, method, path, body):
    found = []
    for engine in both:
        engine.create(["sleep", "1000"], name="diff")
        answer = engine.api.request(method, "", raw_target="/v1.41" + path, json_body=body)
        text = answer.json.get("message") if answer.body[:1] == b"{" and answer.status >= 400 else ""
        found.append((answer.status, normal(text, engine)))
    (status, text), (their_status, their_text) = found
    assert status == their_status or status in BLAME.get(their_status, ()), found
    if status >= 400:
        # Newer wording puts less in front; what matters is how it ends.
        assert text == their_text or (text and (their_text or "").lower().endswith(text.lower())) or {text, their_text} in SAME, found
