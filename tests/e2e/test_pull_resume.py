"""Interrupted, shared and parallel downloads: an interruption costs nothing but the missing bytes."""

import threading

import pytest

from harness import images
from harness.engine import wait_until
from harness.http import Client
from harness.pulls import failure, images_named, pull
from harness.registry import FakeRegistry, Gate, cut_after, wrong_bytes
from harness.servers import status

MEGABYTE = 1 << 20
# What may be fetched twice around an interruption: what was on its way when it came.
SLACK = 256 * 1024


def background(work):
    """Run `work` in a thread; errors of a dead connection are part of the plan."""
    def quiet():
        try:
            work()
        except (OSError, ValueError, StopIteration):
            pass
    thread = threading.Thread(target=quiet, daemon=True)
    thread.start()
    return thread


def begin(engine, name, **query):
    """Starts a pull on a connection of its own; returns the stream."""
    return Client(engine.socket, "1.41").post("/images/create", fromImage=name, stream=True, **query)


def gone(engine):
    """Read and forget what tests of interruptions cause on purpose."""
    engine.recorder.drain()


def test_a_cut_is_resumed_within_the_pull(engine, fake):
    """The connection breaks in the middle of the layer; the rest is asked for by a range."""
    image = images.big(3 * MEGABYTE, seed=1)
    name = fake.put(image, "cut", "v")
    layer = image.layers[0]
    fake.on("GET", layer.digest, cut_after(fake, MEGABYTE), times=1)
    messages = pull(engine.api, name)
    assert messages[-1] == {"status": f"Status: Downloaded newer image for {name}"}
    requests = fake.blob_requests(layer.digest)
    assert any(seen.start > 0 for seen in requests), "nothing was resumed"
    assert fake.sent(layer.digest) <= len(layer.blob) + SLACK
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_many_cuts(engine, fake):
    """Each attempt brings something: it is progress, so it may take more attempts than there are retries."""
    image = images.big(2 * MEGABYTE, seed=2)
    name = fake.put(image, "cuts", "v")
    layer = image.layers[0]
    fake.on("GET", layer.digest, cut_after(fake, 500_000), times=4)
    pull(engine.api, name)
    assert fake.sent(layer.digest) <= len(layer.blob) + 4 * SLACK


