"""Contexts and Dockerfiles that want out, or want everything: a clear error, nothing left behind."""

import io
import socket
import tarfile
import threading
import time

import pytest

from harness import images
from harness.build import build, context, walk
from harness.engine import wait_until
from harness.registry import FakeRegistry
from harness.servers import Server

BASE = "FROM busybox:e2e\n"


def nothing_is_left(engine):
    assert engine.api.get("/containers/json", all=True).json == []
    if not engine.is_reference and (engine.data_root / "build/tmp").exists():
        wait_until(lambda: not list((engine.data_root / "build/tmp").iterdir()), what="the build's directories to be gone")


@pytest.fixture
def secret(engine):
    """A file of the host's that no build may see."""
    path = engine.dir / "secret"
    path.write_text("of the host")
    return path


def link(to):
    return {"kind": tarfile.SYMTYPE, "link": str(to)}


def test_links_in_the_context(engine, secret):
    files = {"absolute": link(secret), "relative": link("../" * 20 + str(secret)[1:]), "dir": link(secret.parent),
             "root": link("/"), "loop": link("loop")}
    for source in ("absolute", "relative", "dir/secret", f"root{secret}", "loop"):
        built = build(engine, files, BASE + f"COPY {source} /stolen\n", check=False, nocache=True)
        assert built.error, source
    # A link inside of a directory is copied as it is, and so leads somewhere in the image.
    built = build(engine, {f"d/{k}": v for k, v in files.items() if k != "loop"}, BASE + "COPY d /d\n")
    assert walk(engine, built.id)["d/absolute"][4] == str(secret)
    nothing_is_left(engine)


def test_links_in_the_image(engine, secret):
    text = BASE + f"RUN ln -s {secret.parent} /out && ln -s {secret} /file\nCOPY f /out/secret\nCOPY f /file\n"
    built = build(engine, {"f": "from the context"}, text)
    assert secret.read_text() == "of the host"
    found = walk(engine, built.id)
    assert found[str(secret)[1:]][4] == b"from the context"
    nothing_is_left(engine)


def test_a_stage_that_links_to_the_host(engine, secret):
    text = f"FROM busybox:e2e AS evil\nRUN ln -s {secret} /link && ln -s / /root2\n" + BASE
    for source in ("/link", f"/root2{secret}"):
        built = build(engine, {}, text + f"COPY --from=evil {source} /x\n", check=False)
        assert built.error and "of the host" not in built.text


@pytest.mark.parametrize("path", ["../a", "a/../../b", "..", "/../../a"])
def test_paths_that_lead_out(engine, path):
    built = build(engine, {"a": "x"}, BASE + f"COPY {path} /x\n", check=False)
    assert built.error
    nothing_is_left(engine)


def test_archive_paths_that_lead_out(engine, secret):
    body = context({"Dockerfile": BASE + "COPY . /x\n", "../" * 12 + str(secret)[1:]: "overwritten"})
    built = build(engine, body, check=False)
    assert secret.read_text() == "of the host"
    # dockerd takes it for a path below the context's top.
    assert built.error or engine.is_reference or not any("secret" in name for name in walk(engine, built.id))


def test_unpacked_archives_stay_inside(engine, secret):
    evil = context({"l": link(secret.parent), "l/secret": "overwritten"})
    built = build(engine, {"evil.tar": evil}, BASE + "ADD evil.tar /x/\n", check=False)
    assert secret.read_text() == "of the host", built.text


def test_a_context_that_breaks_off(engine):
    body = context({"Dockerfile": BASE, "big": "x" * 100000})[:50000]
    built = build(engine, body, check=False)
    assert built.status >= 400 and built.error
    nothing_is_left(engine)


def test_no_archive_at_all(engine):
    built = build(engine, b"FROM busybox:e2e\n" * 100, check=False)
    assert built.status >= 400 and built.error


