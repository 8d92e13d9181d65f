"""Archives that lie, attack or end too early: one clear error, and nothing left behind."""

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from harness.engine import wait_until
from harness.files import sizes, storage_size
from harness.rootfs import TarBuilder

BLOCK = tarfile.BLKTYPE
CHARACTER = tarfile.CHRTYPE
HARD = tarfile.LNKTYPE
SYMLINK = tarfile.SYMTYPE


def unchanged(engine, before):
    """No content came. Logs, databases and the like may change at any time."""
    new = lambda: {name: size for name, size in sizes(engine.data_root).items()
                   if name not in before and not name.endswith((".db", ".redb", ".log"))}
    try:
        wait_until(lambda: not new())  # Temporary files go behind the answer.
    except AssertionError:
        raise AssertionError(new()) from None
    assert storage_size(engine.data_root) - sum(before.values()) < 2_000_000


def refused(engine, data, path="/images/create", **query):
    """The engine answers with an error, stays up, and keeps nothing."""
    engine.api.get("/_ping", expect=200)
    images = engine.api.get("/images/json", all=True).json
    before = sizes(engine.data_root)
    if path == "/images/create":
        query = {"fromSrc": "-", "repo": "hostile", **query}
    answer = engine.api.post(path, body=data, **query)
    objects = answer.objects
    assert answer.status >= 400 or any("error" in o for o in objects), answer.text
    assert engine.api.get("/images/json", all=True).json == images
    unchanged(engine, before)
    return objects[-1].get("message") or objects[-1]["error"]


def good():
    return TarBuilder().dir("etc").add("etc/a", "x" * 50000).add("etc/b", "y" * 50000).bytes()


@pytest.mark.parametrize("keep", [700, 30_000, 52_000, 60_000])
def test_truncated(engine, keep):
    refused(engine, good()[:keep])


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_gzip(engine, keep):
    import os
    data = gzip.compress(TarBuilder().add("r", os.urandom(100000)).bytes())
    refused(engine, data[:int(len(data) * keep)])


def test_corrupt_gzip(engine):
    import os
    data = bytearray(gzip.compress(TarBuilder().add("r", os.urandom(100000)).bytes()))
    data[len(data) // 2] ^= 0xFF
    refused(engine, bytes(data))


@pytest.mark.parametrize("data", [b"this is not an archive" * 100, b"\0" * 300, b"\x1f\x8b" + b"\0" * 600, b"PK\3\4" * 500])
def test_not_an_archive(engine, data):
    answer = engine.api.post("/images/create", body=data, fromSrc="-", repo="hostile")
    if engine.is_reference and answer.status == 200 and "error" not in answer.objects[-1]:
        return  # 20.10 takes some of these for an empty archive.
    assert answer.status >= 400 or "error" in answer.objects[-1], answer.text


def test_bad_checksum(engine):
    data = bytearray(good())
    data[20] ^= 1
    refused(engine, bytes(data))


ESCAPES = {
    "absolute": lambda t: t.add("/escape-absolute", "x"),
    "dotdot": lambda t: t.add("../escape-dotdot", "x"),
    "deep-dotdot": lambda t: t.add("a/../../../../../../../../../tmp/escape-deep", "x"),
    "through-symlink": lambda t: t.symlink("l", "/tmp").add("l/escape-through-symlink", "x"),
    "through-relative-symlink": lambda t: t.symlink("l", "../../../../../../../../../tmp").add("l/escape-relative", "x"),
    "through-symlink-chain": lambda t: t.symlink("a", "/").symlink("b", "a/tmp").add("b/escape-chain", "x"),
    "through-proc-symlink": lambda t: t.symlink("l", "/proc/self/root/tmp").add("l/escape-proc", "x"),
    "dir-over-symlink": lambda t: t.symlink("l", "/tmp").dir("l").add("l/escape-dir-over", "x"),
    "hardlink-outside": lambda t: t.add("passwd", kind=HARD, link="/etc/passwd").add("passwd", "owned"),
    "hardlink-dotdot": lambda t: t.add("h", kind=HARD, link="../../../../../../../etc/passwd"),
    "hardlink-through-symlink": lambda t: t.symlink("l", "/etc").add("h", kind=HARD, link="l/passwd"),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_escape(engine, escape):
    """Refused, or confined below the image's own root; never outside."""
    from pathlib import Path
    passwd = Path("/etc/passwd").read_bytes()
    links = Path("/etc/passwd").stat().st_nlink
    answer = engine.api.post("/images/create", body=ESCAPES[escape](TarBuilder()).bytes(), fromSrc="-", repo="escape")
    assert answer.objects
    for place in (Path("/tmp"), Path("/"), engine.sandbox.root / "tmp", engine.sandbox.root, engine.data_root, engine.dir):
        assert not list(place.glob("escape-*")), place
    assert Path("/etc/passwd").read_bytes() == passwd
    assert Path("/etc/passwd").stat().st_nlink == links


def archive(layers, diff_ids=None, **config):
    """A docker-archive whose parts may lie."""
    diff_ids = diff_ids or ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]
    text = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, **config,
                       "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    tar = TarBuilder().add("config.json", text)
    for n, layer in enumerate(layers):
        tar.add(f"{n}.tar", layer)
    tar.add("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["lying:1"],
                                          "Layers": [f"{n}.tar" for n in range(len(layers))]}]))
    return tar


