"""Contexts and Dockerfiles that want out, or want everything: a clear error, nothing left behind."""

import tarfile
import time

import pytest

from harness.build import build, context, walk
from harness.engine import wait_until

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
        assert built.error and time.monotonic() - before < 20
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