GIANT = {
    "doubling": lambda n: "ENV a=" + "x" * 70 + "\n" + "ENV a=$a$a$a$a\n" * n,
    "long": lambda n: "RUN true " + "x" * 375_000 * (n - 2) + "\n",
    "deep": lambda n: "ARG a=" + "${b:-" * 100 * n + "}" * 100 * n + "\n",
    "slow": lambda n: "ENV a=" + "x" * 12_500 * n + "\nENV b=${a##" + "*x" * 500 * n + "}\n",
}


@pytest.mark.parametrize("kind", GIANT)
def test_giant_words(engine, kind):
    if not engine.is_reference:
        # dockerd takes all of them, and its time and memory for it.
        before = time.monotonic()
        built = build(engine, {}, BASE + GIANT[kind](14), check=False)
        assert built.error and time.monotonic() - before < 60
    if kind == "doubling":
        # What is large and no giant is done.
        build(engine, {}, BASE + GIANT[kind](2))
    engine.api.get("/_ping", expect=200)
    nothing_is_left(engine)


def test_endless_output_ends_with_the_client(engine):
    # dockerd keeps what nobody reads without end.
    output = "yes | head -c 6000000" if engine.is_reference else "yes"
    body = context({"Dockerfile": BASE + f"RUN {output}\n"})
    answer = engine.api.request("POST", "/build", body=body, headers={"Content-Type": "application/x-tar"}, stream=True)
    seen = 0
    for chunk in answer.chunks():
        seen += len(chunk)
        if seen > 5_000_000 and not engine.is_reference:
            break
    assert seen > 5_000_000
    answer.close()
    wait_until(lambda: engine.api.get("/containers/json", all=True).json == [], what="the end of the build")
    nothing_is_left(engine)


def test_a_fork_bomb_under_a_limit(engine):
    text = BASE + "RUN ulimit -u 40; f() { f | f & }; f; sleep 1; echo alive\n"
    build(engine, {}, text, memory=64 << 20, check=False, forcerm=True, ulimits='[{"Name":"nproc","Soft":40,"Hard":40}]')
    engine.api.get("/_ping", expect=200)
    nothing_is_left(engine)


def test_stages_that_name_themselves(engine):
    for text in ("FROM itself AS itself\n", "FROM second AS first\nFROM first AS second\n", BASE.strip() + " AS a\nCOPY --from=a /x /y\n"):
        built = build(engine, {}, text, check=False)
        assert built.error
    nothing_is_left(engine)


