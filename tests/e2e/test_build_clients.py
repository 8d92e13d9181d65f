"""Builds by the docker command, docker-py and aiodocker: every option that each of them has."""

import asyncio
import gzip
import io
import json
import subprocess

import aiodocker
import docker as sdk
import pytest

from harness.build import config, context, walk
from harness.engine import wait_until
from harness.servers import Server, status

BASE = "FROM busybox:e2e\n"
SEEN = BASE + "RUN cat /etc/hosts; df /dev/shm; echo nofile $(ulimit -n); grep Cpus_allowed_list /proc/self/status; ls /sys/class/net\n"


@pytest.fixture
def cli(docker):
    docker.environment["DOCKER_BUILDKIT"] = "0"
    return docker


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "Dockerfile").write_text(BASE + "COPY . /ctx\nRUN echo ran\n")
    (tmp_path / "file").write_text("content")
    return tmp_path


def kept_container(engine):
    """The HostConfig of the container in which a RUN was, which `rm=0` has kept."""
    kept = [one for one in engine.api.get("/containers/json", all=True, expect=200).json if "cat /etc/hosts" in one["Command"]]
    assert len(kept) == 1
    return engine.api.get(f"/containers/{kept[0]['Id']}/json", expect=200).json["HostConfig"]


def test_limits_by_the_docker_command(engine, cli):
    parent = f"{engine.sandbox.cgroup_parent}/of-build"
    security = ["--security-opt", "seccomp=unconfined"]
    if engine.is_reference:
        assert "does not support setting security options on build" in cli("build", *security, "-", stdin=SEEN, check=False).stderr
        security = []
    out = cli.out("build", "--no-cache", "--rm=false", "--add-host", "there:1.2.3.4", "--add-host", "six:::2", "--cgroup-parent", parent,
                  "--cpu-period", "50000", "--cpu-quota", "40000", "-c", "300", "--cpuset-cpus", "0", "--cpuset-mems", "0",
                  "-m", "128m", "--memory-swap", "-1", "--network", "none", "--shm-size", "8m", "--ulimit", "nofile=98:99",
                  *security, "-t", "limited", "-", stdin=SEEN)
    assert "1.2.3.4\tthere\n" in out and "::2\tsix\n" in out and " 8192 " in out and "nofile 98" in out
    assert "Cpus_allowed_list:\t0\n" in out and "eth0" not in out
    kept = kept_container(engine)
    assert {key: kept[key] for key in ("CgroupParent", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "CpusetMems", "Memory",
                                       "MemorySwap", "NetworkMode", "ShmSize")} == {
        "CgroupParent": parent, "CpuPeriod": 50000, "CpuQuota": 40000, "CpuShares": 300, "CpusetCpus": "0", "CpusetMems": "0",
        "Memory": 128 << 20, "MemorySwap": -1, "NetworkMode": "none", "ShmSize": 8 << 20}
    assert (kept["SecurityOpt"] or []) == security[1:]
    assert kept["Ulimits"] == [{"Name": "nofile", "Hard": 99, "Soft": 98}]
    assert sorted(kept["ExtraHosts"]) == ["six:::2", "there:1.2.3.4"]


def test_networks_by_the_docker_command(engine, cli):
    engine.network("of-build")
    assert "eth0" in cli.out("build", "--no-cache", "--network", "of-build", "-", stdin=SEEN)
    assert "eth0" in cli.out("build", "--no-cache", "-", stdin=SEEN)
    listed = cli.out("build", "--no-cache", "--network", "host", "-", stdin=BASE + "RUN ls /sys/class/net; hostname\n")
    assert "docker0" in listed or "gantry0" in listed or "sandbox" in listed
    assert "network nope not found" in cli("build", "--no-cache", "--network", "nope", "--force-rm", "-", stdin=SEEN, check=False).stderr