def test_load_wrong_diff_id(engine):
    message = refused(engine, archive([good()], ["sha256:" + "0" * 64]).bytes(), "/images/load")
    assert "invalid diffID for layer 0" in message


def test_load_too_few_layers(engine):
    refused(engine, archive([good()], ["sha256:" + "0" * 64] * 2).bytes(), "/images/load")


def test_load_truncated(engine):
    data = archive([good()]).bytes()
    refused(engine, data[:len(data) // 2], "/images/load")


@pytest.mark.parametrize("name", ["../../../../../../../../etc/passwd", "/etc/passwd"])
def test_load_config_from_outside(engine, name):
    data = TarBuilder().add("manifest.json", json.dumps([{"Config": name, "RepoTags": ["x:1"], "Layers": []}])).bytes()
    message = refused(engine, data, "/images/load")
    assert "root:" not in message


@pytest.mark.parametrize("link", ["/etc/passwd", "../../../../../../../../../etc/passwd"])
def test_load_symlink_for_a_part(engine, link):
    data = TarBuilder().symlink("c.json", link).add(
        "manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": []}])).bytes()
    message = refused(engine, data, "/images/load")
    assert "root:" not in message


@pytest.mark.parametrize("manifest", ["", "{", "null", "[]", "[null]", '[{"Config":5}]', "x" * 1000])
def test_load_bad_manifest(engine, manifest):
    data = TarBuilder().add("manifest.json", manifest).bytes()
    answer = engine.api.post("/images/load", body=data)
    if not engine.is_reference and manifest != "[]":  # Nothing to load is no error.
        assert answer.status >= 400 or "error" in answer.objects[-1]
    engine.api.get("/_ping", expect=200)


def test_load_bad_name(engine):
    tar = TarBuilder().add("c.json", json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}))
    tar.add("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["../EVIL"], "Layers": []}]))
    answer = engine.api.post("/images/load", body=tar.bytes())
    assert answer.status >= 400 or "error" in answer.objects[-1]
    engine.api.get("/_ping", expect=200)


def test_bomb(engine):
    """A small archive that unpacks to much: refused, or taken; the engine lives and leaves nothing when it fails.

    Half a terabyte of zeros in one sparse-looking entry must not be written out.
    """
    if engine.is_reference:
        return  # 20.10 would fill the disk.
    info = tarfile.TarInfo("bomb")
    info.size = 1 << 39
    head = info.tobuf(tarfile.GNU_FORMAT)

    def parts():
        import zlib
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        yield packer.compress(head)
        zeros = b"\0" * (1 << 20)
        for _ in range(64):
            piece = packer.compress(zeros)
            if piece:
                yield piece
        yield packer.flush()

    refused(engine, b"".join(parts()))


@pytest.mark.parametrize("size", ["-1", "huge", "overflow"])
def test_bad_sizes(engine, size):
    info = tarfile.TarInfo("f")
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[124:136] = {"-1": b"\xff" * 12, "huge": b"77777777777\0", "overflow": b"\x80" + b"\x7f" * 11}[size]
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    refused(engine, bytes(head) + b"\0" * 2048)


def test_many_entries_with_long_names(engine):
    tar = TarBuilder()
    for n in range(2000):
        tar.add("d/" * 40 + "n" * 200 + str(n), "x")
    answer = engine.api.post("/images/create", body=tar.bytes(), fromSrc="-", repo="names")
    assert answer.status == 200, answer.text


def test_client_goes_away(engine):
    """An upload that is cut off leaves nothing."""
    from harness.http import Connection
    before = sizes(engine.data_root)
    images = engine.api.get("/images/json", all=True).json
    connection = Connection(engine.socket)
    connection.write(b"POST /v1.41/images/create?fromSrc=-&repo=gone HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    data = good()[:70_000]
    connection.write(b"%x\r\n%s\r\n" % (len(data), data))
    connection.close()
    from harness.engine import wait_until

    def settled():
        try:
            new = sizes(engine.data_root).keys() - before.keys()
        except FileNotFoundError:
            return False  # It went while we looked.
        return all(name.endswith((".db", ".redb")) for name in new)

    if not engine.is_reference:
        wait_until(settled, what="the clean-up after a cut upload")
    assert engine.api.get("/images/json", all=True).json == images
