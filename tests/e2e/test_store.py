"""The store under stress: full disks, damaged content, very many layers, 1,000 images, garbage."""

import json
import os
import subprocess
import threading

import pytest

from harness import images, rootfs
from harness.engine import IMAGE, program, quickest, wait_until
from harness.files import below, storage_size
from harness.http import Client
from harness.pulls import failure, images_named, pull
from harness.registry import FakeRegistry

MEGABYTE = 1 << 20


@pytest.mark.differs(reference="20.10 stops at 127 layers, all that overlayfs takes in a page of options")
@pytest.mark.parametrize("count", [129, 200])
def test_many_layers(engine, fake, count):
    """More than the kernel mounts at once."""
    layers = [images.layer(rootfs.busybox())]
    layers += [images.layer(images.files(**{f"layers__f{n}": str(n), "latest": str(n)})) for n in range(1, count)]
    name = fake.put(images.image(layers, config={"Cmd": ["sh"]}), f"many{count}", "v")
    pull(engine.api, name)
    out = engine.output("ls /layers | wc -l; cat /latest; echo written > /layers/f1; cat /layers/f1; rm /layers/f2; ls /layers | wc -l", image=name)
    assert out.split() == [str(count - 1), f"{count - 1}written", str(count - 2)]
    saved = engine.api.get(f"/images/{name}/get", expect=200).body
    engine.api.delete(f"/images/{name}", expect=200)
    engine.api.post("/images/load", body=saved, expect=200)
    assert len(engine.api.get(f"/images/{name}/json", expect=200).json["RootFS"]["Layers"]) == count


@pytest.fixture
def small_disk(own_engine, closing):
    """An engine whose data-root is a file system of 96 MB: (engine, registry)."""
    def prepare(engine):
        disk = engine.dir / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(96 * MEGABYTE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", disk], check=True)
        engine.data_root.mkdir()
        engine.sandbox.run(["mount", "-o", "loop", str(disk), str(engine.data_root)])

    engine = own_engine(prepare=prepare)
    return engine, closing(FakeRegistry(engine.sandbox))


def free(engine):
    """Bytes that are free on the small disk."""
    found = os.statvfs(engine.sandbox.root / str(engine.data_root).lstrip("/"))
    return found.f_bavail * found.f_frsize


def full(text):
    return "no space left on device" in text.lower()


def comes_back(engine, before):
    """What was half-made goes away again."""
    wait_until(lambda: free(engine) > before - 3 * MEGABYTE, what="free space as before")
    assert engine.output("echo still fine") == "still fine\n"
    assert engine.api.get(f"/images/{IMAGE}/json").status == 200


@pytest.mark.parametrize("compression", ["gzip", "plain"])
def test_full_disk_pull(small_disk, compression):
    engine, fake = small_disk
    before = free(engine)
    image = images.big(60 * MEGABYTE, seed=70, compression=compression, layers=2)
    name = fake.put(image, "too-big", "v")
    assert full(failure(engine.api.post("/images/create", fromImage=name)))
    assert images_named(engine.api, name) == []
    if not engine.is_reference:
        engine.api.post("/images/prune", expect=200)
    comes_back(engine, before)
    small = images.small("fits")
    pull(engine.api, fake.put(small, "fits", "v"))


def test_full_disk_import(small_disk):
    engine, _ = small_disk
    before = free(engine)
    data = images.files(big=images.noise(120 * MEGABYTE, 71))
    assert full(failure(engine.api.post("/images/create", body=data, fromSrc="-", repo="too-big")))
    assert images_named(engine.api, "too-big") == []
    comes_back(engine, before)


def test_full_disk_load(small_disk):
    engine, _ = small_disk
    before = free(engine)
    layer = images.files(big=images.noise(120 * MEGABYTE, 72))
    document = images.image([images.layer(layer, "plain")]).document
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["too-big:v"], "Layers": ["l.tar"]}]).encode()
    data = archive({"manifest.json": manifest, "c.json": document, "l.tar": layer})
    assert full(failure(engine.api.post("/images/load", body=data)))
    assert images_named(engine.api, "too-big") == []
    comes_back(engine, before)


