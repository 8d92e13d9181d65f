"""docker-registry beside each engine, all of them on one storage, and the image that is pulled from it."""

import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import payload

# Like an image of a language's runtime: one large layer below, ever smaller ones above. Sums to 1.
SHARES = [0.4, 0.2, 0.15, 0.1, 0.06, 0.04, 0.03, 0.02]
PORT, OTHER_PORT = 5000, 5001
NAME = f"127.0.0.1:{PORT}/bench/app:v"
LARGE_NAME = f"127.0.0.1:{PORT}/bench/large:v"


def inside(pid, *command):
    """The command line in the network namespace of a process."""
    return ["nsenter", "-t", str(pid), "-n", "--", *map(str, command)]


class Registry:
    """One process on a port of an engine's own loopback."""

    def __init__(self, engine, port, storage):
        self.storage = Path(storage)
        self.config = Path(engine.dir) / f"registry-{port}.yml"
        self.config.write_text(json.dumps({
            "version": "0.1", "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(storage)}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"}}))
        command = inside(engine.process.pid, "docker-registry", "serve", self.config)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # It lives beside the engine but is none of its processes.
        engine.strangers.add(self.process.pid)
        probe = inside(engine.process.pid, "curl", "-sf", f"http://127.0.0.1:{port}/v2/")
        deadline = time.monotonic() + 20
        while subprocess.run(probe, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("docker-registry did not start")
            time.sleep(0.02)

    def empty(self):
        """Forget everything that was pushed."""
        shutil.rmtree(self.storage / "docker", ignore_errors=True)

    def stop(self):
        self.process.kill()
        self.process.wait()


def digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            found.update(piece)
    return found.hexdigest()


class Layout:
    """An OCI layout with one image, as skopeo reads it."""

    def __init__(self, folder):
        self.dir = Path(folder)
        self.blobs = self.dir / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.layers, self.diff_ids, self.archives = [], [], []

    def add_layer(self, archive):
        """One more layer from a tar file, which is kept for whoever measures tools on it."""
        packed = self.dir / "packed"
        with open(packed, "wb") as out:
            subprocess.run(["gzip", "-6", "-n", "-c", archive], stdout=out, check=True)
        self.layers.append(self._keep(packed, "application/vnd.oci.image.layer.v1.tar+gzip"))
        self.diff_ids.append("sha256:" + digest(archive))
        self.archives.append(archive)

    def finish(self):
        document = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]}, "created": "2024-01-01T00:00:00Z",
                    "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}
        config = self._write(document, "application/vnd.oci.image.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
                    "layers": self.layers}
        entry = self._write(manifest, manifest["mediaType"])
        entry["annotations"] = {"org.opencontainers.image.ref.name": "v"}
        (self.dir / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        (self.dir / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        return self

    def _write(self, value, media_type):
        path = self.dir / "document"
        path.write_text(json.dumps(value))
        return self._keep(path, media_type)

    def _keep(self, path, media_type):
        name = digest(path)
        size = path.stat().st_size
        path.rename(self.blobs / name)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": size}

    def blob_paths(self):
        """Files of the compressed layers."""
        return [self.blobs / layer["digest"].removeprefix("sha256:") for layer in self.layers]

    def push(self, engine, name):
        subprocess.run(inside(engine.process.pid, "skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
                              "--format", "v2s2", f"oci:{self.dir}:v", f"docker://{name}"), check=True, stdout=subprocess.DEVNULL)


def eight_layers(place, size):
    """`size` bytes in eight layers of many small files and some large ones."""
    layout = Layout(Path(place) / "layout")
    for number, share in enumerate(SHARES):
        layout.add_layer(payload.archive(place, int(size * share), f"layer{number}", number))
    return layout.finish()


def large(place, size):
    """`size` bytes in eight layers that do not compress, quickly made."""
    layout = Layout(Path(place) / "large-layout")
    for number in range(8):
        path = payload.noise_archive(place, size // 8, f"large{number}")
        layout.add_layer(path)
        os.unlink(path)
    return layout.finish()


class Peer:
    """Another tool that pulls: skopeo to a directory, podman to its storage."""

    def __init__(self, name, engine, place):
        self.name = name
        self.engine = engine
        self.dir = Path(place) / name.replace(" ", "-")
        self.rows = {"pull": self.pull}

    def pull(self):
        """Seconds."""
        self._clean()
        self.dir.mkdir()
        begin = time.perf_counter()
        subprocess.run(inside(self.engine.process.pid, *self._command()), check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - begin

    def _command(self):
        if self.name == "skopeo":
            return ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", f"docker://{NAME}", f"dir:{self.dir}/image"]
        return ["podman", "--root", self.dir / "root", "--runroot", self.dir / "run", "--storage-driver", "overlay", "pull",
                "--quiet", "--tls-verify=false", NAME]

    def _clean(self):
        overlay = self.dir / "root/overlay"
        if os.path.ismount(overlay):
            subprocess.run(["umount", overlay], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self):
        self._clean()


def peers(engine, place):
    """Those that are installed."""
    return [Peer(name, engine, place) for name in ("skopeo", "podman") if shutil.which(name)]
