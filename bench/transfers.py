"""Rows about registries: pull, push, the list of many images, and memory while a large image comes."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

import registry
from rows import MEGABYTE, clock, watched

AUTH = {"X-Registry-Auth": "e30="}


def fetch(api, name):
    """Pull; an error in the stream is one here."""
    repository, _, tag = name.rpartition(":")
    lines = []
    api.call("POST", f"/images/create?fromImage={repository}&tag={tag}", sink=lines.append)
    if b'"error"' in b"".join(lines):
        raise RuntimeError(b"".join(lines)[-500:])


def forget(api, name):
    """Remove an image that may be there, and what only it needed."""
    try:
        api.call("DELETE", f"/images/{name}?force=1")
    except RuntimeError:
        pass
    api.call("POST", "/images/prune")


def pull(engine, ctx):
    """Everything from the registry; seconds."""
    api = engine.api()
    ctx.image(engine)
    forget(api, registry.NAME)
    return clock(lambda: fetch(api, registry.NAME))


def pull_here(engine, ctx):
    """What is here already; milliseconds."""
    api = engine.api()
    return clock(lambda: fetch(api, registry.NAME)) * 1000


def send(api, repository, tag):
    lines = []
    api.call("POST", f"/images/{repository}/push?tag={tag}", sink=lines.append, headers=AUTH)
    if b'"error"' in b"".join(lines):
        raise RuntimeError(b"".join(lines)[-500:])


def push(engine, ctx):
    """The pulled image to a registry that has nothing of it; seconds."""
    return _push(engine, ctx, registry.NAME)


def push_made(engine, ctx):
    """An image of this engine's own making (an import) to a registry that has nothing; seconds."""
    api = engine.api()
    with open(ctx.big_tar, "rb") as tar:
        api.call("POST", "/images/create?fromSrc=-&repo=made&tag=v", tar, "application/x-tar")
    seconds = _push(engine, ctx, "made:v")
    forget(api, "made:v")
    return seconds


def _push(engine, ctx, source):
    api = engine.api()
    other = ctx.other_registry(engine)
    other.empty()
    target = f"127.0.0.1:{registry.OTHER_PORT}/bench/pushed"
    api.call("POST", f"/images/{source}/tag?repo={target}&tag=v")
    seconds = clock(lambda: send(api, target, "v"))
    api.call("DELETE", f"/images/{target}:v")
    return seconds


def thousand(place, count=1000):
    """An archive of so many images with one layer."""
    path = os.path.join(place, "thousand.tar")
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("file"), io.BytesIO())
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    manifest = []
    with tarfile.open(path, "w") as tar:
        def add(name, data):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

        add("layer.tar", layer.getvalue())
        for number in range(count):
            document = {"architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
                        "config": {"Labels": {"number": str(number)}}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
            add(f"{number}.json", json.dumps(document).encode())
            manifest.append({"Config": f"{number}.json", "RepoTags": [f"many/image{number}:v"], "Layers": ["layer.tar"]})
        add("manifest.json", json.dumps(manifest).encode())
    return path


def image_list(engine, ctx):
    """`GET /images/json` with 1,000 images; milliseconds."""
    api = engine.api()
    if engine.name not in ctx.with_thousand:
        with open(ctx.thousand_tar, "rb") as tar:
            api.call("POST", "/images/load?quiet=1", tar, "application/x-tar", sink=lambda _: None)
        ctx.with_thousand.add(engine.name)
    return clock(lambda: api.call("GET", "/images/json", sink=lambda _: None)) * 1000


def large_pull(engine, ctx):
    """The most memory during a pull of a large image, and the pull's megabytes a second."""
    api = engine.api()
    ctx.large_image(engine)
    most, seconds = watched(engine, lambda: fetch(api, registry.LARGE_NAME))
    forget(api, registry.LARGE_NAME)
    return {"large_memory": most / MEGABYTE, "large_speed": ctx.large_bytes / MEGABYTE / seconds}


class Tools:
    """What the stages of a pull cost when the machine does nothing else: the same bytes through the usual tools."""

    name = "tools"

    def __init__(self, ctx, place):
        self.ctx = ctx
        self.scratch = os.path.join(place, "scratch")
        self.rows = {"pull": self.measure}

    def measure(self):
        """One after the other; noted as rows of their own."""
        blobs = self.ctx.layout.blob_paths()
        for key, work in {
            "floor_gzip": lambda: self._sink(["gzip", "-dc", *blobs]),
            "floor_sha_blobs": lambda: self._sink(["sha256sum", *blobs]),
            "floor_sha_tars": lambda: self._sink(["sha256sum", *self.ctx.layout.archives]),
            "floor_tar": self._untar,
        }.items():
            self.ctx.floor(key, clock(work))

    def _sink(self, command):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def _untar(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
        os.mkdir(self.scratch)
        for archive in self.ctx.layout.archives:
            subprocess.run(["tar", "-xf", archive, "-C", self.scratch], check=True)

    def stop(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