def leave(engine, dockerfile, reached, **files):
    """Begins a build, waits until `reached()`, and goes away."""
    body = context({"Dockerfile": dockerfile, **files})
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(engine.socket))
    sock.sendall(b"POST /v1.41/build?nocache=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(body) + body)
    reached(sock)
    sock.close()


def stalled(server, path, body=bytes(2 << 20)):
    """A file of which half comes; the event says that it was asked for, the list gets how it ended."""
    asked, ended = threading.Event(), []

    def action(handler):
        try:
            handler.head(200, len(body))
            handler.send(body[:len(body) // 2])
            asked.set()
            # The other side says nothing more until it goes.
            ended.append(handler.connection.recv(1))
        except OSError:
            ended.append(b"")

    server.on("GET", f"^{path}$", action)
    return asked, ended


@pytest.mark.parametrize("kind", ["pull", "add", "git", "copy"])
def test_a_client_that_leaves(engine, closing, kind):
    """Whatever the build is waiting for, it ends with its client, and leaves nothing."""
    if kind == "copy":
        big = {f"d{n}/f{m}": "x" * 1000 for n in range(40) for m in range(50)}
        leave(engine, BASE + "COPY . /x\n" * 8, lambda sock: time.sleep(0.3), **big)
    elif kind == "git":
        if engine.is_reference:
            return  # It has no git as a source.
        listener = engine.sandbox.socket("host")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        connections = []
        leave(engine, BASE + f"ADD git://127.0.0.1:{listener.getsockname()[1]}/r /x\n", lambda sock: connections.append(listener.accept()[0]))
        connections[0].settimeout(30)
        while connections[0].recv(1 << 16):
            pass
        listener.close()
    else:
        if kind == "add":
            server = closing(Server(engine.sandbox))
            asked, ended = stalled(server, "/slow")
            text = BASE + f"ADD {server.url}/slow /x\n"
        else:
            server = closing(FakeRegistry(engine.sandbox))
            image = images.big(3 << 20, seed=5, layers=1)
            text = f"FROM {server.put(image, 'slow', 'v')}\n"
            asked, ended = stalled(server, f"/v2/slow/blobs/{image.layers[0].digest}", image.layers[0].blob)
        leave(engine, text, lambda sock: asked.wait(30))
        # dockerd notices only when it writes to the client.
        if not engine.is_reference:
            wait_until(lambda: ended, what="the end of the download")
    wait_until(lambda: engine.api.get("/containers/json", all=True).json == [], what="the end of the build")
    nothing_is_left(engine)


def test_giant_arguments(engine):
    """More than the kernel hands to a program is a mistake, and no harm."""
    for text in (f"ENV a={'x' * 200_000}\n", f"ARG a={'y' * 3_000_000}\n"):
        failed = build(engine, {}, BASE + text + "RUN true\n", check=False, forcerm=True)
        assert failed.error, failed.text[:1000]
    assert build(engine, {}, BASE + "ARG a\nRUN echo ${#a} > /a\n", buildargs={"a": "z" * 30_000}).id
    engine.api.get("/_ping", expect=200)
    nothing_is_left(engine)


def test_a_full_disk(own_engine):
    """A file system of 300 MB as the engine's: a bomb in an archive, a command that writes without end."""
    bomb = io.BytesIO()
    with tarfile.open(fileobj=bomb, mode="w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 600 << 20
        tar.addfile(info, Zeros(info.size))

    def prepare(engine):
        engine.data_root.mkdir()
        engine.sandbox.run(["mount", "-t", "tmpfs", "-o", "size=300m", "none", str(engine.data_root)])

    engine = own_engine(prepare=prepare)

    def used():
        out = engine.sandbox.run(["df", "--output=used", "-k", str(engine.data_root)]).stdout
        return int(out.split()[-1])

    before = used()
    for text, files in [("ADD bomb.tar.gz /x\n", {"bomb.tar.gz": bomb.getvalue()}), ("RUN cat /dev/zero > /zeros\n", {})]:
        failed = build(engine, files, BASE + text, check=False, forcerm=True)
        assert "no space left" in failed.error.lower() or "returned a non-zero code" in failed.error or "disk" in failed.error, failed.error
        wait_until(lambda: used() < before + 10_000, what="the space to be free again")
        assert engine.api.get("/containers/json", all=True).json == []
    if not engine.is_reference:
        wait_until(lambda: not list((engine.sandbox.root / str(engine.data_root)[1:] / "build/tmp").iterdir()), what="nothing to be left")
    build(engine, {"f": "x"}, BASE + "COPY f /f\nRUN echo y > /y\n")


class Zeros:
    """A file of nothing."""

    def __init__(self, size):
        self.left = size

    def read(self, count=-1):
        count = self.left if count < 0 else min(count, self.left)
        self.left -= count
        return bytes(count)


def test_links_in_destinations(engine, secret):
    """A layer of its own, a working directory and an archive do not follow links of the image out of it either."""
    text = BASE + f"""RUN ln -s {secret.parent} /out && ln -s / /top && mkdir /d && ln -s ../../../../../../{str(secret.parent)[1:]} /d/up
WORKDIR /out/made
COPY f /d/up/by-copy
ADD evil.tar /d/up/
COPY f /top/top/top/at-top
"""
    names = sorted(path.name for path in secret.parent.iterdir())
    built = build(engine, {"f": "x", "evil.tar": context({"sub/f": "y", "sub/up": link("../../.."), "secret": "z"})}, text, check=False)
    assert secret.read_text() == "of the host" and sorted(path.name for path in secret.parent.iterdir()) == names
    assert "of the host" not in built.text
    if built.id:
        found = walk(engine, built.id)
        assert found["at-top"][4] == b"x" and f"{str(secret.parent)[1:]}/by-copy" in found
    nothing_is_left(engine)