def test_what_the_docker_command_sends(engine, cli, folder, tmp_path):
    id_file = tmp_path.parent / f"{tmp_path.name}.iid"
    text = BASE + "ARG a\nARG b=B\nRUN echo got $a $b\nFROM busybox:e2e AS other\nLABEL from=other\nFROM busybox:e2e\nCOPY --from=0 /bin/true /t\n"
    (folder / "Other").write_text(text)
    out = cli.out("build", "--compress", "--iidfile", id_file, "-f", folder / "Other", "--build-arg", "a=A", "--label", "l=1",
                  "--label", "m=x y", "-t", "one:1", "-t", "two:2", "--target", "other", folder)
    built = id_file.read_text()
    assert cli.out("inspect", "-f", "{{.Id}}", "one:1") == cli.out("inspect", "-f", "{{.Id}}", "two:2") == built
    assert config(engine, built)["Labels"] == {"from": "other", "l": "1", "m": "x y"}
    assert "Successfully tagged one:1" in out and "Successfully tagged two:2" in out
    # A variable of the client's own environment.
    cli.environment["a"] = "mine"
    out = cli.out("build", "--no-cache", "--build-arg", "a", "-f", "-", folder, stdin=text)
    assert "got mine B" in out
    assert "got mine B" in cli.out("build", "--no-cache", "--build-arg", "a", "--build-arg", "unused=1", "-f", folder / "Other", folder)
    # Archives, packed or not.
    for body in (context({"Dockerfile": BASE + "COPY f /f\n", "f": "x"}), gzip.compress(context({"Dockerfile": BASE + "COPY f /f\n", "f": "x"}))):
        assert b"Successfully built" in cli("build", "-", stdin=body, text=False).stdout


def test_the_docker_command_and_the_cache(engine, cli, folder):
    cli("build", "-t", "first", folder)
    again = cli.out("build", "-t", "second", folder)
    assert again.count("Using cache") == 2
    assert cli.out("build", "--cache-from", "first,none", "-t", "third", folder).count("Using cache") == 2
    assert len({cli.out("inspect", "-f", "{{.Id}}", name) for name in ("first", "second", "third")}) == 1
    assert "Using cache" not in cli.out("build", "--no-cache", folder)


def test_the_docker_command_keeps_and_removes(engine, cli):
    def containers():
        return engine.api.get("/containers/json", all=True, expect=200).json

    text = BASE + "RUN echo kept\n"
    cli("build", "--no-cache", "-", stdin=text)
    assert containers() == []
    out = cli.out("build", "--no-cache", "--rm=false", "-", stdin=text)
    assert len(containers()) == 1 and "Removing intermediate" not in out
    engine.remove_everything()
    failed = cli("build", "--force-rm", "-q", "-", stdin=BASE + "RUN echo why; exit 3\n", check=False)
    assert failed.returncode == 3 and "why" in failed.stdout + failed.stderr and containers() == []
    refused = cli("build", "--squash", "-", stdin=text, check=False)
    assert refused.returncode != 0 and "experimental" in refused.stderr
    wrong = cli("build", "-", stdin=BASE + "COPY nope /\n", check=False)
    assert wrong.returncode != 0 and "nope" in wrong.stderr


def test_the_docker_command_pulls(engine, cli, registry, tmp_path):
    name = f"{registry.host}/{engine.name('pulled')}"
    cli("tag", "busybox:e2e", f"{name}:1")
    cli("push", f"{name}:1")
    cli("build", "-t", f"{name}:1", "-", stdin=BASE + "LABEL local=yes\n")
    text = f"FROM {name}:1\nLABEL a=b\n"
    assert config(engine, built(cli.out("build", "-q", "-", stdin=text)))["Labels"] == {"local": "yes", "a": "b"}
    assert config(engine, built(cli.out("build", "-q", "--pull", "-", stdin=text)))["Labels"] == {"a": "b"}
    if "--platform" in cli.out("build", "--help"):
        assert "Successfully built" in cli.out("build", "--platform", "linux/amd64", "-", stdin=text)


def built(quiet):
    assert quiet.startswith("sha256:"), quiet
    return quiet


