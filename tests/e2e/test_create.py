"""POST /containers/create: what is refused with which words, and what inspect says afterwards."""

import re

import pytest

from harness.engine import IMAGE

HEX = re.compile(r"[0-9a-f]{64}")


RUN = {"Image": IMAGE, "Cmd": ["true"]}


def create(engine, body, status=400, **query):
    return engine.api.post("/containers/create", body, expect=status, **query)


def test_answer(engine):
    answer = create(engine, RUN, 201, name="answer")
    assert HEX.fullmatch(answer.json["Id"])
    assert answer.json["Warnings"] == []


@pytest.mark.parametrize("name", ["a", "-x", "_x", ".x", "white space", "slash/inside", "semi;colon"])
def test_bad_names(engine, name):
    message = create(engine, RUN, name=name).message
    assert message == f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"


@pytest.mark.parametrize("name", ["aa", "A9", "x_y.z-0", "a" * 200, "/leading"])
def test_good_names(engine, name):
    id = create(engine, RUN, 201, name=name).json["Id"]
    assert engine.api.get(f"/containers/{id}/json").json["Name"] == "/" + name.lstrip("/")


def test_name_in_use(engine):
    first = create(engine, RUN, 201, name="taken").json["Id"]
    message = create(engine, RUN, 409, name="taken").message
    assert message == (f'Conflict. The container name "/taken" is already in use by container "{first}". '
                       "You have to remove (or rename) that container to be able to reuse that name.")


def test_generated_names(engine):
    names = {engine.create().inspect()["Name"] for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch(r"/[a-z]+_[a-z]+\d?", name) for name in names), names


def test_missing_image(engine):
    assert create(engine, {"Image": "no-such-image"}, 404).message == "No such image: no-such-image:latest"


