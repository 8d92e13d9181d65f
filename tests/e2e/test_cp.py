"""Files into containers and out of them: `/containers/{id}/archive` and `docker cp`."""

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
import threading
import time

import pytest

from harness.cli import Cli
from harness.engine import wait_until
from harness.rootfs import TarBuilder

TREE = ("mkdir -p /w/d/e; echo hi > /w/d/f; ln /w/d/f /w/d/g; ln -s d /w/l; ln -s /etc /w/abs; ln -s nope /w/dangling;"
        "ln -s /w/loop /w/loop; mkfifo /w/fifo; mknod /w/null c 1 3; chown 1000:1001 /w/d/f; chmod 4751 /w/d/f;"
        "chmod 1777 /w/d/e; touch -d '2001-02-03 04:05:06' /w/d/f")
DIRECTORY, SYMLINK, FIFO, DEVICE = 1 << 31, 1 << 27, 1 << 25, 1 << 26 | 1 << 21
SETUID, STICKY = 1 << 23, 1 << 20


@pytest.fixture(params=["running", "stopped"])
def tree(request, engine):
    """A container with the tree in /w."""
    container = engine.create(f"{TREE}; echo made; [ {request.param} = stopped ] || sleep 1000")
    container.start()
    container.wait_log("made")
    if request.param == "stopped":
        container.wait()
    return container


@pytest.fixture
def box(engine):
    """A running container with the tree in /w."""
    container = engine.create(f"{TREE}; echo made; sleep 1000")
    container.start()
    container.wait_log("made")
    return container


def stat(container, path):
    answer = container.api.request("HEAD", f"{container.path}/archive", path=path, expect=200)
    assert answer.body == b""
    return json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))


def get(container, path):
    answer = container.api.get(f"{container.path}/archive", path=path, expect=200)
    assert answer.headers["content-type"] == "application/x-tar"
    assert json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"])) == stat(container, path)
    return tarfile.open(fileobj=io.BytesIO(answer.body))


def put(container, path, data, expect=200, **query):
    headers = {"Content-Type": "application/x-tar"}
    return container.api.request("PUT", f"{container.path}/archive", body=data, headers=headers, path=path, expect=expect, **query)


def one(name="x", data="hello", **options):
    return TarBuilder().add(name, data, **options).bytes()