def test_full_disk_commit(small_disk):
    """The container fills the disk; its commit cannot be; afterwards everything goes on."""
    engine, _ = small_disk
    before = free(engine)
    container = engine.start_container("dd if=/dev/urandom of=/big bs=1M count=60 2>/dev/null; sleep 1000")
    wait_until(lambda: free(engine) < before - 59 * MEGABYTE)
    answer = engine.api.post("/commit", {}, container=container.id, repo="too-big")
    assert answer.status == 500 and full(answer.message), answer.text
    assert images_named(engine.api, "too-big") == []
    container.remove(force=True)
    comes_back(engine, before)


def test_full_disk_by_a_container(small_disk):
    """A full disk is the container's trouble, not the engine's: it answers, stops and removes."""
    engine, _ = small_disk
    container = engine.start_container("dd if=/dev/zero of=/big bs=1M count=200; sleep 1000")
    wait_until(lambda: free(engine) < MEGABYTE)
    assert container.state["Running"]
    engine.api.get("/images/json", expect=200)
    container.remove(force=True)
    wait_until(lambda: free(engine) > 40 * MEGABYTE)
    assert engine.output("echo fine") == "fine\n"


def blob_files(engine):
    """The store's files of compressed layers, biggest first."""
    found = [path for path in below(engine.data_root) if path.is_file() and "blobs" in str(path.relative_to(engine.data_root))]
    return sorted(found, key=lambda path: -path.stat().st_size)


