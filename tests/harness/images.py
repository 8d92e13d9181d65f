"""Images made in memory: layers, documents, manifests and indexes, right ones and, by hand, wrong ones."""

import gzip
import hashlib
import io
import json
import random
import shutil
import subprocess
import tarfile
from dataclasses import dataclass, field

from harness.rootfs import TarBuilder, busybox, cache_dir, debian, locked

DOCKER, OCI = "docker", "oci"
MANIFEST = {DOCKER: "application/vnd.docker.distribution.manifest.v2+json",
            OCI: "application/vnd.oci.image.manifest.v1+json"}
INDEX = {DOCKER: "application/vnd.docker.distribution.manifest.list.v2+json",
         OCI: "application/vnd.oci.image.index.v1+json"}
DOCUMENT = {DOCKER: "application/vnd.docker.container.image.v1+json", OCI: "application/vnd.oci.image.config.v1+json"}
LAYER = {
    (DOCKER, "gzip"): "application/vnd.docker.image.rootfs.diff.tar.gzip",
    (DOCKER, "zstd"): "application/vnd.docker.image.rootfs.diff.tar.zstd",
    (DOCKER, "plain"): "application/vnd.docker.image.rootfs.diff.tar",
    (OCI, "gzip"): "application/vnd.oci.image.layer.v1.tar+gzip",
    (OCI, "zstd"): "application/vnd.oci.image.layer.v1.tar+zstd",
    (OCI, "plain"): "application/vnd.oci.image.layer.v1.tar",
}


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


COMPRESS = {"gzip": lambda d: gzip.compress(d, 1, mtime=0), "zstd": zstd, "plain": bytes}


def noise(size, seed=0):
    """Bytes that do not compress, the same each time."""
    return random.Random(seed).randbytes(size)


def files(**content):
    """A layer's archive with these files (`a__b` is a/b)."""
    tar = TarBuilder()
    for name, data in content.items():
        tar.add(name.replace("__", "/"), data)
    return tar.bytes()


def without_padding(data):
    """The same archive with nothing but the two zero blocks at its end."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.getmembers()
        return data[:tar.offset] + b"\0" * 1024


@dataclass
class Layer:
    """One layer as it is sent."""

    blob: bytes
    diff_id: str
    compression: str = "gzip"
    descriptor: dict = field(default_factory=dict)  # what the manifest says otherwise than the truth

    @property
    def digest(self):
        return sha256(self.blob)


def layer(data, compression="gzip", **descriptor):
    return Layer(COMPRESS[compression](data), sha256(data), compression, descriptor)


@dataclass
class Image:
    """A manifest, its document and its layers."""

    kind: str
    layers: list
    document: bytes
    manifest: bytes
    media_type: str
    platform: dict

    @property
    def digest(self):
        return sha256(self.manifest)

    @property
    def id(self):
        return sha256(self.document)

    @property
    def blobs(self):
        return {self.id: self.document, **{layer.digest: layer.blob for layer in self.layers}}

    def descriptor(self):
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest),
                "platform": self.platform}


def image(layers, kind=DOCKER, *, config=None, architecture="amd64", os="linux", variant=None, document=None,
          manifest=None):
    """An image of these layers; `document` and `manifest` replace fields of the two documents."""
    platform = {"architecture": architecture, "os": os, **({"variant": variant} if variant else {})}
    body = {**platform, "config": config or {}, "created": "2024-01-02T03:04:05Z",
            "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"layer {n}"} for n in range(len(layers))],
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]}, **(document or {})}
    document = json.dumps(body).encode()
    body = {"schemaVersion": 2, "mediaType": MANIFEST[kind],
            "config": {"mediaType": DOCUMENT[kind], "digest": sha256(document), "size": len(document)},
            "layers": [{"mediaType": LAYER[kind, one.compression], "digest": one.digest, "size": len(one.blob),
                        **one.descriptor} for one in layers], **(manifest or {})}
    return Image(kind, layers, document, json.dumps(body, indent=3).encode(), body["mediaType"], platform)


def small(marker, kind=DOCKER, compression="gzip", **options):
    """A small image with one file that says `marker`."""
    return image([layer(files(marker=marker), compression)], kind, **options)


def runnable(marker="", kind=DOCKER, compression="gzip", extra=(), **options):
    """Busybox with a layer on top whose /marker says `marker`; `extra` are more archives."""
    archives = [busybox(), files(marker=marker), *extra]
    return image([layer(data, compression) for data in archives], kind,
                 config={"Cmd": ["cat", "/marker"], "Env": ["PATH=/bin"]}, **options)


def big(size, seed=0, kind=DOCKER, compression="gzip", layers=1):
    """Layers of noise, `size` bytes each."""
    return image([layer(files(**{f"noise{n}": noise(size, seed + n)}), compression) for n in range(layers)], kind)


def index(images, kind=DOCKER, **fields):
    """(media type, bytes) of an index of images, or of descriptors."""
    manifests = [one.descriptor() if isinstance(one, Image) else one for one in images]
    body = {"schemaVersion": 2, "mediaType": INDEX[kind], "manifests": manifests, **fields}
    return INDEX[kind], json.dumps(body, indent=3).encode()


def write_layout(folder, image):
    """An OCI layout directory with one image called `v`."""
    (folder / "blobs/sha256").mkdir(parents=True)
    for digest, blob in {**image.blobs, image.digest: image.manifest}.items():
        (folder / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(blob)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = {**image.descriptor(), "annotations": {"org.opencontainers.image.ref.name": "v"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def real_layout(kind, compression="gzip"):
    """Path of an OCI layout with a Debian (`rootfs.debian`) in three layers called `v`; made the first time."""
    path = cache_dir() / f"debian-{kind}-layout-{compression}"
    archive = debian(kind)
    with locked(path.name):
        if not path.exists():
            making = cache_dir() / f"making-{path.name}"
            shutil.rmtree(making, ignore_errors=True)
            above = [files(etc__top="top\n"), TarBuilder().add("usr/share/doc/.wh..wh..opq", "").bytes()]
            layers = [layer(data, compression) for data in [archive.read_bytes(), *above]]
            write_layout(making, image(layers, OCI, config={"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}))
            making.rename(path)
    return path
