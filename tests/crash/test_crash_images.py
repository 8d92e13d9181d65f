"""kill -9 of the daemon while images come, are made and go: nothing is lost, nothing leaks, little is fetched again."""

import random
import time

import pytest

from harness import images
from harness.engine import IMAGE, wait_until
from harness.load import Load
from harness.pulls import pull
from harness.files import storage_size
from harness.registry import FakeRegistry

MEGABYTE = 1 << 20


def whole(engine, name, image):
    """The image is all there: it can be saved and has its id."""
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    engine.api.get(f"/images/{name}/get", expect=200)


@pytest.mark.differs(reference="20.10 fetches everything again")
def test_kill_during_pulls(own_engine, closing, request):
    """However often it is killed, the bytes of an image are fetched about once."""
    engine = own_engine(images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    image = images.big(12 * MEGABYTE, seed=seed, layers=3)
    name = fake.put(image, "killed", "v")

    def paced(handler):
        """About 40 MB a second, so that a kill finds something on its way."""
        blob = fake.blobs[handler.seen.path.rsplit("/", 1)[1]]
        start, end = handler.seen.start, min(len(blob), handler.seen.end or len(blob))
        ranged = {"Content-Range": f"bytes {start}-{end - 1}/{len(blob)}"} if handler.headers.get("Range") else {}
        handler.head(206 if ranged else 200, end - start, {"Accept-Ranges": "bytes", **ranged})
        for at in range(start, end, 1 << 17):
            handler.send(blob[at:min(end, at + (1 << 17))])
            time.sleep(0.003)

    fake.on("GET", "/blobs/", paced)
    kills, arrived = 0, False
    while not arrived and kills < 12:
        load = Load(engine, lambda api: pull(api, name))
        time.sleep(chance.uniform(0.05, 0.4))
        engine.kill()
        kills += 1
        load.end()
        engine.start()
        engine.recorder.drain()
        arrived = engine.api.get(f"/images/{name}/json").status == 200
    pull(engine.api, name)
    whole(engine, name, image)
    total = sum(len(layer.blob) for layer in image.layers)
    sent = sum(fake.sent(layer.digest) for layer in image.layers)
    # What a kill may cost: what was on the way for each of the downloads, and what the journal had not yet.
    assert sent <= total + kills * 6 * MEGABYTE, f"{sent} bytes for {total} in {kills} kills"


@pytest.mark.timeout(300)
@pytest.mark.differs(reference="20.10 leaves the container of a commit paused, and layers behind")
def test_kill_at_random_moments(own_engine, closing, request):
    """Pull, load, tag, delete, prune and commit at once; a kill; everything that was confirmed is there."""
    engine = own_engine("--live-restore")
    fake = closing(FakeRegistry(engine.sandbox))
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kept = images.runnable("kept")
    kept_name = fake.put(kept, "kept", "v")
    pull(engine.api, kept_name)
    container = engine.start_container(["sleep", "1000"], image=kept_name)
    made = [images.big(300_000, seed=seed + 10 * n, layers=2) for n in range(4)]
    names = [fake.put(one, f"random{n}", "v") for n, one in enumerate(made)]
    archive = engine.api.get(f"/images/{kept_name}/get", expect=200).body
    baseline = storage_size(engine.data_root)

    def works():
        return [
            lambda api: api.post("/images/create", fromImage=chance.choice(names), timeout=20),
            lambda api: api.post("/images/create", fromImage=chance.choice(names), timeout=20),
            lambda api: api.delete(f"/images/{chance.choice(names)}", timeout=20),
            lambda api: api.post("/images/prune", timeout=20),
            lambda api: api.post("/images/load", body=archive, timeout=20),
            lambda api: api.post("/commit", {}, container=container.id, repo="committed", tag=str(chance.randrange(3)), timeout=20),
            lambda api: api.delete(f"/images/committed:{chance.randrange(3)}", timeout=20),
        ]

    for _ in range(request.config.getoption("--crash-rounds") // 5):
        loads = [Load(engine, work) for work in works()]
        time.sleep(chance.uniform(0, 0.2))
        engine.kill()
        for load in loads:
            load.end()
        engine.start()
        engine.recorder.drain()
        whole(engine, kept_name, kept)
        assert container.state["Running"]
        for image, name in zip(made, names):
            if engine.api.get(f"/images/{name}/json").status == 200:
                whole(engine, name, image)
        engine.recorder.drain()
    for name in names:
        pull(engine.api, name)
    for image, name in zip(made, names):
        whole(engine, name, image)
    assert container.exec("cat /marker")[1] == "kept"
    clean(engine, kept_name)
    wait_until(lambda: storage_size(engine.data_root) < baseline + 2 * MEGABYTE,
               what=f"the store as before: {storage_size(engine.data_root)} bytes, there were {baseline}")
    container.remove(force=True)


def clean(engine, kept_name):
    """Remove everything but what was there before, as a user would."""
    for image in engine.api.get("/images/json", all=True, expect=200).json:
        if not {kept_name, IMAGE} & set(image["RepoTags"] or []):
            engine.api.delete(f"/images/{image['Id']}", force=True, expect=(200, 404))
    engine.api.post("/images/prune", expect=200)


def test_kill_between_two_deletes(own_engine, closing):
    """An image that was being deleted is whole or gone."""
    engine = own_engine()
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.image([images.layer(images.files(**{f"f{n}": "x" for n in range(500)})), images.layer(images.files(top="1"))])
    name = fake.put(image, "deleted", "v")
    for turn in range(4):
        pull(engine.api, name)
        load = Load(engine, lambda api: api.delete(f"/images/{name}", timeout=20))
        time.sleep(random.uniform(0, 0.03) * (turn + 1))
        engine.kill()
        load.end()
        engine.start()
        engine.recorder.drain()
        if engine.api.get(f"/images/{name}/json").status == 200:
            whole(engine, name, image)
    pull(engine.api, name)
    whole(engine, name, image)