def raw_names(container, path):
    """Names as the archive has them, final slashes included."""
    data = container.api.get(f"{container.path}/archive", path=path, expect=200).body
    names, at = [], 0
    while data[at]:
        names.append(data[at:at + 100].rstrip(b"\0").decode())
        at += 512 + -(-int(data[at + 124:at + 135], 8) // 512) * 512
    return names


@pytest.mark.parametrize("path, name, mode, target", [
    ("/w/d", "d", DIRECTORY | 0o755, ""), ("/w/d/", "d", DIRECTORY | 0o755, ""), ("/w/d/.", ".", DIRECTORY | 0o755, ""),
    ("w/d", "d", DIRECTORY | 0o755, ""), ("/w/../w/./d", "d", DIRECTORY | 0o755, ""), ("/", "/", DIRECTORY | 0o755, ""),
    ("..", "/", DIRECTORY | 0o755, ""), ("/.", ".", DIRECTORY | 0o755, ""), ("/w/d/e", "e", DIRECTORY | STICKY | 0o777, ""),
    ("/w/l", "l", SYMLINK | 0o777, "/w/d"), ("/w/l/", "l", DIRECTORY | 0o755, ""), ("/w/l/.", ".", DIRECTORY | 0o755, ""),
    ("/w/abs", "abs", SYMLINK | 0o777, "/etc"), ("/w/dangling", "dangling", SYMLINK | 0o777, "/w/nope"),
    ("/w/l/f", "f", SETUID | 0o751, ""), ("/w/fifo", "fifo", FIFO | 0o644, ""), ("/w/null", "null", DEVICE | 0o644, ""),
])
def test_stat(box, path, name, mode, target):
    found = stat(box, path)
    assert (found["name"], found["mode"], found["linkTarget"]) == (name, mode, target)


def test_stat_of_a_file(tree):
    assert stat(tree, "/w/d/f") == {"name": "f", "size": 3, "mode": SETUID | 0o751, "mtime": "2001-02-03T04:05:06Z", "linkTarget": ""}
    assert stat(tree, "/w/l")["size"] == 1


@pytest.mark.parametrize("path, status, message", [
    ("/nope", 404, "Could not find the file /nope in container {id}"),
    ("/w/dangling/", 404, "Could not find the file /w/dangling/ in container {id}"),
    ("/w/loop", (400, 500), "too many links in"), ("/w/loop/", (400, 500), "too many links in"),
    ("/w/d/f/", (400, 500), "not a directory"), ("/w/d/f/.", (400, 500), "not a directory"),
    ("/dev/null", 404, "Could not find the file /dev/null in container {id}"),
    ("", 400, "bad parameter: pathcannot be empty"),
])
def test_what_cannot_be_read(box, path, status, message):
    answer = box.api.get(f"{box.path}/archive", path=path, expect=status)
    assert message.format(id=box.id) in answer.message
    assert box.api.request("HEAD", f"{box.path}/archive", path=path, expect=status).body == b""


def test_unknown_containers(engine):
    for method in ("HEAD", "GET", "PUT"):
        assert engine.api.request(method, "/containers/nobody/archive", path="/", expect=404)
        engine.api.request(method, "/containers/nobody/archive", expect=400)


def test_names_of_the_entries(box):
    inside = ["e/", "f", "g"]
    for path, first in [("/w/d", "d/"), ("/w/d/", "d/"), ("/w/d/.", "./"), ("/w/l/", "l/"), ("/w/l/.", "./")]:
        assert raw_names(box, path) == [first] + [first + name for name in inside]
    assert raw_names(box, "/w/d/f") == ["f"]
    root = raw_names(box, "/")
    assert root[0] == "/" and "/bin/busybox" in root
    assert "./bin/busybox" in raw_names(box, "/.")


def test_everything_of_a_file_comes_out(tree):
    archive = get(tree, "/w")
    f, g = archive.getmember("w/d/f"), archive.getmember("w/d/g")
    assert (f.mode & 0o7777, f.uid, f.gid, f.mtime, f.size) == (0o4751, 1000, 1001, 981173106, 3)
    assert archive.extractfile(f).read() == b"hi\n"
    assert g.islnk() and g.linkname == "w/d/f"
    null = archive.getmember("w/null")
    assert null.ischr() and (null.devmajor, null.devminor) == (1, 3)
    assert archive.getmember("w/fifo").isfifo()
    assert archive.getmember("w/dangling").linkname == "nope"
    assert get(tree, "/w/l").getmember("l").issym()


def test_binds_and_volumes_are_part_of_it(engine):
    host = engine.dir / engine.name("host")
    host.mkdir()
    (host / "file").write_text("from the host")
    binds = [f"{host}:/w/bind", f"{host}:/ro:ro", f"{engine.name('vol')}:/data"]
    for running in (False, True):
        container = engine.create(["sleep", "1000"], host={"Binds": binds})
        if running:
            container.start()
        assert get(container, "/w/bind/file").extractfile("file").read() == b"from the host"
        assert "data/seed" in get(container, "/data").getnames()
        put(container, "/w/bind", one("in", "by copy"))
        assert (host / "in").read_text() == "by copy"
        put(container, "/data/sub", one("deep"))
        assert get(container, "/data/sub/deep").getnames() == ["deep"]
        refused = put(container, "/ro", one(), expect=(403, 500))
        assert refused.message == "mounted volume is marked read-only"
        assert not (host / "x").exists()
        container.remove(force=True)


def test_a_read_only_root(engine):
    container = engine.start_container(["sleep", "1000"], host={"ReadonlyRootfs": True, "Binds": [f"{engine.name('vol')}:/data"]})
    for _ in range(2):
        assert put(container, "/", one(), expect=(403, 500)).message == "container rootfs is marked read-only"
        put(container, "/data", one())
        if container.state["Running"]:
            container.kill()
            container.wait()


def test_into_a_container_that_never_ran(engine):
    container = engine.create("cat /new/x; stat -c %u:%g:%a /new/x /new")
    archive = TarBuilder().dir("new", mode=0o711, uid=7).add("new/x", "text\n", mode=0o640, uid=5, gid=6).bytes()
    put(container, "/", archive)
    container.start()
    container.wait()
    assert container.logs()[0] == "text\n5:6:640\n7:0:711\n"


def test_into_a_volume_that_no_run_has_mounted(engine):
    container = engine.create("cat /fresh/x", host={"Binds": [f"{engine.name('vol')}:/fresh"]})
    put(container, "/fresh", one(data="text\n"))
    assert get(container, "/fresh").getnames() == ["fresh", "fresh/x"]
    container.start()
    container.wait()
    assert container.logs()[0] == "text\n"


@pytest.mark.parametrize("path, status, message", [
    ("/w/d/f", (400, 500), "extraction point is not a directory"), ("/w/fifo", (400, 500), "extraction point is not a directory"),
    ("/nope", 404, "Could not find the file /nope in container"), ("/w/nope/x", 404, "Could not find the file /w/nope/x in container"),
    ("/w/dangling", 404, "Could not find the file /w/dangling in container"), ("", 400, "bad parameter: pathcannot be empty"),
])
def test_where_nothing_can_be_extracted(box, path, status, message):
    assert message in put(box, path, one(), expect=status).message


def test_what_is_there_is_merged_and_replaced(box):
    put(box, "/w", TarBuilder().dir("d", mode=0o700).add("d/f", "new").add("d/e/added", "x").add("fifo", "no fifo").bytes())
    assert box.exec("cat /w/d/f /w/fifo; stat -c %a /w/d; ls /w/d /w/d/e")[1] == "newno fifo700\n/w/d:\ne\nf\ng\n\n/w/d/e:\nadded\n"
    # g was another name of the old f.
    assert box.exec("cat /w/d/g")[1] == "hi\n"
    put(box, "/w", TarBuilder().add("d", "a file").dir("d/").bytes())
    assert box.exec("test -d /w/d; ls -A /w/d")[:2] == (0, "")


def test_directories_and_files_do_not_replace_each_other_on_request(box):
    refused = put(box, "/w", one("d"), noOverwriteDirNonDir=True, expect=(400, 500))
    assert 'cannot overwrite directory "/w/d" with non-directory "/w"' in refused.message
    refused = put(box, "/w/d", TarBuilder().dir("f").bytes(), noOverwriteDirNonDir=True, expect=(400, 500))
    assert 'cannot overwrite non-directory "/w/d/f" with directory "/w/d"' in refused.message
    put(box, "/w", TarBuilder().dir("d").add("d/f", "new").bytes(), noOverwriteDirNonDir=True)
    assert box.exec("cat /w/d/f; ls /w/d")[1] == "newe\nf\ng\n"


def test_links_in_the_way_are_followed_inside(box):
    put(box, "/w", TarBuilder().add("l/through", "1").add("abs/through", "2").bytes())
    put(box, "/w/l", one("end", "3"))
    put(box, "/w/abs/", one("end", "4"))
    assert box.exec("cat /w/d/through /etc/through /w/d/end /etc/end; test -L /w/l && test -L /w/abs")[:2] == (0, "1234")


def test_parents_that_an_archive_leaves_out_are_made(box):
    put(box, "/w", one("new/a/b", uid=5))
    assert box.exec("stat -c %n:%u:%a /w/new /w/new/a /w/new/a/b")[1] == "/w/new:0:755\n/w/new/a:0:755\n/w/new/a/b:5:644\n"


def test_all_kinds_of_entries(box):
    archive = TarBuilder().add("f", "data", mode=0o750, uid=1, gid=2).add("su", "", mode=0o4755, uid=1, gid=2)
    archive.add("h", kind=tarfile.LNKTYPE, link="f", mode=0o750, uid=1, gid=2)
    archive.symlink("s", "/etc/passwd", uid=3, gid=4).add("p", kind=tarfile.FIFOTYPE)
    archive.add("c", kind=tarfile.CHRTYPE, devmajor=1, devminor=5).add(".wh.f", "").add(".wh..wh..opq", "")
    archive.dir("dir", mode=0o2711, uid=5, gid=6, mtime=1500000000).add("dir/in", "x").add("n" * 150, "long")
    put(box, "/w/d/e", archive.bytes())
    out = box.exec("cd /w/d/e; stat -c '%n %a %u %g %h %F %Y' f su s p c dir; cat h; readlink s; ls -A | wc -l; head -c 1 c | od -An -tx1")[1]
    assert out.splitlines() == [
        "f 750 1 2 2 regular file 1700000000", "su 4755 1 2 1 regular empty file 1700000000", "s 777 3 4 1 symbolic link 1700000000", "p 644 0 0 1 fifo 1700000000",
        "c 644 0 0 1 character special file 1700000000", "dir 2711 5 6 2 directory 1500000000", "data/etc/passwd", "10", " 00"]


def test_the_directory_itself_stays_as_it_is(box):
    put(box, "/w/d", TarBuilder().dir("./", mode=0o700, uid=9).add("./x", "y").bytes())
    assert box.exec("stat -c %a:%u /w/d")[1] == "755:0\n"


@pytest.mark.parametrize("user, owner", [("alice", "1000:1000"), ("1001", "1001:1001"), ("", "5:6")])
@pytest.mark.differs(reference="looks users up on the host")
def test_the_containers_user_gets_the_files(engine, user, owner, request):
    if engine.is_reference and user != "alice":
        pytest.xfail("numbers and nobody are the same on every host")
    container = engine.create(["true"], User=user)
    put(container, "/", one(uid=5, gid=6), copyUIDGID=True)
    member = get(container, "/x").getmember("x")
    assert f"{member.uid}:{member.gid}" == owner


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"])
def test_compressed_archives(box, pack):
    put(box, "/w", pack(one(data="packed")))
    assert box.exec("cat /w/x")[1] == "packed"


@pytest.mark.differs(reference="does not know zstd")
def test_archives_compressed_by_zstd(box):
    packed = subprocess.run(["zstd", "-c"], input=one(data="packed"), capture_output=True, check=True).stdout
    put(box, "/w", packed)
    assert box.exec("cat /w/x")[1] == "packed"


def test_nothing_and_rubbish(box):
    put(box, "/w", b"")
    put(box, "/w", b"no archive" * 1000, expect=(400, 500))
    put(box, "/w", TarBuilder().add("half", "x" * 100_000).bytes()[:50_000], expect=(400, 500))
    assert box.exec("ls /w")[1].split() == ["abs", "d", "dangling", "fifo", "half", "l", "loop", "null"]


@pytest.mark.parametrize("archive, message", [
    (one("../out"), '"../out" is outside of'), (one("a/../../out"), "outside of"),
    (TarBuilder().symlink("s", "../../etc").bytes(), 'invalid symlink "/w/s" -> "../../etc"'),
    (TarBuilder().add("h", kind=tarfile.LNKTYPE, link="../etc/passwd").bytes(), "../etc/passwd"),
    (TarBuilder().add("h", kind=tarfile.LNKTYPE, link="nope").bytes(), "nope"),
])
def test_archives_that_lead_out_of_the_directory(box, archive, message):
    assert message in put(box, "/w", archive, expect=(400, 500)).message
    assert box.exec("ls /w")[1].split() == ["abs", "d", "dangling", "fifo", "l", "loop", "null"]


def test_a_mount_is_not_replaced(engine):
    container = engine.start_container(host={"Binds": [f"{engine.name('vol')}:/w/vol"]})
    assert "busy" in put(container, "/w", one("vol"), expect=(400, 500)).message
    assert "busy" in put(container, "/etc", one("hosts"), expect=(400, 500)).message


def test_a_paused_container(box):
    box.api.post(f"{box.path}/pause", expect=204)
    put(box, "/w", one(data="while paused"))
    assert get(box, "/w/x").extractfile("x").read() == b"while paused"
    box.api.post(f"{box.path}/unpause", expect=204)


def test_what_is_mounted_by_the_container_is_not_seen(engine):
    container = engine.start_container("echo hidden > /tmp/t; echo ready; sleep 1000", host={"Tmpfs": {"/tmp": ""}})
    container.wait_log("ready")
    assert get(container, "/tmp").getnames() == ["tmp"]
    assert get(container, "/proc").getnames() == ["proc"]


def test_large_files_come_through(engine):
    container = engine.create("md5sum /big /zeros; stat -c %s /zeros")
    random = os.urandom(1 << 20)
    archive = TarBuilder().add("big", random * 40).add("zeros", bytes(30 << 20)).bytes()
    put(container, "/", iter([archive[at:at + 100_000] for at in range(0, len(archive), 100_000)]))
    assert get(container, "/big").extractfile("big").read() == random * 40


def test_a_client_that_goes_away(engine, box):
    box.exec("dd if=/dev/zero of=/w/big bs=1M count=64")
    answer = box.api.get(f"{box.path}/archive", path="/w/big", stream=True, expect=200)
    next(answer.chunks())
    answer.close()
    descriptors = lambda: len(os.listdir(f"/proc/{engine.pid}/fd"))
    before = descriptors()
    for _ in range(5):
        answer = box.api.get(f"{box.path}/archive", path="/w/big", stream=True, expect=200)
        answer.close()
    wait_until(lambda: descriptors() <= before + 3, what="closing of what the client had asked for")
    box.kill()


def test_start_while_a_copy_is_read(engine):
    container = engine.create("cat /etc/passwd > /copied; sleep 1000")
    container.api.request("PUT", f"{container.path}/archive", body=one("big", "x" * (20 << 20)), path="/", expect=200)
    answer = container.api.get(f"{container.path}/archive", path="/big", stream=True, expect=200)
    starter = threading.Thread(target=container.start)
    starter.start()
    assert len(answer.read()) > 20 << 20
    starter.join()
    assert container.state["Running"]


def test_events(engine, box):
    since = int(time.time()) - 1
    get(box, "/w/d/f")
    put(box, "/w", one())
    events = engine.api.get("/events", since=since, until=int(time.time()) + 1, filters={"container": [box.id]}, expect=200).objects
    assert [e["Action"] for e in events if e["Action"] in ("archive-path", "extract-to-dir")] == ["archive-path", "extract-to-dir"]


def test_docker_cp(engine, docker_path, tmp_path, box):
    docker = Cli(docker_path, engine)
    (tmp_path / "src/sub").mkdir(parents=True)
    (tmp_path / "src/file").write_text("local\n")
    (tmp_path / "src/sub/deep").write_text("deep\n")
    (tmp_path / "src/link").symlink_to("file")
    docker("cp", tmp_path / "src", f"{box.id}:/w/copied")
    docker("cp", f"{tmp_path}/src/.", f"{box.id}:/w/d")
    docker("cp", tmp_path / "src/file", f"{box.id}:/w/renamed")
    docker("cp", "-L", tmp_path / "src/link", f"{box.id}:/w/followed")
    docker("cp", "-a", tmp_path / "src/link", f"{box.id}:/w/as-link")
    assert box.exec("cat /w/copied/sub/deep /w/d/file /w/renamed /w/followed; readlink /w/as-link")[1] == "deep\nlocal\nlocal\nlocal\nfile\n"

    docker("cp", f"{box.id}:/w/d", tmp_path / "out")
    docker("cp", f"{box.id}:/w/l", tmp_path / "as-link")
    docker("cp", "-L", f"{box.id}:/w/l", tmp_path / "followed")
    docker("cp", f"{box.id}:/w/l/.", tmp_path / "contents")
    assert (tmp_path / "out/f").read_text() == "hi\n" and os.readlink(tmp_path / "as-link") == "d"
    assert (tmp_path / "followed/f").exists() and (tmp_path / "contents/f").exists()

    archive = docker("cp", f"{box.id}:/w/d", "-", text=False).stdout
    assert "d/f" in tarfile.open(fileobj=io.BytesIO(archive)).getnames()
    docker("cp", "-", f"{box.id}:/w/d/e", stdin=one("piped", "by pipe"), text=False)
    assert box.exec("cat /w/d/e/piped")[1] == "by pipe"
    missing = docker("cp", f"{box.id}:/nope", tmp_path, check=False).stderr
    assert "Could not find the file" in missing or "No such container:path" in missing
    assert docker("cp", tmp_path / "src", f"{box.id}:/w/renamed", check=False).returncode != 0
