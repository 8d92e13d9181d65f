"""kill -9 of the daemon in the middle of builds: the next one starts clean, and builds on from what was done."""

import random
import time

import pytest

from harness.build import build, context, walk
from harness.engine import wait_until
from harness.load import Load

TEXT = """FROM busybox:e2e AS one
RUN echo one > /one && head -c 300000 /dev/zero > /zeros
COPY d /d
FROM busybox:e2e
WORKDIR /w
COPY --from=one /d /d
COPY --link f /linked/f
RUN --mount=type=cache,target=/c,id=crash echo x >> /c/n; echo two > /two
ADD a.tar /a
LABEL done=%s
"""
FILES = {"f": "f", "a.tar": context({"x/y": "z" * 1000}), **{f"d/{n}/{m}": "d" * 100 for n in range(10) for m in range(30)}}


def building(number, **query):
    """Builds one of the images."""
    body = context({**FILES, "Dockerfile": TEXT % number})
    return lambda api: api.request("POST", "/build", body=body, headers={"Content-Type": "application/x-tar"}, timeout=60, **query)


@pytest.mark.timeout(600)
@pytest.mark.differs(reference="20.10 leaves containers and layers behind")
def test_kill_in_builds(own_engine, request):
    engine = own_engine()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    mounts = engine.sandbox.mounts()
    for _ in range(max(3, request.config.getoption("--crash-rounds") // 5)):
        work = building(1, nocache=True), building(2), building(3, squash=True, nocache=True)
        loads = [Load(engine, one, patience=60) for one in work]
        time.sleep(chance.uniform(0.1, 2.5))
        engine.kill()
        for load in loads:
            load.end()
        engine.start()
        engine.recorder.drain()
        wait_until(lambda: engine.api.get("/containers/json", all=True).json == [], what="the containers to be gone")
        wait_until(lambda: list((engine.data_root / "build/tmp").iterdir()) == [], what="the builds' directories to be gone")
        wait_until(lambda: engine.sandbox.mounts() == mounts, what="the mounts as they were")
        whole(engine, build(engine, FILES, TEXT % "whole"))
    # What builds left is a cache, and goes as one.
    engine.api.post("/build/prune", all=True, expect=200)
    engine.api.post("/images/prune", filters={"dangling": ["true"]}, expect=200)
    assert engine.api.get("/system/df", expect=200).json["BuildCache"] == []
    assert [image["RepoTags"] for image in engine.api.get("/images/json", all=True, expect=200).json] == [["busybox:e2e"]]
    wait_until(lambda: list((engine.data_root / "build/mounts").iterdir()) == [], what="the mounts of builds to be gone")
    whole(engine, build(engine, FILES, TEXT % "whole"))


def whole(engine, built):
    found = walk(engine, built.id)
    assert found["linked/f"][4] == b"f" and found["two"][4] == b"two\n" and found["a/x/y"][4] == b"z" * 1000
    assert sum(1 for name, entry in found.items() if name.startswith("d/") and entry[0] == b"0") == 300