def test_remote_contexts_by_the_docker_command(engine, cli, closing):
    server = closing(Server(engine.sandbox, address=engine.address))
    server.on("GET|HEAD", "^/c.tar$", status(200, {"Content-Type": "application/x-tar"}, context({"Dockerfile": BASE + "LABEL by=url\n"})))
    # The command fetches it itself, and so has to be where the server is.
    done = subprocess.run(engine.sandbox.enter([cli.path, "build", "-t", "remote", f"http://{server.host}/c.tar"]), env=cli.environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert config(engine, "remote")["Labels"] == {"by": "url"}


def test_every_option_of_docker_py(engine, client, folder):
    low = client.api
    (folder / "sub").mkdir()
    (folder / "sub/File").write_text(BASE + "ARG a\nARG http_proxy\nRUN cat /etc/hosts; df /dev/shm; ls /sys/class/net; echo got $a $http_proxy\n"
                                     "FROM busybox:e2e AS wanted\nCOPY file /f\nRUN cat /etc/hosts; df /dev/shm; ls /sys/class/net\nFROM busybox:e2e\n")
    lines = list(low.build(path=str(folder), tag="every:1", nocache=True, rm=True, forcerm=True, dockerfile="sub/File", gzip=True, decode=True,
                           container_limits={"memory": 64 << 20, "memswap": 128 << 20, "cpushares": 100, "cpusetcpus": "0"},
                           buildargs={"a": "A"}, shmsize=8 << 20, labels={"l": "1"}, cache_from=["none"], target="wanted",
                           network_mode="none", extra_hosts={"there": "1.2.3.4"}, platform="linux/amd64", squash=False, timeout=60,
                           isolation="", use_config_proxy=True))
    text = "".join(line.get("stream", "") for line in lines)
    assert "1.2.3.4\tthere\n" in text and " 8192 " in text and "eth0" not in text and "Successfully tagged every:1" in text
    assert low.inspect_image("every:1")["Config"]["Labels"] == {"l": "1"}
    assert client.containers.run("every:1", ["cat", "/f"], remove=True, network_mode="none") == b"content"
    raw = b"".join(low.build(path=str(folder), quiet=True, rm=True))
    assert json.loads(raw.splitlines()[-1])["stream"].startswith("sha256:")
    for encoding, pack in ((None, bytes), ("gzip", gzip.compress)):
        body = pack(context({"Dockerfile": BASE + "COPY f /f\n", "f": "x"}))
        image, _ = client.images.build(fileobj=io.BytesIO(body), custom_context=True, encoding=encoding, rm=True)
        assert walk(engine, image.id)["f"][4] == b"x"
    again, log = client.images.build(path=str(folder), rm=True)
    assert sum("Using cache" in line.get("stream", "") for line in log) == 2
    with pytest.raises(sdk.errors.APIError):
        client.images.build(path=str(folder), target="nope", dockerfile="sub/File", rm=True)


def test_docker_py_pulls_and_fetches(engine, client, registry, closing):
    name = f"{registry.host}/{engine.name('py')}"
    client.images.get("busybox:e2e").tag(name, "1")
    client.images.push(name, tag="1")
    client.images.remove(f"{name}:1")
    image, log = client.images.build(fileobj=io.BytesIO(f"FROM {name}:1\nLABEL a=b\n".encode()), pull=True, rm=True)
    assert image.labels == {"a": "b"} and any("Pulling" in line.get("status", "") for line in log)
    server = closing(Server(engine.sandbox))
    server.on("GET|HEAD", "^/Dockerfile$", status(200, {"Content-Type": "text/plain"}, (BASE + "LABEL by=url\n").encode()))
    image, _ = client.images.build(path=f"{server.url}/Dockerfile", rm=True)
    assert image.labels == {"by": "url"}


def test_aiodocker(engine):
    body = context({"sub/File": BASE + "ARG a\nLABEL a=$a\nRUN echo said\n"})

    async def steps(client):
        lines = await client.images.build(fileobj=io.BytesIO(gzip.compress(body)), encoding="gzip", path_dockerfile="sub/File", tag="aio:1",
                                          nocache=True, buildargs={"a": "A"}, rm=True, forcerm=True, labels={"l": "1"})
        assert any("said" in line.get("stream", "") for line in lines)
        assert (await client.images.inspect("aio:1"))["Config"]["Labels"] == {"a": "A", "l": "1"}
        seen = [line async for line in client.images.build(fileobj=io.BytesIO(body), encoding="identity", path_dockerfile="sub/File", quiet=True, stream=True)]
        assert seen[-1]["stream"].startswith("sha256:")
        with pytest.raises(aiodocker.exceptions.DockerError) as caught:
            await client.images.build(fileobj=io.BytesIO(context({"Dockerfile": BASE + "RUN exit 4\n"})), encoding="identity", forcerm=True)
        assert "returned a non-zero code: 4" in str(caught.value)

    async def whole():
        async with aiodocker.Docker(url=engine.host) as client:
            await asyncio.wait_for(steps(client), 100)

    asyncio.run(whole())


def test_curl_sends_a_context_as_it_reads_it(engine, tmp_path):
    """In pieces, with nobody saying how long it is."""
    (tmp_path / "c.tar").write_bytes(context({"Dockerfile": BASE + "COPY big /\n", "big": "x" * 3_000_000}))
    done = subprocess.run(["curl", "-sS", "--unix-socket", str(engine.proxy_socket), "-H", "Content-Type: application/x-tar", "-H",
                           "Transfer-Encoding: chunked", "-T", "-", "-X", "POST", "http://v1.41/build?t=piped"],
                          stdin=open(tmp_path / "c.tar", "rb"), capture_output=True, text=True, timeout=60)
    assert "Successfully tagged piped:latest" in done.stdout, done.stdout + done.stderr
    wait_until(lambda: engine.api.get("/images/piped/json").status == 200, what="the image")
