"""Builds: many small steps, and a large context of which everything is known."""

import io
import tarfile
import uuid

from rows import IMAGE, clock

STEPS, FILES = 20, 10_000


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


def small_steps(engine, _ctx):
    """20 commands that do next to nothing."""
    api = engine.api()
    # A value of this round's own, so that nothing is known.
    text = f"FROM {IMAGE}\nLABEL round={uuid.uuid4()}\n" + "".join(f"RUN echo {n} > /file{n}\n" for n in range(STEPS))
    body = context(text)
    return clock(lambda: build(api, body))


def known(engine, _ctx):
    """A rebuild with a context of 10,000 files that changes nothing."""
    api = engine.api()
    body = context(f"FROM {IMAGE}\nCOPY . /all\nRUN true\n", FILES)
    build(api, body)
    seconds = []
    for _ in range(5):
        text = []
        seconds.append(clock(lambda: text.append(build(api, body))) * 1000)
        if text[0].count(b"Using cache") != 2:
            raise RuntimeError("a step was not known")
    return {"build_known": seconds}
