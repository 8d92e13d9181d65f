"""Ways out of a container through `docker cp`, tried again: what is copied must be the container's, wherever its links
lead and however fast they change."""

import io
import tarfile
import threading

from harness.rootfs import TarBuilder

ROUNDS = 60


def swapping(engine, canary):
    """A container that swaps a directory and a link to the host's path, as fast as it can. Inside, the path exists too,
    so that a look-up that is confined finds something."""
    command = (f"mkdir -p {canary} /w/real; echo 'container secret' > {canary}/secret; echo 'container secret' > /w/real/secret;"
               f"ln -s {canary} /w/link; echo ready;"
               "while :; do mv -T /w/real /w/x; mv -T /w/link /w/x2; mv -T /w/x /w/target; mv -T /w/target /w/real;"
               "mv -T /w/x2 /w/target; mv -T /w/target /w/link; done")
    container = engine.start_container(command)
    container.wait_log("ready")
    return container


def test_a_swapped_link_while_reading(engine, canary):
    """CVE-2018-15664: a path is resolved, then swapped for a link to the host before it is used."""
    container = swapping(engine, canary)
    seen = set()
    for _ in range(ROUNDS):
        answer = container.api.get(f"{container.path}/archive", path="/w/target/secret")
        if answer.status == 200:
            archive = tarfile.open(fileobj=io.BytesIO(answer.body))
            seen |= {archive.extractfile(m).read() for m in archive if m.isreg()}
    assert seen <= {b"container secret\n"}
    container.kill()


def test_a_swapped_link_while_writing(engine, canary):
    """The same in the other direction, with the link as destination and in the archive's own paths."""
    container = swapping(engine, canary)
    first = TarBuilder().add("secret", "overwritten\n").add("planted", "x").bytes()
    second = TarBuilder().add("target/secret", "overwritten\n").add("target/sub/planted", "x").bytes()
    for _ in range(ROUNDS):
        for path, data in (("/w/target", first), ("/w", second)):
            container.api.request("PUT", f"{container.path}/archive", body=data, path=path)
    container.kill()


def test_links_that_lead_to_the_host(engine, canary):
    container = engine.start_container(f"ln -s {canary} /abs; ln -s ../../../../../..{canary} /rel; ln -s /proc/1/root{canary} /proc1;"
                                       f"ln -s /proc/self/cwd /cwd; echo ready; sleep 1000", host={"Binds": [f"{engine.name('v')}:/vol"]})
    container.wait_log("ready")
    container.exec(f"ln -s {canary} /vol/abs; ln -s ../..{canary} /vol/rel")
    for link in ("/abs", "/rel", "/proc1", "/cwd", "/vol/abs", "/vol/rel"):
        for path in (f"{link}/secret", f"{link}/", f"{link}/."):
            assert b"host secret" not in container.api.get(f"{container.path}/archive", path=path).body
        container.api.request("PUT", f"{container.path}/archive", body=TarBuilder().add("planted", "x").bytes(), path=link)
    container.kill()


def test_archives_with_links_to_the_host(engine, canary):
    container = engine.start_container()
    for path in ("/", "/tmp"):
        archive = TarBuilder().symlink("out", str(canary)).add("out/planted", "x").add("out/secret", "overwritten")
        archive.add("hard", kind=tarfile.LNKTYPE, link="out/secret")
        container.api.request("PUT", f"{container.path}/archive", body=archive.bytes(), path=path)
        back = container.api.get(f"{container.path}/archive", path=f"{path}/hard")
        assert b"host secret" not in back.body
    for escape in ("../" * 20 + str(canary)[1:], "/.." * 20 + str(canary)):
        data = TarBuilder().add(f"{escape}/planted", "x").bytes()
        container.api.request("PUT", f"{container.path}/archive", body=data, path="/tmp")


def test_no_library_of_the_containers_is_loaded(engine):
    """CVE-2019-14271: the helper that packs the archive loaded the container's libnss as root of the host."""
    libraries = [f"{dir}/lib{name}.so.{version}" for dir in ("/lib", "/lib64", "/usr/lib", "/lib/x86_64-linux-gnu")
                 for name, version in (("nss_files", 2), ("nss_compat", 2), ("c", 6))]
    archive = TarBuilder()
    for library in libraries:
        archive.add(library[1:], b"\x7fELF, broken", mode=0o755, uid=4242, gid=4242)
    archive.add("etc/nsswitch.conf", "passwd: files compat\ngroup: files compat\n")
    container = engine.create(["true"], User="alice")
    put = lambda **query: container.api.request("PUT", f"{container.path}/archive", body=archive.bytes(), path="/", expect=200, **query)
    put()
    got = container.api.get(f"{container.path}/archive", path="/lib", expect=200).body
    assert "lib/libc.so.6" in tarfile.open(fileobj=io.BytesIO(got)).getnames()
    if not engine.is_reference:
        put(copyUIDGID=True)


def test_a_container_that_mounts_over_its_root(engine, canary):
    """What a privileged container mounts in its own namespace does not become part of what is copied."""
    container = engine.start_container("mkdir /m; mount -t tmpfs none /m; echo hidden > /m/f; mount --bind /proc/1/root /tmp; echo ready;"
                                       "sleep 1000", host={"CapAdd": ["SYS_ADMIN"], "SecurityOpt": ["apparmor=unconfined", "seccomp=unconfined"]})
    container.wait_log("ready")
    container.api.get(f"{container.path}/archive", path="/m/f", expect=404)
    done = threading.Event()
    names = []

    def read():
        body = container.api.get(f"{container.path}/archive", path="/tmp", expect=200).body
        names.extend(tarfile.open(fileobj=io.BytesIO(body)).getnames())
        done.set()

    threading.Thread(target=read).start()
    assert done.wait(60)
    assert names == ["tmp"]
    container.kill()
