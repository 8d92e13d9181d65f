"""Fields that no other test has a reason to send: what becomes of them, in create, update and commit."""

import time

import pytest

from harness.engine import IMAGE


def at(value, path):
    for part in path.split("."):
        value = value[part]
    return value


KEPT = {
    "OnBuild": ({"OnBuild": ["RUN true"]}, "Config.OnBuild", ["RUN true"]),
    "Shell": ({"Shell": ["/bin/ash", "-c"]}, "Config.Shell", ["/bin/ash", "-c"]),
    "ArgsEscaped": ({"ArgsEscaped": True}, "Config.ArgsEscaped", True),
    "NetworkDisabled": ({"NetworkDisabled": True}, "Config.NetworkDisabled", True),
    "AttachStderr": ({"AttachStderr": True, "AttachStdin": True, "AttachStdout": True}, "Config.AttachStderr", True),
    "Cgroup": ({"HostConfig": {"Cgroup": "container:x"}}, "HostConfig.Cgroup", "container:x"),
    "ContainerIDFile": ({"HostConfig": {"ContainerIDFile": "/tmp/id"}}, "HostConfig.ContainerIDFile", "/tmp/id"),
    "VolumeDriver": ({"HostConfig": {"VolumeDriver": "local"}}, "HostConfig.VolumeDriver", "local"),
    "Isolation": ({"HostConfig": {"Isolation": "default"}}, "HostConfig.Isolation", "default"),
    "UsernsMode": ({"HostConfig": {"UsernsMode": "host"}}, "HostConfig.UsernsMode", "host"),
    "CpuCount": ({"HostConfig": {"CpuCount": 2}}, "HostConfig.CpuCount", 2),
    "CpuPercent": ({"HostConfig": {"CpuPercent": 50}}, "HostConfig.CpuPercent", 0),
    "Consistency": ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "Consistency": "cached"}]}},
                    "HostConfig.Mounts", [{"Type": "bind", "Source": "/tmp", "Target": "/m", "Consistency": "cached"}]),
    "Propagation": ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "rslave"}}]}},
                    "HostConfig.Mounts", [{"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "rslave"}}]),
    "DriverConfig": ({"HostConfig": {"Mounts": [{"Type": "volume", "Source": "made", "Target": "/m", "VolumeOptions": {
        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}}}]}},
        "HostConfig.Mounts", [{"Type": "volume", "Source": "made", "Target": "/m", "VolumeOptions": {
            "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}}}]),
    "BlkioDeviceReadIOps": ({"HostConfig": {"BlkioDeviceReadIOps": [{"Path": "/dev/loop0", "Rate": 9}]}}, "HostConfig.BlkioDeviceReadIOps",
                            [{"Path": "/dev/loop0", "Rate": 9}]),
    "BlkioDeviceWriteBps": ({"HostConfig": {"BlkioDeviceWriteBps": [{"Path": "/dev/loop0", "Rate": 9}]}}, "HostConfig.BlkioDeviceWriteBps",
                            [{"Path": "/dev/loop0", "Rate": 9}]),
    "Healthcheck": ({"Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": 10**9, "Retries": 2, "StartPeriod": 10**9}},
                    "Config.Healthcheck", {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": 10**9, "Retries": 2, "StartPeriod": 10**9}),
}


@pytest.mark.parametrize("field", KEPT)
def test_kept(engine, field):
    """What only others than a Linux engine use is kept and shown all the same."""
    body, path, expected = KEPT[field]
    id = engine.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], **body}, expect=201).json["Id"]
    assert at(engine.api.get(f"/containers/{id}/json", expect=200).json, path) == expected


def test_a_container_without_a_network(engine):
    container = engine.start_container(["ls", "/sys/class/net"], network="bridge", NetworkDisabled=True)
    assert container.wait() == 0 and container.logs()[0].split() == ["lo"]


@pytest.mark.parametrize("field", ["IOMaximumIOps", "IOMaximumBandwidth"])
def test_for_windows_alone(engine, field):
    body = {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {field: 9}}
    # 20.10 blames itself at creation.
    assert "linux does not support" in engine.api.post("/containers/create", body, expect=(400, 500)).message
    container = engine.start_container()
    assert "linux does not support" in engine.api.post(f"{container.path}/update", {field: 9}, expect=400).message


@pytest.fixture
def shared_mount(engine):
    """A mount of the engine's host that tells others what happens below it."""
    path = engine.dir / engine.name("shared")
    path.mkdir()
    engine.sandbox.run(["mount", "--bind", path, path])
    engine.sandbox.run(["mount", "--make-shared", path])
    yield str(path)
    engine.sandbox.run(["umount", "--lazy", path])
    path.rmdir()


@pytest.mark.parametrize("propagation, field", [("rslave", "master"), ("rshared", "shared"), ("private", None), ("", None)])
def test_propagation(engine, shared_mount, propagation, field):
    """As the kernel shows it."""
    lines = engine.output("cat /proc/self/mountinfo", host={"Mounts": [
        {"Type": "bind", "Source": shared_mount, "Target": "/m", "BindOptions": {"Propagation": propagation}}]}).splitlines()
    fields = next(line.split(" - ")[0].split()[6:] for line in lines if line.split()[4] == "/m")
    assert [one.split(":")[0] for one in fields] == ([field] if field else [])


def test_propagation_of_a_mount_that_is_private(engine):
    container = engine.create(host={"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"Propagation": "rslave"}}]})
    assert "is not a shared or slave mount" in container.start(expect=(400, 500)).message


def test_a_volume_made_by_a_mount(engine):
    """With the options that the mount brings."""
    out = engine.output("df -k /m | tail -1", host={"Mounts": [{"Type": "volume", "Source": "small", "Target": "/m", "VolumeOptions": {
        "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}}}]})
    assert out.split()[1] == "1024"
    found = engine.api.get("/volumes/small", expect=200).json
    assert found["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"} and found["Labels"] == {"a": "b"}


def test_platform_of_a_container(engine):
    api = engine.api
    body = {"Image": IMAGE, "Cmd": ["true"]}
    assert api.post("/containers/create", body, platform="linux/amd64", expect=201).json["Warnings"] == []
    assert "does not match the specified platform" in api.post("/containers/create", body, platform="linux/arm64", expect=404).message
    api.post("/containers/create", body, platform="nonsense/nothing/at/all", expect=400)


def test_devices_of_a_driver_that_is_not_there(engine):
    """GPUs: that nobody serves the request is said at the start, or before there is anything to start."""
    request = {"Driver": "nvidia", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu", "utility"]], "Options": {"a": "b"}}
    answer = engine.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"DeviceRequests": [request]}})
    if engine.is_reference:
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start", expect=500)
    assert answer.message == 'could not select device driver "nvidia" with capabilities: [[gpu utility]]'


def test_kernel_memory(engine):
    """Of old; kept or left out with a warning, by what the kernel has."""
    made = engine.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"KernelMemory": 32 << 20, "KernelMemoryTCP": 16 << 20}}, expect=201)
    found = engine.api.get(f"/containers/{made.json['Id']}/json").json["HostConfig"]
    assert found.get("KernelMemory") == 32 << 20 or any("ernel memory" in text for text in made.json["Warnings"]) or engine.kind == "gantry"


@pytest.mark.parametrize("endpoint", [
    {"NetworkID": "x", "EndpointID": "y", "Gateway": "1.2.3.4", "IPAddress": "1.2.3.5", "IPPrefixLen": 8, "IPv6Gateway": "fe80::1",
     "GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64},
])
def test_answers_that_come_back_as_requests(engine, endpoint):
    """Clients send what inspect showed them of another container; none of it is a wish."""
    id = engine.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["sleep", "1000"],
                                                "NetworkingConfig": {"EndpointsConfig": {"bridge": endpoint}}}, expect=201).json["Id"]
    engine.api.post(f"/containers/{id}/start", expect=204)
    found = engine.api.get(f"/containers/{id}/json").json["NetworkSettings"]["Networks"]["bridge"]
    assert found["IPAddress"].startswith("172.") and found["Gateway"].startswith("172.") and found["NetworkID"] != "x"


def test_update_takes_what_it_can_change(engine):
    """Fields that an update cannot change are accepted and have no effect, as ever."""
    container = engine.start_container(host={"Memory": 64 << 20})
    before = container.inspect()["HostConfig"]
    engine.api.post(f"{container.path}/update", {
        "CgroupParent": "/elsewhere", "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
        "DeviceCgroupRules": ["c 1:* rmw"], "Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 6}], "DiskQuota": 7, "CpuCount": 1, "CpuPercent": 9,
        "Init": True, "BlkioDeviceReadBps": [{"Path": "/dev/loop0", "Rate": 9}],
        "BlkioDeviceWriteBps": [{"Path": "/dev/loop0", "Rate": 9}], "BlkioDeviceReadIOps": [{"Path": "/dev/loop0", "Rate": 9}],
        "BlkioDeviceWriteIOps": [{"Path": "/dev/loop0", "Rate": 9}], "MemorySwappiness": 7, "OomKillDisable": True,
        "DeviceRequests": [{"Driver": "x", "Count": 1, "DeviceIDs": ["a"], "Capabilities": [["gpu"]], "Options": {"a": "b"}}],
    }, expect=200)
    after = container.inspect()["HostConfig"]
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {}


def test_update_of_the_weight_of_io(engine):
    """Where the kernel has no weights the value is left out, with a warning."""
    container = engine.start_container()
    warnings = engine.api.post(f"{container.path}/update", {"BlkioWeight": 300}, expect=200).json["Warnings"]
    assert warnings or container.inspect()["HostConfig"]["BlkioWeight"] == 300


COMMITTED = {
    "Hostname": "h", "Domainname": "d.test", "User": "alice", "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": True,
    "OpenStdin": True, "StdinOnce": True, "Env": ["NEW=1"], "Cmd": ["committed"], "ArgsEscaped": True, "Image": "named",
    "Volumes": {"/v": {}}, "WorkingDir": "/data", "Entrypoint": ["/bin/echo"], "OnBuild": ["RUN true"], "Labels": {"a": "b"},
    "StopSignal": "INT", "StopTimeout": 7, "Shell": ["/bin/ash", "-c"], "ExposedPorts": {"81/tcp": {}}, "NetworkDisabled": True,
    "MacAddress": "92:d0:c6:0a:29:33",
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 10**9, "Timeout": 2 * 10**9, "Retries": 3, "StartPeriod": 4 * 10**9},
}


def test_commit_with_a_configuration(engine):
    """The body goes before the container's own configuration."""
    container = engine.create(Env=["OLD=1"], Labels={"own": "1"})
    engine.api.post("/commit", COMMITTED, container=container.id, repo="fields", expect=201)
    found = engine.api.get("/images/fields/json", expect=200).json["Config"]
    for key in ("User", "Cmd", "WorkingDir", "Entrypoint", "Healthcheck", "StopSignal", "Shell", "OnBuild"):
        assert found.get(key) == COMMITTED[key], key
    assert "NEW=1" in found["Env"] and "OLD=1" in found["Env"]
    assert found["Labels"] == {"a": "b", "own": "1"} and "/v" in found["Volumes"] and "81/tcp" in found["ExposedPorts"]
    engine.api.delete("/images/fields")


def test_removal_of_a_link(engine):
    target = engine.start_container(network="bridge", name="link-target")
    engine.create(network="bridge", name="link-source", host={"Links": ["link-target:t"]})
    engine.api.delete("/containers/link-source/t", link=True, expect=204)
    assert engine.api.get("/containers/link-source/json").json["HostConfig"]["Links"] is None
    target.kill()


def test_digests_of_the_list(engine):
    assert engine.api.get("/images/json", digests=True, expect=200).json[0]["RepoDigests"] in (None, [], ["<none>@<none>"])


def test_filters_of_events_about_what_is_elsewhere(engine):
    """Of Swarm and plugins there is nothing to tell; of the daemon and volumes what happened to them."""
    engine.api.post("/volumes/create", {"Name": "told"}, expect=201)
    for key in ("config", "node", "plugin", "secret", "service"):
        assert engine.api.get("/events", since="1", until="2", filters={key: ["x"]}, expect=200).objects == []
    found = engine.api.get("/events", since="1", until=f"{time.time():.9f}", filters={"volume": ["told"]}, expect=200).objects
    assert [one["Action"] for one in found] == ["create"] and found[0]["Actor"]["ID"] == "told"
    name = engine.api.get("/info").json["Name"]
    assert engine.api.get("/events", since="1", until="2", filters={"daemon": [name]}, expect=200).objects == []


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_the_signal_that_stops(engine, verb):
    """Since 1.42; before, and in engines of that time, it is a parameter that nobody knows."""
    newest = engine.api.at(engine.versions[-1])
    container = engine.start_container("trap 'echo hup; exit 4' HUP; trap 'echo term; exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    container.wait_log("ready")
    newest.post(f"{container.path}/{verb}", t=60, signal="HUP", expect=204)
    assert ("hup" in container.logs()[0]) == (not engine.is_reference)


def test_update_of_what_this_kernel_has_not(engine):
    """Weights, real time, the kernel's memory: refused, or left out with a warning; or done, where there are such things."""
    container = engine.start_container()
    for body in ({"CpuRealtimePeriod": 1000000}, {"CpuRealtimeRuntime": 950000}, {"KernelMemory": 32 << 20}):
        answer = engine.api.post(f"{container.path}/update", body)
        assert answer.status == 200 or answer.message
    engine.api.post(f"{container.path}/update", {"BlkioWeightDevice": [{"Path": "/dev/loop0", "Weight": 300}], "KernelMemoryTCP": 16 << 20}, expect=200)


def test_answers_that_come_back_to_connect(engine):
    """As for create: what an endpoint was elsewhere is no wish."""
    network = engine.api.post("/networks/create", {"Name": engine.name("net")}, expect=201).json["Id"]
    container = engine.start_container(network="bridge")
    engine.api.post(f"/networks/{network}/connect", {"Container": container.id, "EndpointConfig": {
        "NetworkID": network, "EndpointID": "y", "Gateway": "1.2.3.4", "IPAddress": "1.2.3.5", "IPPrefixLen": 8, "IPv6Gateway": "fe80::1",
        "GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64, "DriverOpts": {"a": "b"}}}, expect=200)
    found = [one for one in container.inspect()["NetworkSettings"]["Networks"].values() if one["NetworkID"] == network]
    assert len(found) == 1 and found[0]["IPAddress"] != "1.2.3.5" and found[0]["EndpointID"] != "y"
    container.remove(force=True)
    engine.api.delete(f"/networks/{network}", expect=204)


def test_fields_of_one_version(engine):
    """`DiskQuota` was in 1.35 alone; the interval of the start came with 1.44."""
    old = engine.api.at("1.35")
    id = old.post("/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"DiskQuota": 5}}, expect=201).json["Id"]
    newest = engine.api.at(engine.versions[-1])
    newest.post("/commit", {"Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 10**9}}, container=id, repo="start", expect=201)
    health = newest.get("/images/start/json", expect=200).json["Config"]["Healthcheck"]
    assert health.get("StartInterval") == (None if engine.is_reference else 10**9)
    engine.api.delete("/images/start")
