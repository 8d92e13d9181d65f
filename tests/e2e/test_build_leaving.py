"""Clients of builds that go away at any moment, and many builds of one file at once: nothing is left behind."""

import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.build import build, context, walk
from harness.engine import wait_until

TEXT = """FROM busybox:e2e AS one
RUN for i in 1 2 3 4 5 6 7 8; do echo line $i; usleep 20000; done; echo one > /one
COPY d /d
FROM busybox:e2e
COPY --from=one /one /d/n0 /x/
RUN --mount=type=cache,target=/c,id=leaving echo x >> /c/n; head -c 3000000 /dev/zero > /zeros
WORKDIR /w/x
LABEL number=%s
"""
FILES = {f"d/n{n}/{m}": "d" * 3000 for n in range(4) for m in range(100)}


class Left:
    """What a build could leave."""

    def __init__(self, engine):
        self.engine = engine
        self.mounts = engine.sandbox.mounts()
        self.cgroups = self.cgroup_names()
        self.descriptors = self.open()

    def open(self):
        return len(os.listdir(f"/proc/{self.engine.pid}/fd"))

    def cgroup_names(self):
        return {path for path in Path("/sys/fs/cgroup").rglob(f"*{self.engine.sandbox.cgroup_parent.strip('/')}/*") if path.is_dir()}

    def unfinished(self):
        root = self.engine.data_root
        temporary = [path for path in (root / "layers").iterdir() if len(path.name) != 64]
        return [*(root / "build/tmp").iterdir(), *(root / "images/ingest").iterdir(), *(root / "trash").iterdir(), *temporary]

    def nothing(self):
        engine = self.engine
        wait_until(lambda: engine.api.get("/containers/json", all=True).json == [], what="the containers to be gone", timeout=60)
        wait_until(lambda: self.unfinished() == [], what="the directories to be gone", timeout=60)
        wait_until(lambda: engine.sandbox.mounts() == self.mounts, what="the mounts as they were", timeout=60)
        wait_until(lambda: self.cgroup_names() == self.cgroups, what="the cgroups as they were", timeout=60)
        # Idle connections and the like come and go.
        wait_until(lambda: self.open() <= self.descriptors + 8, what="the descriptors to be closed", timeout=60)


@pytest.mark.timeout(600)
@pytest.mark.differs(reference="20.10 leaves containers and layers behind")
def test_leaving_at_any_moment(own_engine):
    engine = own_engine()
    build(engine, FILES, TEXT % "first", nocache=True)
    left = Left(engine)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(20):
        body = context({**FILES, "Dockerfile": TEXT % number})
        head = b"POST /v1.41/build?nocache=1%s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: %d\r\n\r\n"
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(engine.socket))
        sent = head % (b"&squash=1" if number % 5 == 4 else b"", len(body)) + body
        # Some leave while they send, the others while something is done.
        sock.sendall(sent[:chance.randrange(len(sent))] if number % 4 == 3 else sent)
        time.sleep(chance.uniform(0, 3))
        sock.close()
        engine.recorder.drain()
    left.nothing()
    found = walk(engine, build(engine, FILES, TEXT % "last").id)
    assert found["x/one"][4] == b"one\n" and found["zeros"][4] == b"\0" * 3000000 and len(found["x/99"][4]) == 3000


@pytest.mark.timeout(600)
@pytest.mark.differs(reference="it does not know --mount")
def test_many_builds_of_one_file(own_engine):
    engine = own_engine()
    build(engine, FILES, TEXT % "first")
    left = Left(engine)
    text = TEXT.replace("echo one >", "echo twice; echo one >") % "many"
    with ThreadPoolExecutor(20) as pool:
        builds = list(pool.map(lambda _: build(engine, FILES, text, timeout=500), range(20)))
    ids = {one.id for one in builds}
    engine.recorder.drain()
    left.nothing()
    # Whoever is first does the work, or several do it; each gets a whole image, and the cache has one of them.
    for image in ids:
        found = walk(engine, image)
        assert found["x/one"][4] == b"one\n" and len(found["x/99"][4]) == 3000 and len(found["zeros"][4]) == 3000000
    again = build(engine, FILES, text)
    assert again.id in ids and again.cached == 6