@pytest.mark.differs(reference="20.10 throws away what a failed pull brought")
def test_a_failed_pull_is_resumed_by_the_next(own_engine, closing):
    engine = own_engine("--max-download-attempts=1", images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.big(3 * MEGABYTE, seed=3)
    name = fake.put(image, "failed", "v")
    layer = image.layers[0]
    rule = fake.on("GET", layer.digest, cut_after(fake, 2 * MEGABYTE), times=1)
    fake.on("GET", layer.digest, lambda h: rule.times == 0 and h.cut(), times=None, skip=1)
    failure(engine.api.post("/images/create", fromImage=name))
    assert images_named(engine.api, name) == []
    fake.forget()
    pull(engine.api, name)
    assert fake.sent(layer.digest) <= MEGABYTE + SLACK
    assert min(seen.start for seen in fake.blob_requests(layer.digest)) >= 2 * MEGABYTE - SLACK


@pytest.mark.differs(reference="20.10 throws away what a cancelled pull brought")
def test_a_cancelled_pull_is_resumed_by_the_next(engine, fake):
    image = images.big(3 * MEGABYTE, seed=4)
    name = fake.put(image, "cancelled", "v")
    layer = image.layers[0]
    gate = Gate(fake, 2 * MEGABYTE)
    fake.on("GET", layer.digest, gate, times=1)
    stream = begin(engine, name)
    gate.wait()
    progress_reaches(stream, layer, MEGABYTE)
    stream.close()
    gate.open()
    assert images_named(engine.api, name) == []
    fake.log.clear()
    pull(engine.api, name)
    assert fake.sent(layer.digest) <= 2 * MEGABYTE + SLACK
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def progress_reaches(stream, layer, count):
    """Read progress until so much of the layer is said to have arrived."""
    import json
    short = layer.digest.removeprefix("sha256:")[:12]
    for line in stream.lines():
        message = json.loads(line)
        detail = message.get("progressDetail") or {}
        if message.get("id") == short and detail.get("current", 0) >= count:
            return
    raise AssertionError("the pull ended early")


def test_a_cancelled_pull_ends(engine, fake):
    """Nobody is interested any more: the connection to the registry ends."""
    image = images.big(2 * MEGABYTE, seed=5)
    name = fake.put(image, "ends", "v")
    ended = threading.Event()

    def drip(handler):
        data = fake.blobs[image.layers[0].digest]
        handler.head(200, len(data))
        try:
            for at in range(0, len(data), 16384):
                handler.wfile.write(data[at:at + 16384])
                if at >= MEGABYTE // 2:
                    reached.set()
                    if ended.wait(0.05):
                        return
        except OSError:
            ended.set()
            raise

    reached = threading.Event()
    fake.on("GET", image.layers[0].digest, drip)
    stream = begin(engine, name)
    assert reached.wait(40)
    stream.close()
    assert ended.wait(40), "the download goes on without a client"
    assert images_named(engine.api, name) == []


@pytest.mark.differs(reference="20.10 throws away what a killed daemon had")
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_killed_daemon_resumes(own_engine, closing, how):
    engine = own_engine(images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.big(3 * MEGABYTE, seed=6, layers=2)
    name = fake.put(image, "killed", "v")
    first, second = image.layers
    gate = Gate(fake, 2 * MEGABYTE)
    fake.on("GET", second.digest, gate, times=1)
    stream = begin(engine, name)
    gate.wait()
    progress_reaches(stream, second, MEGABYTE)
    wait_until(lambda: fake.sent(first.digest) >= len(first.blob))
    engine.kill() if how == "kill" else engine.stop()
    gate.open()
    stream.close()
    gone(engine)
    engine.start()
    assert images_named(engine.api, name) == []
    fake.log.clear()
    messages = pull(engine.api, name)
    assert messages[-1] == {"status": f"Status: Downloaded newer image for {name}"}
    assert fake.sent(first.digest) <= MEGABYTE, "a complete layer was fetched again"
    assert fake.sent(second.digest) <= 2 * MEGABYTE + SLACK
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_two_pulls_share_a_download(engine, fake):
    image = images.big(2 * MEGABYTE, seed=7)
    name = fake.put(image, "shared", "v")
    other = fake.put(image, "shared-too", "v")
    layer = image.layers[0]
    gate = Gate(fake, MEGABYTE)
    fake.on("GET", layer.digest, gate, times=1)
    results = []
    threads = [background(lambda n=n: results.append(pull(engine.api, n))) for n in (name, name, other)]
    gate.wait()
    # All three have asked for the manifest and are told about the layer before the rest comes.
    fake.wait_for("GET|HEAD", "/shared/manifests/v", 2)
    fake.wait_for("GET|HEAD", "/shared-too/manifests/v", 1)
    gate.open()
    for thread in threads:
        thread.join(60)
    assert len(results) == 3
    assert fake.sent(layer.digest) <= len(layer.blob) + SLACK
    assert sorted(images_named(engine.api, f"{fake.host}/*")) == sorted([name, other])


def test_one_of_two_clients_leaves(engine, fake):
    """The download goes on for the other."""
    image = images.big(2 * MEGABYTE, seed=8)
    name = fake.put(image, "leaver", "v")
    layer = image.layers[0]
    gate = Gate(fake, MEGABYTE)
    fake.on("GET", layer.digest, gate, times=1)
    first = begin(engine, name)
    gate.wait()
    second = begin(engine, name)
    progress_reaches(second, layer, 1)
    first.close()
    gate.open()
    assert b"Status: Downloaded newer image" in list(second.lines())[-1]
    assert fake.sent(layer.digest) <= len(layer.blob) + MEGABYTE
    assert images_named(engine.api, name) == [name]


@pytest.mark.differs(reference="20.10 fetches a layer by one connection")
def test_a_large_layer_comes_in_parallel_ranges(engine, fake):
    image = images.big(40 * MEGABYTE, seed=9, compression="plain")
    name = fake.put(image, "ranges", "v")
    layer = image.layers[0]
    pull(engine.api, name)
    starts = sorted(seen.start for seen in fake.blob_requests(layer.digest))
    assert len(starts) > 1, "one connection for a large layer"
    assert fake.sent(layer.digest) <= len(layer.blob) + len(starts) * SLACK
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_a_registry_without_ranges(engine, fake):
    """It answers 200 with everything to a range: the pull starts again from the front and is right."""
    fake.ranges = False
    image = images.big(40 * MEGABYTE, seed=10, compression="plain")
    name = fake.put(image, "no-ranges", "v")
    fake.on("GET", image.layers[0].digest, cut_after(fake, 5 * MEGABYTE), times=1)
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_a_range_of_other_bytes(engine, fake):
    """A registry that answers another range than was asked for is not believed."""
    image = images.big(2 * MEGABYTE, seed=11)
    name = fake.put(image, "shifted", "v")
    layer = image.layers[0]
    fake.on("GET", layer.digest, cut_after(fake, MEGABYTE), times=1)

    def shifted(handler):
        if handler.seen.start == 0:
            return False
        data = layer.blob[handler.seen.start - 1000:-1000]
        handler.reply(206, data, {"Content-Range": f"bytes {handler.seen.start - 1000}-{len(layer.blob) - 1001}/{len(layer.blob)}"})

    fake.on("GET", layer.digest, shifted)
    answer = engine.api.post("/images/create", fromImage=name)
    if "error" not in answer.objects[-1]:  # It started again from the front.
        assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    else:
        assert images_named(engine.api, name) == []


def test_resumed_bytes_that_do_not_fit(engine, fake):
    """The first half was wrong and is kept; the digest tells; nothing wrong is ever an image."""
    image = images.big(2 * MEGABYTE, seed=12)
    name = fake.put(image, "mixed", "v")
    layer = image.layers[0]

    def half_wrong(handler):
        fake.send_blob(handler, bytes(MEGABYTE) + layer.blob[MEGABYTE:], MEGABYTE)

    fake.on("GET", layer.digest, half_wrong, times=1)
    answer = engine.api.post("/images/create", fromImage=name)
    if "error" in answer.objects[-1]:
        assert images_named(engine.api, name) == []
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_a_wrong_blob_then_the_right_one(engine, fake):
    """What was damaged on the way is not kept: the next pull is whole."""
    image = images.big(MEGABYTE, seed=13)
    name = fake.put(image, "damaged", "v")
    rule = fake.on("GET", image.layers[0].digest, wrong_bytes(fake))
    text = failure(engine.api.post("/images/create", fromImage=name))
    assert "digest" in text or "verif" in text or "checksum" in text, text
    rule.times = 0
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


BUSY = {429: {"Retry-After": "1"}, 500: {}, 502: {}, 503: {"Retry-After": "1"}}
GIVES_UP = pytest.mark.differs(reference="20.10 gives up at once")


@pytest.mark.parametrize("what, code", [
    *[pytest.param("manifests", code, marks=GIVES_UP) for code in BUSY],
    *[("layer", code) for code in BUSY],
    *[pytest.param("document", code, marks=[GIVES_UP] if code == 429 else []) for code in BUSY],
])
def test_refusals_for_a_moment(engine, fake, what, code):
    """Busy now, there a moment later."""
    image = images.small(f"busy {what} {code}")
    name = fake.put(image, f"busy-{what}-{code}", "v")
    pattern = {"manifests": "/manifests/", "layer": image.layers[0].digest, "document": image.id}[what]
    rule = fake.on("GET|HEAD", pattern, status(code, BUSY[code]), times=2 if what == "manifests" else 1)
    pull(engine.api, name)
    assert rule.times == 0
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_limits_of_parallel_downloads(own_engine, closing):
    """max-concurrent-downloads=1: one layer after another."""
    engine = own_engine("--max-concurrent-downloads=1", images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.big(300_000, seed=14, layers=4)
    name = fake.put(image, "limited", "v")
    lock, now, most = threading.Lock(), [0], [0]

    def counted(handler):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        blob = fake.blobs[handler.seen.path.rsplit("/", 1)[1]]
        handler.head(200, len(blob))
        handler.send(blob[:-1])
        # Before its last byte: whoever has that may ask for the next one while we still count.
        with lock:
            now[0] -= 1
        handler.send(blob[-1:])

    for layer in image.layers:
        fake.on("GET", layer.digest, counted)
    pull(engine.api, name)
    assert most[0] == 1


def test_layers_come_in_parallel(engine, fake):
    """Three layers at once by default: the first does not hold back the others."""
    image = images.big(300_000, seed=15, layers=3)
    name = fake.put(image, "parallel", "v")
    together = threading.Barrier(3)

    def meet(handler):
        together.wait(40)
        return False

    for layer in image.layers:
        fake.on("GET", layer.digest, meet, times=1)
    pull(engine.api, name)
