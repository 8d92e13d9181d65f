"""Builds: many small steps, and large contexts."""

import io
import os
import subprocess
import tarfile
import uuid

from rows import IMAGE, MEGABYTE, clock, watched

STEPS, FILES = 20, 10_000
# The docker command of dockerd's own version, which speaks BuildKit without plugins.
COMMAND = "/usr/bin/docker"


def context(dockerfile, files=0):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        names = [("Dockerfile", dockerfile.encode())]
        names += [(f"dir{n % 100}/file{n}", b"%d\n" % n * 50) for n in range(files)]
        for name, data in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def build(api, body, query=""):
    said = []
    api.call("POST", f"/build?t=built:latest&networkmode=none{query}", body, "application/x-tar", sink=said.append)
    text = b"".join(said)
    if b"Successfully built" not in text:
        raise RuntimeError(text[-500:])
    return text


def twenty_steps():
    # A value of this round's own, so that nothing is known; labels are nothing to BuildKit.
    return f"FROM {IMAGE}\nRUN echo {uuid.uuid4()} > /round\n" + "".join(f"RUN echo {n} > /file{n}\n" for n in range(STEPS - 1))


def small_steps(engine, _ctx):
    """20 commands that do next to nothing."""
    api = engine.api()
    body = context(twenty_steps())
    return clock(lambda: build(api, body))


def by_command(engine, _ctx):
    """The same by the docker command: dockerd with BuildKit, Gantry without."""
    text = twenty_steps()
    environment = {**os.environ, "DOCKER_BUILDKIT": "1" if engine.name == "dockerd" else "0", "DOCKER_HOST": f"unix://{engine.socket}"}

    def work():
        subprocess.run([COMMAND, "build", "--quiet", "--network=none", "--tag=built", "-"], input=text.encode(), env=environment,
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)

    return clock(work)


def upload(path):
    def work(api):
        with open(path, "rb") as body:
            build(api, body)
    return work


def large_context(engine, ctx):
    """A gigabyte in a hundred files: how fast it is taken, and with how much memory."""
    most, seconds = watched(engine, lambda: upload(ctx.large_context)(engine.api()))
    size = os.path.getsize(ctx.large_context)
    if engine.name == "gantry":
        ctx.floor("context_speed", size / MEGABYTE / clock(lambda: copied(ctx.large_context)))
    return {"context_speed": size / MEGABYTE / seconds, "context_memory": most / MEGABYTE}


def copied(path):
    """What a disk and a pipe need for the same."""
    copy = f"{path}.copy"
    with open(copy, "wb") as out, subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as source:
        subprocess.run(["cat"], stdin=source.stdout, stdout=out, check=True)
    os.unlink(copy)


def many_files(engine, ctx):
    """200,000 small files."""
    most, seconds = watched(engine, lambda: upload(ctx.many_files_context)(engine.api()))
    return {"files_seconds": seconds, "files_memory": most / MEGABYTE}


def known(engine, _ctx):
    """A rebuild with a context of 10,000 files that changes nothing."""
    api = engine.api()
    body = context(f"FROM {IMAGE}\nCOPY . /all\nRUN true\n", FILES)
    build(api, body)
    seconds = []
    # dockerd takes its time.
    for _ in range(5 if engine.name == "gantry" else 1):
        text = []
        seconds.append(clock(lambda: text.append(build(api, body))) * 1000)
        if text[0].count(b"Using cache") != 2:
            raise RuntimeError("a step was not known")
    return {"build_known": seconds}
