"""Ways out of containers with user namespaces, and out of those that another runtime runs."""

import os

import pytest

from harness.remapped import COUNT, FIRST, prepare

ENGINE = {"arguments": ["--userns-remap=remapped", "--add-runtime", "other=/usr/sbin/runc"], "prepare": prepare}


@pytest.fixture
def engine(engine_of_module):
    return engine_of_module


ALL = {"CapAdd": ["ALL"], "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"]}


def everything(engine):
    """Every capability that the reference can give on this machine, too."""
    if engine.is_reference:
        return {**ALL, "CapDrop": ["SYS_RESOURCE"]}
    return ALL


def test_root_with_everything_cannot_reach_the_host(engine, canary):
    canary.chmod(0o700)
    box = engine.start_container(host={**everything(engine), "Binds": [f"{canary.parent}:/host"]})
    for script in (f"cat /host/{canary.name}/secret", f"rm -rf /host/{canary.name}", f"chown 0 /host/{canary.name}",
                   f"touch /host/{canary.name}/new", "mknod /d b 254 0 && head -c 1 /d", "mknod /k c 1 1",
                   "echo 1 > /proc/sysrq-trigger", "echo x > /proc/sys/kernel/core_pattern", "echo /x > /sys/kernel/uevent_helper",
                   "insmod /bin/busybox",
                   "swapon /bin/busybox", "echo 0 > /proc/sys/kernel/randomize_va_space"):
        assert box.exec(script)[0] != 0, script


def test_a_setuid_program_in_a_bind_is_nobodys(engine):
    """What root of a container leaves on the host belongs to a user that the host does not have."""
    shared = engine.dir / engine.name("shared")
    shared.mkdir()
    shared.chmod(0o777)
    engine.output("cp /bin/busybox /s/sh; chown 0:0 /s/sh; chmod 6755 /s/sh", host={"Binds": [f"{shared}:/s"]})
    made = (shared / "sh").stat()
    assert (made.st_uid, made.st_gid) == (FIRST, FIRST)


def test_files_on_the_disk_are_out_of_reach(engine):
    """Nobody of the host can get at a set-user-id program in a volume or layer."""
    box = engine.start_container("cp /bin/busybox /v/sh; chmod 6755 /v/sh; cp /v/sh /sh; chmod 6755 /sh; echo done; exec sleep 1000",
                                 host={"Binds": ["vol:/v"]})
    box.wait_log("done")
    found = [os.path.join(at, name) for at, _, names in os.walk(engine.data_root) for name in names if name == "sh"]
    assert len(found) >= 2
    for path in found:
        try:
            if os.stat(path).st_uid in range(FIRST, FIRST + COUNT):
                continue
        except FileNotFoundError:
            continue  # It went while we looked, with what an earlier test has removed.
        # Of the host's root: then no one else may pass.
        answer = engine.sandbox.run(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", path, "id"], check=False)
        assert answer.returncode != 0 and "uid=" not in answer.stdout, path


def test_processes_of_others_are_out_of_reach(engine):
    one = engine.start_container()
    other = engine.start_container(host={**everything(engine), "PidMode": f"container:{one.id}"})
    # The same processes are seen, the host's are not.
    assert other.exec("kill -0 1")[0] == 0
    pids = other.exec("ls /proc")[1].split()
    assert len([p for p in pids if p.isdigit()]) < 8


def test_the_entering_process_cannot_be_traced(engine):
    """A process that enters by exec has the host's rights until it is inside; nobody may look into it."""
    box = engine.start_container("while true; do for p in /proc/[0-9]*; do ls -l $p/fd 2>/dev/null | grep -E 'memfd|gantry|runc'; "
                                 "cat $p/environ 2>/dev/null | tr '\\0' '\\n' | grep GANTRY; done; done", host={"CapAdd": ["SYS_PTRACE"]})
    for _ in range(20):
        box.exec(["true"])
    assert box.logs()[0] == ""


def test_maps_cannot_be_changed(engine):
    box = engine.start_container(host=everything(engine))
    assert box.exec("echo '0 0 4294967295' > /proc/self/uid_map")[0] != 0
    # A namespace inside is inside.
    code, out, _ = box.exec("unshare -U -r cat /proc/self/uid_map; unshare -U sh -c 'touch /etc/x' 2>&1")
    assert "4294967295" not in out


@pytest.mark.parametrize("link", ["/proc/self/fd/7", "/proc/self/fd/8", "/proc/self/fd/9"])
def test_working_directories_of_another_runtime(engine, canary, link):
    """CVE-2024-21626 with a runtime that had it; what it has open comes from the shim, too."""
    box = engine.create("ls ../../../..; cat ../../../../etc/hostname", WorkingDir=link,
                        host={"Runtime": "other", "UsernsMode": "host"})
    if box.start(expect=None).status == 204:
        box.wait()
        assert "secret" not in box.logs()[0] and "sandbox" not in box.logs()[0]


def test_descriptors_of_another_runtime(engine):
    """What the shim hands to the runtime's program does not reach the container."""
    host = {"Runtime": "other", "UsernsMode": "host"}
    box = engine.start_container("ls -l /proc/1/fd | grep -v -E 'pipe|null|total' | wc -l; ls /proc/self/fd; exec sleep 1000", host=host)
    box.wait_log("\n")
    code, out, _ = box.exec("for f in /proc/self/fd/*; do readlink $f; done")
    assert not any(word in out for word in ("memfd", "oci", "config.json", "state", "sock"))


def test_links_in_the_image_with_another_runtime(engine, canary):
    box = engine.start_container(f"ln -s {canary} /out; echo done; exec sleep 1000", host={"Runtime": "other", "UsernsMode": "host"})
    box.wait_log("done")
    answer = engine.api.get(f"{box.path}/archive", path="/out/secret")
    assert answer.status == 404
