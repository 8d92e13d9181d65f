"""Both Composes with services that are built: every key of `build`, and the flags of `up` and `build`."""

import pytest

from harness.build import build, config, history
from harness.compose import Compose

BASE = "FROM busybox:e2e\n"
SERVICES = """
services:
  whole:
    image: whole:made
    command: ["cat", "/out", "/words"]
    network_mode: none
    build:
      context: ./whole
      dockerfile: files/Containerfile
      args:
        - word=args
        - FROM_HOST
      target: wanted
      labels:
        made.by: compose
      cache_from: [earlier:made, none:made]
      network: none
      shm_size: 8m
      extra_hosts: ["there:1.2.3.4"]
  short:
    build: ./short
    command: ["cat", "/file"]
    network_mode: none
"""
WHOLE = BASE.strip() + """ AS first
ARG word
ARG FROM_HOST
RUN echo $word $FROM_HOST > /words; cat /etc/hosts; df /dev/shm; ls /sys/class/net
FROM busybox:e2e AS wanted
COPY --from=first /words /words
COPY file /out
RUN cat /etc/hosts > /hosts; df /dev/shm > /shm; ls /sys/class/net > /net
FROM scratch
"""


@pytest.fixture(params=["v1", "v2"])
def compose(request, engine, tmp_path):
    for path, text in {"compose.yaml": SERVICES, "whole/files/Containerfile": WHOLE, "whole/file": "of the context\n",
                       "short/Dockerfile": BASE + "COPY file /file\n", "short/file": "first\n"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    made = Compose(request.param, engine, tmp_path, engine.name("built"))
    made.environment |= {"DOCKER_BUILDKIT": "0", "COMPOSE_DOCKER_CLI_BUILD": "0", "FROM_HOST": "host"}
    yield made
    made("down", "-v", "-t", "0", "--remove-orphans", check=False)


def file(engine, image, path):
    return engine.output(["cat", path], image=image)


def image_of(engine, compose, service):
    """The image of a service that names none is called after it."""
    separator = "_" if compose.version == "v1" else "-"
    return engine.api.get(f"/images/{compose.project}{separator}{service}/json", expect=200).json["Id"]


def test_every_key(engine, compose):
    build(engine, {"file": "of the context\n"}, WHOLE, target="wanted", t="earlier:made", buildargs={"word": "args", "FROM_HOST": "host"})
    compose("build", "whole")
    assert file(engine, "whole:made", "/words") == "args host\n" and file(engine, "whole:made", "/out") == "of the context\n"
    labels = config(engine, "whole:made")["Labels"]
    assert labels["made.by"] == "compose"
    # What was built earlier from the same was taken, and so did not see the hosts of this build.
    assert "there" not in file(engine, "whole:made", "/hosts")
    compose("build", "--no-cache", "whole")
    assert "1.2.3.4\tthere\n" in file(engine, "whole:made", "/hosts")
    assert file(engine, "whole:made", "/net") == "lo\n"
    # Compose 2 forgets to tell the size when it does not use BuildKit.
    assert (" 8192 " if compose.version == "v1" else " 65536 ") in file(engine, "whole:made", "/shm")
    assert any("COPY file:" in line for line in history(engine, "whole:made"))


def test_two_services(engine, compose):
    compose("build")
    assert file(engine, "whole:made", "/words") == "args host\n"
    assert file(engine, image_of(engine, compose, "short"), "/file") == "first\n"
    before = image_of(engine, compose, "short")
    compose("build", "--build-arg", "word=other")
    assert image_of(engine, compose, "short") == before
    assert file(engine, "whole:made", "/words") == "other host\n"


def test_up_builds(engine, compose):
    compose("up", "-d")
    first = image_of(engine, compose, "short")
    (compose.folder / "short/file").write_text("second\n")
    compose("up", "-d")
    assert image_of(engine, compose, "short") == first
    compose("up", "-d", "--build")
    assert image_of(engine, compose, "short") != first
    (container,) = compose.containers("short", all=True)
    engine.api.post(f"/containers/{container['Id']}/wait", expect=200)
    assert "second" in compose.out("logs", "short") and "of the context" in compose.out("logs", "whole")
    assert compose.out("run", "--rm", "-T", "short", "cat", "/file") == "second"


def test_pulling(engine, compose, registry):
    name = f"{registry.host}/{engine.name('base')}:1"
    repository, _, tag = name.rpartition(":")
    engine.api.post("/images/busybox:e2e/tag", repo=repository, tag=tag, expect=201)
    engine.api.post(f"/images/{repository}/push", tag=tag, headers={"X-Registry-Auth": "e30="}, expect=200)
    build(engine, {}, BASE + "LABEL local=yes\n", t=name)
    (compose.folder / "short/Dockerfile").write_text(f"FROM {name}\nCOPY file /file\n")
    compose("build", "short")
    assert config(engine, image_of(engine, compose, "short"))["Labels"]["local"] == "yes"
    compose("build", "--no-cache", "--pull", "short")
    assert "local" not in (config(engine, image_of(engine, compose, "short"))["Labels"] or {})


def test_failures(engine, compose):
    (compose.folder / "short/Dockerfile").write_text(BASE + "RUN echo why; exit 6\n")
    failed = compose("build", "--force-rm" if compose.version == "v1" else "--pull=false", "short", check=False)
    assert failed.returncode != 0 and "returned a non-zero code: 6" in failed.stdout + failed.stderr
    (compose.folder / "short/Dockerfile").write_text("NOPE\n")
    failed = compose("up", "-d", "--build", "short", check=False)
    assert failed.returncode != 0 and "unknown instruction: NOPE" in failed.stdout + failed.stderr
    assert compose.containers("short", all=True) == []
