"""Registries: Debian's docker-registry as a process, and one of the tests' own that can be told to misbehave."""

import base64
import json
import os
import re
import shutil
import subprocess
import threading
import time
import uuid

from harness import images
from harness.engine import wait_until
from harness.sandbox import OUTSIDE_ADDRESS, die_with_parent
from harness.servers import Server

USER, PASSWORD = "alice", "secret"
# bcrypt of PASSWORD; docker-registry takes no other kind.
HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
# Bytes that a gate keeps for the time in which it is shut.
LAST_WORDS = 600
NAME = r"[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"


def auth_header(**fields):
    """X-Registry-Auth as the docker command sends it."""
    fields = fields or {"username": USER, "password": PASSWORD}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


class DebianRegistry:
    """`docker-registry serve` in the engine's network, with storage of its own or another's."""

    def __init__(self, engine, where="host", port=None, tls=None, client_ca=None, htpasswd=False, token=None,
                 storage=None):
        self.engine = engine
        self.address = "127.0.0.1" if where == "host" else OUTSIDE_ADDRESS
        self.port = port or engine.sandbox.free_port(where, self.address)
        self.dir = engine.dir / f"registry-{uuid.uuid4().hex[:8]}"
        self.dir.mkdir()
        self.storage = self.dir / "data"
        config = {"version": "0.1", "log": {"level": "warn"},
                  "storage": {"filesystem": {"rootdirectory": str(storage or self.storage)}, "delete": {"enabled": True}},
                  "http": {"addr": f"{self.address}:{self.port}", "secret": "tests"}}
        if tls is not None:
            config["http"]["tls"] = {"certificate": str(tls.cert), "key": str(tls.key)}
            if client_ca is not None:
                config["http"]["tls"]["clientcas"] = [str(client_ca)]
        if htpasswd:
            (self.dir / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(self.dir / "htpasswd")}}
        if token is not None:
            config["auth"] = {"token": token}
        file = self.dir / "config.yml"
        file.write_text(json.dumps(config))
        namespaces = ["nsenter", "-t", str(engine.sandbox.pid if where == "host" else engine.sandbox.outside_pid), "-n", "--"]
        self.log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen([*namespaces, "docker-registry", "serve", str(file)], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, preexec_fn=die_with_parent)
        wait_until(lambda: self._answers(where), what="the registry")

    def _answers(self, where):
        assert self.process.poll() is None, (self.dir / "log").read_text()
        probe = self.engine.sandbox.socket(where)
        try:
            return probe.connect_ex((self.address, self.port)) == 0
        finally:
            probe.close()

    @property
    def host(self):
        return f"{self.address}:{self.port}"

    def skopeo(self, *args, check=True):
        """skopeo in the engine's network."""
        tmp = self.dir / "skopeo"
        tmp.mkdir(exist_ok=True)
        done = self.engine.sandbox.run(["env", f"TMPDIR={tmp}", "skopeo", "--insecure-policy", *args], check=False)
        assert not check or done.returncode == 0, f"skopeo {' '.join(map(str, args))}:\n{done.stderr}"
        return done

    def raw(self, name):
        """(manifest bytes, digest) of `repository:tag` as skopeo reads it."""
        out = self.engine.sandbox.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{self.host}/{name}"]).stdout
        return out.encode(), images.sha256(out.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class FakeRegistry(Server):
    """A registry that keeps everything in memory, records everything, and lies when told so."""

    def __init__(self, sandbox, *args, auth=None, **options):
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        self.linked = set()  # (repository, digest): a blob is seen in repositories that have it
        self.auth = auth
        self.ranges = True
        self.mounts = True
        super().__init__(sandbox, *args, **options)

    # Filling it.

    def put(self, image, repository, *tags):
        """An image, by its digest and these tags; returns the name of the first (or of the digest)."""
        for digest, blob in image.blobs.items():
            self.blobs[digest] = blob
            self.linked.add((repository, digest))
        return self.put_manifest(repository, image.media_type, image.manifest, *tags)

    def put_manifest(self, repository, media_type, data, *tags):
        for reference in [images.sha256(data), *tags]:
            self.manifests[repository, reference] = (media_type, data)
        return f"{self.host}/{repository}:{tags[0]}" if tags else f"{self.host}/{repository}@{images.sha256(data)}"

    def put_index(self, repository, members, *tags, kind=images.DOCKER, **fields):
        """An index of images, with the images."""
        for one in members:
            if isinstance(one, images.Image):
                self.put(one, repository)
        return self.put_manifest(repository, *images.index(members, kind, **fields), *tags)

    # Asking about what happened.

    def blob_requests(self, digest=None, method="GET"):
        return self.requests(method, f"/blobs/{digest or 'sha256:'}")

    def sent(self, digest):
        """Bytes of a blob that were sent so far, in all requests."""
        return sum(seen.sent for seen in self.blob_requests(digest))

    # Answering.

    def answer(self, handler):
        path = handler.seen.path
        if self.auth is not None and not self.auth.allows(handler):
            return
        if path in ("/v2/", "/v2"):
            handler.reply(200, b"{}", {"Content-Type": "application/json"})
        elif found := re.fullmatch(f"/v2/({NAME})/manifests/(.+)", path):
            self.manifest(handler, *found.groups())
        elif found := re.fullmatch(f"/v2/({NAME})/blobs/(sha256:[0-9a-f]{{64}})", path):
            self.blob(handler, *found.groups())
        elif found := re.fullmatch(f"/v2/({NAME})/blobs/uploads/(.*)", path):
            self.upload(handler, *found.groups())
        elif found := re.fullmatch(f"/v2/({NAME})/tags/list", path):
            self.tags(handler, found[1])
        else:
            self.error(handler, 404, "NOT_FOUND", "nothing here")

    def error(self, handler, status, code, message, headers=None):
        # With a detail, as real registries have it: Docker reads errors without one as something else.
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": {"path": handler.seen.path}}]}).encode()
        handler.reply(status, body, {"Content-Type": "application/json", **(headers or {})})

    def manifest(self, handler, repository, reference):
        if handler.command == "PUT":
            data = handler.body()
            media_type = handler.headers.get("Content-Type")
            self.put_manifest(repository, media_type, data, *([] if ":" in reference else [reference]))
            handler.reply(201, b"", {"Location": handler.path, "Docker-Content-Digest": images.sha256(data)})
        elif (repository, reference) not in self.manifests:
            self.error(handler, 404, "MANIFEST_UNKNOWN", "manifest unknown")
        else:
            media_type, data = self.manifests[repository, reference]
            handler.reply(200, data, {"Content-Type": media_type, "Docker-Content-Digest": images.sha256(data)})

    def blob(self, handler, repository, digest):
        data = self.blobs.get(digest)
        if data is None or (repository, digest) not in self.linked:
            self.error(handler, 404, "BLOB_UNKNOWN", "blob unknown to registry")
            return
        self.send_blob(handler, data)

    def send_blob(self, handler, data, limit=None):
        """The range that was asked for; with `limit` the connection ends after so many bytes of it."""
        seen = handler.seen
        headers = {"Content-Type": "application/octet-stream", **({"Accept-Ranges": "bytes"} if self.ranges else {})}
        start, end = 0, len(data)
        if self.ranges and handler.headers.get("Range"):
            start, end = seen.start, min(len(data), seen.end or len(data))
            if start >= len(data):
                handler.reply(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        body = data[start:end]
        handler.head(206 if "Content-Range" in headers else 200, len(body), headers)
        if handler.command == "HEAD":
            return
        handler.send(body if limit is None else body[:limit])
        if limit is not None and limit < len(body):
            handler.cut()

    def upload(self, handler, repository, id):
        if handler.command == "POST":
            self.start_upload(handler, repository)
        elif id not in self.uploads:
            handler.body()
            self.error(handler, 404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        elif handler.command == "PATCH":
            self.uploads[id] += handler.body()
            handler.reply(202, b"", self.upload_headers(repository, id))
        elif handler.command == "PUT":
            data = self.uploads.pop(id) + handler.body()
            digest = handler.seen.query.get("digest")
            if digest != images.sha256(data):
                self.error(handler, 400, "DIGEST_INVALID", "provided digest did not match uploaded content")
                return
            self.blobs[digest] = data
            self.linked.add((repository, digest))
            handler.reply(201, b"", {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})
        else:
            handler.reply(204, b"", self.upload_headers(repository, id))

    def start_upload(self, handler, repository):
        handler.body()
        query = handler.seen.query
        if self.mounts and (query.get("from"), query.get("mount")) in self.linked:
            self.linked.add((repository, query["mount"]))
            handler.reply(201, b"", {"Location": f"/v2/{repository}/blobs/{query['mount']}",
                                     "Docker-Content-Digest": query["mount"]})
            return
        id = str(uuid.uuid4())
        self.uploads[id] = b""
        handler.reply(202, b"", self.upload_headers(repository, id))

    def upload_headers(self, repository, id):
        return {"Location": f"{self.url}/v2/{repository}/blobs/uploads/{id}?_state=tests", "Docker-Upload-UUID": id,
                "Range": f"0-{max(0, len(self.uploads[id]) - 1)}"}

    def tags(self, handler, repository):
        found = sorted({tag for name, tag in self.manifests if name == repository and ":" not in tag})
        if not found and not any(name == repository for name, _ in self.manifests):
            self.error(handler, 404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        size = int(handler.seen.query.get("n") or 1000)
        after = handler.seen.query.get("last", "")
        page = [tag for tag in found if tag > after][:size]
        headers = {"Content-Type": "application/json"}
        if page and page[-1] != found[-1]:
            headers["Link"] = f'</v2/{repository}/tags/list?last={page[-1]}&n={size}>; rel="next"'
        handler.reply(200, json.dumps({"name": repository, "tags": page}).encode(), headers)


# Actions for FakeRegistry.on.

def cut_after(registry, count):
    """Send so many bytes of the blob, then end the connection."""
    def action(handler):
        digest = handler.seen.path.rsplit("/", 1)[1]
        registry.send_blob(handler, registry.blobs[digest], count)
    return action


class Gate:
    """Send so many bytes of a blob, then wait until told to `open`."""

    def __init__(self, registry, count):
        self.registry, self.count = registry, count
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, handler):
        data = self.registry.blobs[handler.seen.path.rsplit("/", 1)[1]]
        seen = handler.seen
        start, end = seen.start, min(len(data), seen.end or len(data))
        body = data[start:end]
        ranged = {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"} if handler.headers.get("Range") else {}
        handler.head(206 if ranged else 200, len(body), {"Accept-Ranges": "bytes", **ranged})
        at = self.count - LAST_WORDS
        handler.send(body[:at])
        self.reached.set()
        # Engines say how far they are when something arrives, and at most ten times a second: a byte now and then makes
        # them speak of the rest, however late they have read it.
        deadline = time.monotonic() + 60
        while not self.opened.wait(0.1):
            if time.monotonic() > deadline:
                return handler.cut()
            if at < self.count:
                handler.send(body[at:at + 1])
                at += 1
        handler.send(body[at:])

    def wait(self):
        assert self.reached.wait(30), "nobody asked for the blob"

    def open(self):
        self.opened.set()


def wrong_bytes(registry):
    """As many bytes as there should be, one of them another."""
    def action(handler):
        data = bytearray(registry.blobs[handler.seen.path.rsplit("/", 1)[1]])
        data[len(data) // 2] ^= 1
        registry.send_blob(handler, bytes(data))
    return action
