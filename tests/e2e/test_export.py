"""`GET /containers/{id}/export`, and back by import."""

import io
import tarfile
import time

import pytest

from harness.cli import Cli
from harness.rootfs import TarBuilder


def export(container, **options):
    answer = container.api.get(f"{container.path}/export", expect=200, **options)
    assert answer.headers["content-type"] == "application/octet-stream"
    return answer.body


def members(data):
    return {m.name: m for m in tarfile.open(fileobj=io.BytesIO(data))}


@pytest.mark.parametrize("running", [True, False])
def test_the_root_file_system_and_nothing_else(engine, running):
    volume = engine.name("vol")
    container = engine.create("echo x > /own; echo y > /data/in-volume; rm /bin/probe; rm -rf /home; mkdir /home; echo made;"
                              + ("sleep 1000" if running else "true"),
                              host={"Binds": [f"{volume}:/data"], "Tmpfs": {"/tmp": ""}})
    container.start()
    container.wait_log("made")
    if not running:
        container.wait()
    found = members(export(container))
    assert found["bin/busybox"].isreg() and found["bin/sh"].linkname == "busybox"
    assert "own" in found and "data" in found
    assert not [name for name in found if name.startswith(("data/in-volume", "proc/", "sys/", "bin/probe", "home/"))]
    # Names in order, and each directory before what is in it.
    names = [name for name in found if not name.startswith("dev")]
    assert all(name.rpartition("/")[0] in ("", *names[:at]) for at, name in enumerate(names))


def test_a_container_that_never_ran(engine):
    container = engine.create(["true"])
    assert members(export(container))["etc/passwd"].size > 0


def test_round_trip(engine):
    """Owners, attributes, hard links, sparse files, long names and devices survive export and import."""
    long = "long-" * 40
    archive = TarBuilder().dir("bin").dir("d", mode=0o2750, uid=70000, gid=3000000000, mtime=1500000000)
    archive.add("d/f", "data", mode=0o4755, uid=1000, gid=5000000)
    archive.add("d/h", kind=tarfile.LNKTYPE, link="d/f", mode=0o4755, uid=1000, gid=5000000)
    archive.add(f"d/{long}/{long}", "deep", mtime=1).symlink("d/s", "/" + "t" * 200, uid=7)
    archive.add("d/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o600).add("d/loop", kind=tarfile.BLKTYPE, devmajor=7, devminor=300)
    archive.add("d/pipe", kind=tarfile.FIFOTYPE).add("d/sparse", bytes(5 << 20))
    archive.add("d/ünïcödé", "x")
    archive.add("d/cap", "x", pax_headers={"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04" + "\x00" * 14})
    engine.api.post("/images/create", body=archive.bytes(), fromSrc="-", repo="odd", expect=200)
    first = export(engine.create(["/x"], image="odd"))
    engine.api.post("/images/create", body=first, fromSrc="-", repo="odd-again", expect=200)
    second = export(engine.create(["/x"], image="odd-again"))

    def shown(data):
        facts = ("type", "mode", "uid", "gid", "size", "linkname", "devmajor", "devminor")
        times = lambda m: 0 if m.name in ("etc", "dev") or m.name.startswith((".docker", "dev/", "etc/", "proc", "sys")) else m.mtime
        return {name: ([getattr(m, fact) for fact in facts], times(m), m.pax_headers.get("SCHILY.xattr.security.capability"))
                for name, m in members(data).items()}

    found = members(first)
    assert shown(first) == shown(second)
    assert (found["d"].mode & 0o7777, found["d"].uid, found["d"].gid, found["d"].mtime) == (0o2750, 70000, 3000000000, 1500000000)
    assert found["d/h"].islnk() and found["d/h"].linkname == "d/f"
    assert found["d/f"].mode & 0o7777 == 0o4755 and found[f"d/{long}/{long}"].size == 4
    assert (found["d/loop"].devmajor, found["d/loop"].devminor) == (7, 300)
    assert found["d/sparse"].size == 5 << 20 and "d/ünïcödé" in found and len(found["d/s"].linkname) == 201
    assert "SCHILY.xattr.security.capability" in found["d/cap"].pax_headers


def test_the_image_that_it_makes_runs(engine):
    container = engine.start_container("echo kept > /kept")
    container.wait()
    engine.api.post("/images/create", body=export(container), fromSrc="-", repo="exported", expect=200)
    assert engine.output("cat /kept /etc/passwd | head -1", image="exported") == "kept\n"


def test_events_and_unknown_containers(engine):
    since = int(time.time()) - 1
    container = engine.create(["true"])
    export(container)
    events = engine.api.get("/events", since=since, until=int(time.time()) + 1, filters={"container": [container.id]}, expect=200).objects
    assert [e["Action"] for e in events] == ["create", "export"]
    assert engine.api.get("/containers/nobody/export", expect=404).message == "No such container: nobody"


def test_docker_export(engine, docker_path, tmp_path):
    docker = Cli(docker_path, engine)
    container = engine.create(["true"])
    docker("export", "-o", tmp_path / "out.tar", container.id)
    assert "bin/busybox" in tarfile.open(tmp_path / "out.tar").getnames()
    piped = docker("export", container.id, text=False).stdout
    docker("import", "-", "piped:1", stdin=piped, text=False)
    assert engine.output("echo runs", image="piped:1") == "runs\n"