def verify(engine, *options):
    """What the verifying sub-command says about the store, with the daemon stopped: (exit code, text)."""
    done = engine.sandbox.run([program("gantry"), "verify", *options, "--data-root", str(engine.data_root)], check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_damaged_blob(own_engine, closing, engine_kind):
    """Noticed and named by the verifying command, mended by the next pull."""
    if engine_kind == "reference":
        return  # dockerd keeps no compressed layers and has no such command.
    engine = own_engine(images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.big(MEGABYTE, seed=73, layers=2)
    name = fake.put(image, "damaged", "v")
    pull(engine.api, name)
    engine.stop()
    code, text = verify(engine)
    assert code == 0, text
    victim = blob_files(engine)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    digest = next(layer.digest for layer in image.layers if layer.digest.removeprefix("sha256:") in str(victim))
    code, text = verify(engine)
    assert code != 0
    assert digest in text, text
    verify(engine, "--repair")
    engine.start()
    fake.log.clear()
    pull(engine.api, name)
    assert {seen.path.rsplit("/", 1)[1] for seen in fake.blob_requests()} == {digest}
    engine.stop()
    code, text = verify(engine)
    assert code == 0, text
    engine.start()
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_a_damaged_layer(own_engine, closing, engine_kind):
    """A file of an extracted layer is gone: named as well, and mended from the blob."""
    if engine_kind == "reference":
        return
    engine = own_engine()
    fake = closing(FakeRegistry(engine.sandbox))
    image = images.runnable("not damaged")
    name = fake.put(image, "damaged-layer", "v")
    pull(engine.api, name)
    engine.stop()
    victim = next(path for path in engine.data_root.rglob("marker") if path.is_file())
    victim.unlink()
    code, text = verify(engine)
    assert code != 0
    assert image.layers[1].diff_id in text or image.layers[1].digest in text, text
    verify(engine, "--repair")
    code, text = verify(engine)
    assert code == 0, text
    engine.start()
    assert engine.output(None, image=name) == "not damaged"


def test_verify_of_a_healthy_store(own_engine, engine_kind):
    if engine_kind == "reference":
        return
    engine = own_engine()
    engine.stop()
    code, text = verify(engine)
    assert code == 0, text


def test_prune_while_pulling(engine, fake):
    """Garbage collection at any time takes nothing that is being made."""
    stop = threading.Event()

    def prune():
        api = Client(engine.socket, "1.41")
        while not stop.is_set():
            api.post("/images/prune", timeout=30)
            stop.wait(0.005)

    thread = threading.Thread(target=prune, daemon=True)
    thread.start()
    try:
        for number in range(8):
            image = images.big(100_000, seed=80 + 3 * number, layers=3)
            name = fake.put(image, f"pruned{number}", "v")
            if engine.is_reference:  # 20.10 takes the lease away from under the pull now and then.
                engine.api.post("/images/create", fromImage=name)
            else:
                pull(engine.api, name)
    finally:
        stop.set()
        thread.join(30)
    assert len(images_named(engine.api, f"{fake.host}/*")) == 8 or engine.is_reference


def test_delete_while_pulling(engine, fake):
    """Removal of an image beside the pull of another that shares its layers."""
    layers = [images.layer(images.files(**{f"s{n}": images.noise(50_000, n)})) for n in range(3)]
    for number in range(6):
        first = images.image([*layers, images.layer(images.files(a=f"{number}"))])
        second = images.image([*layers, images.layer(images.files(b=f"{number}"))])
        one, two = fake.put(first, "one", f"t{number}"), fake.put(second, "two", f"t{number}")
        pull(engine.api, one)
        thread = threading.Thread(target=lambda: engine.api.delete(f"/images/{one}"))
        thread.start()
        pull(engine.api, two)
        thread.join(60)
        assert len(engine.api.get(f"/images/{two}/json", expect=200).json["RootFS"]["Layers"]) == 4
        engine.create(["/x"], image=two).remove()
        engine.api.delete(f"/images/{two}", expect=200)


def test_everything_goes(own_engine, closing):
    """Pulled, pushed, tagged, removed: the store is as small as before."""
    engine = own_engine(images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    before = storage_size(engine.data_root)
    for number in range(5):
        name = fake.put(images.big(400_000, seed=90 + number), f"goes{number}", "v")
        pull(engine.api, name)
    for image in engine.api.get("/images/json", all=True).json:
        engine.api.delete(f"/images/{image['Id']}", force=True, expect=200)
    engine.api.post("/images/prune", expect=200)
    wait_until(lambda: storage_size(engine.data_root) < before + 500_000, what="an empty store")


def test_identical_layers_are_stored_once(own_engine, closing):
    """The same content on other bases, and compressed in another way."""
    engine = own_engine(images=False)
    fake = closing(FakeRegistry(engine.sandbox))
    data = images.files(big=images.noise(4 * MEGABYTE, 99))
    before = storage_size(engine.data_root)
    one = images.image([images.layer(data)])
    pull(engine.api, fake.put(one, "alone", "v"))
    single = settled_size(engine) - before
    two = images.image([images.layer(images.files(base="1")), images.layer(data)])
    pull(engine.api, fake.put(two, "above", "v"))
    grown = settled_size(engine) - before - single
    # 20.10 keys layers by their chain and unpacks this one twice.
    assert grown < MEGABYTE or engine.is_reference, grown


def settled_size(engine):
    """What the store takes when the files of a pull that is over are gone: they go behind the answer."""
    ingest = engine.data_root / "images" / "ingest"
    wait_until(lambda: not ingest.exists() or not os.listdir(ingest), what="an ingest directory without files")
    return storage_size(engine.data_root)


def test_a_thousand_images(own_engine):
    """The list stays quick."""
    engine = own_engine(images=False)
    layer = images.layer(images.files(a="1"), "plain")
    members, manifest = {"layer.tar": layer.blob}, []
    for number in range(1000):
        members[f"{number}.json"] = images.image([layer], config={"Labels": {"number": str(number)}}).document
        manifest.append({"Config": f"{number}.json", "RepoTags": [f"many/image{number}:v"], "Layers": ["layer.tar"]})
    members["manifest.json"] = json.dumps(manifest).encode()
    engine.api.post("/images/load", body=archive(members), quiet=True, expect=200)
    took, found = quickest(lambda: engine.api.get("/images/json", expect=200).json)
    assert took < 2
    assert sum(len(image["RepoTags"]) for image in found) == 1000
    assert len(engine.api.get("/images/json", filters={"label": ["number=500"]}).json) == 1


def archive(members):
    """A tar of these files."""
    tar = rootfs.TarBuilder()
    for name, data in members.items():
        tar.add(name, data)
    return tar.bytes()
