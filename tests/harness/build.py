"""Builds: contexts made in memory, the stream taken apart, and images walked file by file."""

import io
import json
import re
import tarfile
from dataclasses import dataclass, field

from harness.rootfs import TarBuilder


def context(files=None, **named):
    """An archive of {path: content}; content is text, bytes, or a dict of what TarBuilder.add takes."""
    tar = TarBuilder()
    for path, content in {**(files or {}), **named}.items():
        if isinstance(content, dict):
            tar.add(path, **content)
        elif path.endswith("/"):
            tar.dir(path.rstrip("/"))
        else:
            tar.add(path, content)
    return tar.bytes()


@dataclass
class Build:
    """What a build said."""

    status: int
    messages: list
    text: str = ""
    id: str = ""
    error: str = ""
    code: int = 0
    cached: int = 0
    steps: list = field(default_factory=list)


def parse(status, body):
    messages = [json.loads(line) for line in body.splitlines() if line.strip()]
    build = Build(status, messages)
    for message in messages:
        build.text += message.get("stream", "")
        build.id = (message.get("aux") or {}).get("ID", build.id)
        if "errorDetail" in message:
            build.error = message["errorDetail"]["message"]
            build.code = message["errorDetail"].get("code", 0)
        if "message" in message:
            build.error = message["message"]
    short = re.search(r"^Successfully built ([0-9a-f]{12})$", build.text, re.M)
    # Before API 1.30 there is nothing but the text.
    build.id = build.id or (short[1] if short else "")
    build.steps = re.findall(r"^Step \d+/\d+ : (.*)$", build.text, re.M)
    build.cached = build.text.count("Using cache")
    return build


def build(engine, files, dockerfile=None, *, api=None, check=True, headers=None, path=None, timeout=180, **query):
    """POST /build; `files` are a context's, or the archive itself."""
    if path is not None:
        query["dockerfile"] = path
    if dockerfile is not None:
        files = {**files, "Dockerfile": dockerfile}
    body = files if isinstance(files, bytes) else context(files)
    sent = {"Content-Type": "application/x-tar", **(headers or {})}
    answer = (api or engine.api).request("POST", "/build", body=body, headers=sent, timeout=timeout, **query)
    built = parse(answer.status, answer.body)
    if check:
        assert built.status == 200 and not built.error, f"{built.status} {built.error}\n{built.text}"
        assert built.id or query.get("q"), built.text
    return built


def config(engine, image):
    return engine.api.get(f"/images/{image}/json", expect=200).json["Config"]


def history(engine, image):
    """Lines of the image's history, oldest first."""
    return [step["CreatedBy"] for step in reversed(engine.api.get(f"/images/{image}/history", expect=200).json)]


def document(engine, image):
    """The image's own document."""
    saved = tarfile.open(fileobj=io.BytesIO(engine.api.get(f"/images/{image}/get", expect=200).body))
    return json.load(saved.extractfile(json.load(saved.extractfile("manifest.json"))[0]["Config"]))


def layers(engine, image):
    """The members of each layer, lowest first: {name: TarInfo}."""
    saved = tarfile.open(fileobj=io.BytesIO(engine.api.get(f"/images/{image}/get", expect=200).body))
    names = json.load(saved.extractfile("manifest.json"))[0]["Layers"]
    return [{m.name: m for m in tarfile.open(fileobj=saved.extractfile(name))} for name in names]


def walk(engine, image, times=False):
    """Everything in an image: {path: (type, mode, owner, size or target, contents)}."""
    made = engine.create(["true"], image=image)
    exported = engine.api.get(f"{made.path}/export", expect=200, timeout=180).body
    made.remove()
    found = {}
    with tarfile.open(fileobj=io.BytesIO(exported)) as tar:
        for member in tar:
            name = member.name.strip("/")
            # What an engine puts into each container.
            if name in {".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "dev/console"} or not name:
                continue
            if name.split("/")[0] in {"dev", "proc", "sys"}:
                continue
            data = tar.extractfile(member).read() if member.isreg() else member.linkname
            kind = b"0" if member.isreg() else member.type
            entry = (kind, oct(member.mode & 0o7777), member.uid, member.gid, data)
            found[name] = (*entry, int(member.mtime)) if times and not member.isdir() else entry
    return found


# What a configuration may say otherwise, and why.
DIFFERENT = {
    "Hostname": "gone from newer images", "Domainname": "the same", "AttachStdin": "the same", "AttachStdout": "the same",
    "AttachStderr": "the same", "Tty": "the same", "OpenStdin": "the same", "StdinOnce": "the same",
    "Image": "the id of the image below, which is another one",
}


def described(engine, files, text, **query):
    """What two engines should agree on about the image of a Dockerfile: files, configuration, history, layers, author."""
    built = build(engine, {path: "" if data is None else data for path, data in files.items()}, text, **query)
    inspected = engine.api.get(f"/images/{built.id}/json", expect=200).json
    config = {k: v for k, v in inspected["Config"].items() if k not in DIFFERENT and v not in (None, "", [], {}, False)}
    # Digests are each engine's own; dockerd 20.10 forgets the space after an owner.
    lines = [re.sub(r"(--chown=\S+?)? ?(file|dir|multi):[0-9a-f]{64}", r"\1 \2:", line) for line in history(engine, built.id)]
    layers = len(inspected["RootFS"]["Layers"])
    return walk(engine, built.id), config, lines, layers, inspected["Author"]