@pytest.mark.parametrize("body, message", [
    ({"Image": "UPPER"}, "must be lowercase"),
    ({"HostConfig": {"Memory": 1}}, "Minimum memory limit allowed is"),
    ({"HostConfig": {"Memory": 64 << 20, "MemorySwap": 1 << 20}},
     "Minimum memoryswap limit should be larger than memory limit, see usage"),
    ({"HostConfig": {"MemorySwap": 64 << 20}}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
    ({"HostConfig": {"MemorySwappiness": 101}}, "Invalid value: 101, valid memory swappiness range is 0-100"),
    ({"HostConfig": {"Memory": 64 << 20, "MemoryReservation": 128 << 20}},
     "Minimum memory limit can not be less than memory reservation limit, see usage"),
    ({"HostConfig": {"NanoCpus": 10**9, "CpuPeriod": 100000}},
     "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    ({"HostConfig": {"NanoCpus": 10**9, "CpuQuota": 100000}},
     "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    ({"HostConfig": {"NanoCpus": 10**12}}, "Range of CPUs is from 0.01 to"),
    ({"HostConfig": {"CpuPeriod": 1}}, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    ({"HostConfig": {"CpuQuota": 1}}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
    ({"HostConfig": {"CpusetCpus": "x"}}, "Invalid value x for cpuset cpus"),
    ({"HostConfig": {"CpusetCpus": "999"}}, "Requested CPUs are not available - requested 999, available: "),
    ({"HostConfig": {"CpusetMems": "99"}}, "Requested memory nodes are not available - requested 99, available: "),
    ({"HostConfig": {"OomScoreAdj": 2000}}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
    ({"HostConfig": {"ShmSize": -1}}, "SHM size can not be less than 0"),
    ({"HostConfig": {"RestartPolicy": {"Name": "sometimes"}}}, "invalid restart policy 'sometimes'"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}},
     "maximum retry count cannot be used with restart policy 'always'"),
    ({"HostConfig": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}},
     "maximum retry count cannot be negative"),
    ({"HostConfig": {"RestartPolicy": {"Name": "always"}, "AutoRemove": True}},
     "can't create 'AutoRemove' container with restart policy"),
    ({"HostConfig": {"Binds": ["/a:relative"]}}, "invalid volume specification: '/a:relative'"),
    ({"HostConfig": {"Binds": ["/a:/b:nonsense"]}}, "invalid mode: nonsense"),
    ({"HostConfig": {"Binds": ["/a:/"]}}, "invalid volume specification: '/a:/': invalid mount config for type \"bind\": "
                                         "invalid specification: destination can't be '/'"),
    ({"HostConfig": {"Binds": ["/tmp:/x", "/etc:/x"]}}, "Duplicate mount point: /x"),
    ({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/no/such/path", "Target": "/x"}]}},
     'invalid mount config for type "bind": bind source path does not exist: /no/such/path'),
    ({"HostConfig": {"Mounts": [{"Type": "nonsense", "Target": "/x"}]}}, "mount type unknown"),
    ({"HostConfig": {"Mounts": [{"Type": "volume", "Target": ""}]}}, "field Target must not be empty"),
    ({"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/x", "Source": "y"}]}}, "field Source must not be specified"),
    ({"HostConfig": {"CapAdd": ["NONSENSE"]}}, 'CAP_NONSENSE"'),
    ({"HostConfig": {"CapDrop": ["NONSENSE"]}}, 'CAP_NONSENSE"'),
    ({"HostConfig": {"SecurityOpt": ["nonsense"]}}, "nonsense"),
    ({"HostConfig": {"LogConfig": {"Type": "nonsense"}}}, "nonsense"),
    ({"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"nonsense": "1"}}}},
     "unknown log opt 'nonsense' for json-file log driver"),
    ({"HostConfig": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}}}, "invalid size: 'x'"),
    ({"HostConfig": {"ExtraHosts": ["nocolon"]}}, 'bad format for add-host: "nocolon"'),
    ({"HostConfig": {"ExtraHosts": ["x:1.2.3.4.5"]}}, 'invalid IP address in add-host: "1.2.3.4.5"'),
    ({"HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}}, 'invalid port specification: "99999"'),
    ({"HostConfig": {"IpcMode": "nonsense"}}, "IPC mode: nonsense"),
    ({"HostConfig": {"NetworkMode": "host", "UTSMode": "host"}, "Hostname": "x"}, "conflicting options: hostname and the UTS mode"),
    ({"HostConfig": {"NetworkMode": "container:"}}, "invalid container format container:<name|id>"),
    ({"HostConfig": {"Runtime": "nonsense"}}, "nonsense"),
    ({"HostConfig": {"Isolation": "hyperv"}}, "solation"),
    ({"WorkingDir": "relative"}, "the working directory 'relative' is invalid, it needs to be an absolute path"),
    ({"StopSignal": "NONSENSE"}, "Invalid signal: NONSENSE"),
    ({"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}}, "Interval in Healthcheck cannot be less than 1ms"),
    ({"Env": ["=x"]}, "invalid environment variable: =x"),
    ({"MacAddress": "nonsense", "HostConfig": {"NetworkMode": "bridge"}}, "invalid MAC address"),
    ({"HostConfig": {"Ulimits": [{"Name": "NONSENSE", "Soft": 1, "Hard": 1}]}}, "NONSENSE"),
    ({"HostConfig": {"CgroupnsMode": "nonsense"}}, "invalid cgroup namespace mode"),
    ({"HostConfig": {"DeviceRequests": [{"Driver": "nonsense", "Count": 1}]}}, 'could not select device driver "nonsense"'),
    ({"HostConfig": {"Links": ["no-such-container:alias"]}}, "could not get container for no-such-container"),
    ({"HostConfig": {"VolumesFrom": ["no-such-container"]}}, "No such container: no-such-container"),
    ({"HostConfig": {"Tmpfs": {"/x": "nonsense=1"}}}, "invalid tmpfs option"),
    ({"HostConfig": {"Devices": [{"PathOnHost": "/no", "PathInContainer": "/x", "CgroupPermissions": "rwm"}]}},
     "error gathering device information while adding custom device \"/no\": no such file or directory"),
    ({"HostConfig": {"DeviceCgroupRules": ["nonsense"]}}, "invalid device cgroup rule format: 'nonsense'"),
    ({"HostConfig": {"Sysctls": {"kernel.nonsense": "1"}}}, 'sysctl "kernel.nonsense" is not in a separate kernel namespace'),
    ({"HostConfig": {"GroupAdd": ["no-such-group"]}}, "Unable to find group no-such-group: no matching entries in group file"),
    ({"User": "no-such-user"}, "unable to find user no-such-user: no matching entries in passwd file"),
])
def test_validation(engine, body, message):
    """Refused at create or, where Docker looks later, at start; nothing runs and a refused create leaves nothing."""
    body = {"Image": IMAGE, "Cmd": ["true"], **body}
    body["HostConfig"] = {"NetworkMode": "none", **body.get("HostConfig", {})}
    answer = engine.api.post("/containers/create", body)
    if answer.status == 201:
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start")
        assert [c["State"] for c in engine.api.get("/containers/json", all=True).json] == ["created"]
    else:
        assert engine.api.get("/containers/json", all=True).json == []
    # 20.10 calls some of its caller's mistakes its own.
    assert answer.status in ((400, 404, 500) if engine.is_reference else (400, 404)), answer.text
    assert message.lower() in answer.message.lower()


def test_inspect(engine):
    body = {
        "Image": IMAGE, "Cmd": ["sleep", "10"], "Entrypoint": ["/bin/busybox"], "Hostname": "box", "Domainname": "example.org",
        "User": "alice", "Env": ["A=1"], "WorkingDir": "/data", "Labels": {"a": "b"}, "Tty": True, "OpenStdin": True,
        "StdinOnce": True, "StopSignal": "SIGINT", "StopTimeout": 3, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/vol": {}},
        "HostConfig": {"NetworkMode": "none", "Memory": 64 << 20, "CpuShares": 512, "PidsLimit": 50, "ReadonlyRootfs": True,
                       "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "Dns": ["8.8.8.8"], "ExtraHosts": ["h:1.2.3.4"],
                       "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "ShmSize": 1 << 20,
                       "Ulimits": [{"Name": "nofile", "Soft": 64, "Hard": 128}], "Tmpfs": {"/t": "size=1m"}},
    }
    id = create(engine, body, 201, name="inspected").json["Id"]
    found = engine.api.get(f"/containers/{id}/json", expect=200).json
    assert found["Name"] == "/inspected"
    assert found["Path"] == "/bin/busybox" and found["Args"] == ["sleep", "10"]
    assert found["State"]["Status"] == "created"
    assert found["State"]["StartedAt"] == "0001-01-01T00:00:00Z"
    assert found["State"]["ExitCode"] == 0 and found["State"]["Pid"] == 0
    assert found["Image"] == engine.api.get(f"/images/{IMAGE}/json").json["Id"]
    assert found["Driver"] == "overlay2" and found["Platform"] == "linux"
    assert found["RestartCount"] == 0
    assert found["LogPath"] == ""
    config, host = found["Config"], found["HostConfig"]
    for key in ("Cmd", "Entrypoint", "Hostname", "Domainname", "User", "Labels", "Tty", "OpenStdin", "StdinOnce",
                "WorkingDir", "StopSignal", "StopTimeout", "ExposedPorts", "Volumes", "Image"):
        assert config[key] == body[key], key
    assert "A=1" in config["Env"]
    for key in ("Memory", "CpuShares", "PidsLimit", "ReadonlyRootfs", "Dns", "ExtraHosts", "RestartPolicy",
                "ShmSize", "Ulimits", "Tmpfs", "NetworkMode"):
        assert host[key] == body["HostConfig"][key], key
    assert [c.removeprefix("CAP_") for c in host["CapAdd"]] == ["NET_ADMIN"]
    assert host["LogConfig"] == {"Type": "json-file", "Config": {}}
    assert host["MemorySwap"] == 128 << 20
    assert len(found["Mounts"]) == 1 and found["Mounts"][0]["Type"] == "volume"
    assert found["Mounts"][0]["Destination"] == "/vol"


def test_defaults_from_the_image(engine):
    from harness.rootfs import busybox
    engine.api.post("/images/create", body=busybox(), fromSrc="-", repo="defaults", expect=200, changes=[
        'CMD ["sleep","7"]', "ENV A=image B=image", "WORKDIR /data", "USER bob", "EXPOSE 81", "VOLUME /v",
        "LABEL x=image y=image"])
    container = engine.create(None, image="defaults", Env=["B=mine"], Labels={"y": "mine"})
    config = container.inspect()["Config"]
    assert config["Cmd"] == ["sleep", "7"]
    assert {"A=image", "B=mine"} <= set(config["Env"]) and "B=image" not in config["Env"]
    assert config["WorkingDir"] == "/data" and config["User"] == "bob"
    assert config["ExposedPorts"] == {"81/tcp": {}}
    assert config["Labels"] == {"x": "image", "y": "mine"}


def test_an_entrypoint_clears_the_images_command(engine):
    from harness.rootfs import TarBuilder
    engine.api.post("/images/create", body=TarBuilder().add("x", "").bytes(), fromSrc="-", repo="entry", expect=200,
                    changes=['CMD ["a","b"]'])
    found = engine.create(None, image="entry", Entrypoint=["/e"]).inspect()
    assert (found["Path"], found["Args"]) == ("/e", [])


@pytest.mark.parametrize("cmd, entrypoint, expected", [
    (["a", "b"], None, ("a", ["b"])), (["a"], ["e", "f"], ("e", ["f", "a"])), ("a b", None, ("a b", [])),
    (["a"], "e f", ("e f", ["a"])), (["a"], [""], ("a", [])),
])
def test_command_forms(engine, cmd, entrypoint, expected):
    body = {"Image": IMAGE, "Cmd": cmd}
    if entrypoint is not None:
        body["Entrypoint"] = entrypoint
    id = create(engine, body, 201).json["Id"]
    found = engine.api.get(f"/containers/{id}/json").json
    assert (found["Path"], found["Args"]) == expected


def test_no_command(engine):
    message = create(engine, {"Image": IMAGE}).message
    assert message == "No command specified"


def test_keys_match_without_case_and_null_is_absent(engine):
    id = create(engine, {"image": IMAGE, "CMD": ["true"], "Env": None, "hostconfig": {"networkmode": "none"},
                         "NoSuchKey": {"a": 1}}, 201).json["Id"]
    found = engine.api.get(f"/containers/{id}/json").json
    assert found["Config"]["Cmd"] == ["true"]
    assert found["HostConfig"]["NetworkMode"] == "none"


@pytest.mark.parametrize("body", [{"Cmd": 5}, {"Env": "A=1"}, {"Labels": ["a"]}, {"HostConfig": []}, {"Tty": "yes"},
                                  {"HostConfig": {"Memory": "64m"}}])
def test_wrong_types(engine, body):
    answer = engine.api.post("/containers/create", {**RUN, **body})
    assert answer.status == (answer.status if engine.is_reference else 400)
    assert answer.status >= 400
    assert engine.api.get("/containers/json", all=True).json == []


def test_size(engine):
    container = engine.start_container("dd if=/dev/zero of=/file bs=1024 count=100 2>/dev/null; sleep 1000")
    container.exec("sync")
    from harness.engine import wait_until
    wait_until(lambda: container.exec("test -s /file && test $(stat -c %s /file) = 102400")[0] == 0)
    found = container.inspect(size=True)
    assert 102_400 <= found["SizeRw"] < 200_000
    assert found["SizeRootFs"] > found["SizeRw"]
    assert "SizeRw" not in container.inspect()
    container.kill()
