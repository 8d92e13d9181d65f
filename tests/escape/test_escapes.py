"""Known ways out of containers, tried again. Each names what it repeats; the host must not be reached."""

import hashlib
import re
from pathlib import Path

import pytest

from harness.engine import IMAGE, program, wait_until
from harness.rootfs import TarBuilder, busybox


def digest(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def runtime_programs(engine):
    """The programs that enter containers."""
    if engine.is_reference:
        return ["/usr/sbin/runc"]
    return [program("gantry")]


def test_overwrite_of_the_runtime_by_exec(engine):
    """CVE-2019-5736: /proc/PID/exe of the process that enters is opened and written to when it has become something else."""
    before = [digest(p) for p in runtime_programs(engine)]
    container = engine.start_container(["probe", "overwrite", "4"], host={"CapAdd": ["SYS_PTRACE"]})
    container.wait_log("waiting")
    for _ in range(10):
        container.exec(["true"])
    container.kill()
    container.wait()
    assert "wrote" not in container.logs()[0], container.logs()[0]
    assert [digest(p) for p in runtime_programs(engine)] == before
    assert engine.output("echo fine") == "fine\n"


@pytest.mark.parametrize("path", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3", "/proc/thread-self/exe"])
def test_the_runtime_as_the_program(engine, path):
    """CVE-2019-5736, the other half: the image makes the engine execute its own program inside."""
    container = engine.create([path, "anything"])
    answer = container.start(expect=None)
    if answer.status == 204:
        # It may run, but is of no use: it ends with an error at once.
        assert container.wait() != 0
    box = engine.start_container()
    code, out, err = box.exec([path])
    assert not re.search("gantry-shim|gantry daemon|runc [a-z]+ \\[", out + err)


def test_program_that_is_a_script_of_proc_self_exe(engine):
    """`#!/proc/self/exe` makes the kernel run the runtime as the interpreter."""
    data = TarBuilder().dir("bin").dir("proc").dir("sys").dir("dev").dir("etc").add("bin/x", "#!/proc/self/exe\n", mode=0o755).bytes()
    engine.api.post("/images/create", body=data, fromSrc="-", repo="selfexe", expect=200)
    before = [digest(p) for p in runtime_programs(engine)]
    container = engine.create(["/bin/x"], image="selfexe")
    if container.start(expect=None).status == 204:
        container.wait()
    assert [digest(p) for p in runtime_programs(engine)] == before


@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
def test_the_users_file_is_a_link_to_the_host(engine, canary, name):
    """CVE-2019-14271's family: what the engine itself reads or loads from the image comes from the image."""
    (canary / "secret").write_text("host secret\n")
    data = TarBuilder().dir("bin").dir("etc").dir("proc").dir("sys").dir("dev")
    data.symlink(name, f"{canary}/passwd").symlink("bin/sh", "busybox")
    engine.api.post("/images/create", body=data.bytes(), fromSrc="-", repo="linked", expect=200)
    container = engine.create(["sh"], image="linked", User="hostuser")
    assert container.start(expect=None).status >= 400


def test_no_library_of_the_image_is_loaded(engine, canary):
    """CVE-2019-14271: libnss_*.so in the image must not run in the engine's process. Ours is static; theirs chroots helpers."""
    data = TarBuilder().dir("lib").dir("lib/x86_64-linux-gnu").dir("etc")
    for name in ("libnss_files.so.2", "libnss_compat.so.2", "libc.so.6", "ld-linux-x86-64.so.2"):
        data.add(f"lib/x86_64-linux-gnu/{name}", "\x7fELF not really", mode=0o755)
    data.add("etc/nsswitch.conf", "passwd: files evil\n").add("etc/ld.so.preload", "/lib/evil.so\n")
    base = busybox()
    engine.api.post("/images/create", body=base, fromSrc="-", repo="nss", expect=200)
    container = engine.create(["true"], image="nss", User="alice")
    container.start()
    assert container.wait() == 0
    if not engine.is_reference:
        maps = (Path("/proc") / str(engine.pid) / "maps").read_text()
        assert ".so" not in maps


def race(engine, action, rounds, prepare):
    """Containers that start while another swaps a directory of the shared volume for a link, over and over."""
    swapper = engine.start_container(prepare, host={"Binds": ["race:/race"]})
    swapper.wait_log("swapping")
    try:
        for _ in range(rounds):
            action()
    finally:
        swapper.kill()


def test_mount_on_a_swapped_link(engine, canary):
    """CVE-2021-30465 and CVE-2019-19921: a mount's target in a volume becomes a link to / or /proc between check and mount."""
    seen = []

    def attempt():
        container = engine.create("ls -R /race/a 2>/dev/null | head -50; head -c 100 /proc/self/attr/current 2>/dev/null; mount | grep -c ' on / '",
                                  host={"Binds": ["race:/race"], "Tmpfs": {"/race/a/b": ""}})
        if container.start(expect=None).status == 204:
            container.wait()
            seen.append(container.logs()[0])
        container.remove(force=True)

    before = engine.sandbox.mounts()
    race(engine, attempt, 12 if engine.is_reference else 40,
         "mkdir -p /race/a/b; ln -sfn / /race/l; exec probe swap /race/a /race/l")
    assert "secret" not in "".join(seen)
    assert [m for m in engine.sandbox.mounts() if m not in before and str(engine.dir) not in m] == []


def test_proc_is_what_it_says(engine):
    """CVE-2019-19921: /proc in the image is a link into a volume; the engine must not mount or write labels there."""
    data = TarBuilder().dir("bin").dir("etc").dir("sys").dir("dev").dir("evil").dir("evil/self").dir("evil/self/attr")
    data.add("evil/self/attr/exec", "").symlink("proc", "evil")
    engine.api.post("/images/create", body=data.bytes(), fromSrc="-", repo="fakeproc", expect=200)
    container = engine.create(["/bin/x"], image="fakeproc")
    assert container.start(expect=None).status >= 400


@pytest.mark.parametrize("place", ["proc", "sys", "dev", "dev/pts", "dev/shm", "dev/mqueue", "etc/hosts", "etc/resolv.conf", "etc/hostname"])
@pytest.mark.parametrize("target", ["absolute", "relative"])
def test_mount_places_are_links(engine, canary, place, target):
    """CVE-2023-27561 and older: standard mount points in the image are links out of it."""
    base = TarBuilder().dir("bin").dir("etc")
    link = str(canary) if target == "absolute" else "../" * 20 + str(canary).lstrip("/")
    for name in ("proc", "sys", "dev"):
        if not place.startswith(name):
            base.dir(name)
    if "/" in place and not place.startswith("etc"):
        base.dir(place.split("/")[0])
    base.symlink(place, link)
    program_bytes = Path("/bin/busybox").resolve().read_bytes()
    base.add("bin/busybox", program_bytes, mode=0o755)
    engine.api.post("/images/create", body=base.bytes(), fromSrc="-", repo="linkplace", expect=200)
    container = engine.create(["/bin/busybox", "sh", "-c", "echo x > /" + place + "/new; echo x > /" + place + "; ls /" + place],
                              image="linkplace", network="bridge")
    if container.start(expect=None).status == 204:
        container.wait()
        assert "secret" not in container.logs()[0]
    assert not any(str(canary) in m for m in engine.sandbox.mounts())


@pytest.mark.parametrize("number", range(3, 12))
def test_working_directory_in_a_leaked_descriptor(engine, number):
    """CVE-2024-21626: WORKDIR /proc/self/fd/N puts the program into a directory of the host."""
    container = engine.create("pwd -P; ls -a . ..; cat ../../../../../../../../etc/shadow | head -1", WorkingDir=f"/proc/self/fd/{number}")
    if container.start(expect=None).status == 204:
        container.wait()
        out = container.logs()[0]
        assert "unreachable" not in out
        assert "lost+found" not in out and "root:" not in out
    box = engine.start_container()
    id = box.api.post(f"{box.path}/exec", {"Cmd": ["sh", "-c", "ls -a ../../../.."], "AttachStdout": True,
                                         "WorkingDir": f"/proc/self/fd/{number}"}, expect=201).json["Id"]
    out = box.api.post(f"/exec/{id}/start", {"Detach": False}, stream=True).read()
    assert b"lost+found" not in out


def test_working_directory_is_a_link_to_a_descriptor(engine):
    """CVE-2024-21626 by way of a link in the image."""
    data = busybox()
    engine.api.post("/images/create", body=data, fromSrc="-", repo="wd", expect=200)
    box = engine.start_container("for n in 3 4 5 6 7 8 9; do ln -s /proc/self/fd/$n /fd$n; done; exec sleep 1000", image="wd")
    wait_until(lambda: box.exec(["readlink", "/fd9"])[0] == 0)
    for number in range(3, 10):
        id = box.api.post(f"{box.path}/exec", {"Cmd": ["ls", "-a", "/proc/self/cwd/../../.."], "AttachStdout": True,
                                             "WorkingDir": f"/fd{number}"}, expect=201).json["Id"]
        out = box.api.post(f"/exec/{id}/start", {"Detach": False}, stream=True).read()
        assert b"lost+found" not in out


def test_nothing_open_leads_out(engine):
    """CVE-2024-21626: no descriptor but the standard ones, in the program and in what enters later."""
    container = engine.start_container("probe descriptors; ls -l /proc/1/fd; exec sleep 1000")
    out = container.exec("probe descriptors")[1]
    assert {line.split()[0] for line in out.splitlines()} == {"0", "1", "2"}
    assert "/" not in "".join(line.split(" ", 1)[1] for line in out.splitlines() if "pipe:" not in line and "/dev/null" not in line)


def test_masking_with_a_replaced_null(engine):
    """CVE-2025-31133: /dev/null of the container is a link or a file when masked paths are covered with it."""
    for node in ("symlink", "file"):
        data = TarBuilder().dir("bin").dir("etc").dir("proc").dir("sys").dir("dev")
        if node == "symlink":
            data.symlink("dev/null", "/proc/sys/kernel/core_pattern")
        else:
            data.add("dev/null", "not null")
        data.add("bin/busybox", Path("/bin/busybox").resolve().read_bytes(), mode=0o755)
        engine.api.post("/images/create", body=data.bytes(), fromSrc="-", repo="nullnull", expect=200)
        before = Path("/proc/sys/kernel/core_pattern").read_text()
        script = "stat -c '%F %t:%T' /dev/null; cat /proc/keys | wc -c; echo '|/evil' > /proc/keys; echo h > /proc/sysrq-trigger"
        container = engine.create(["/bin/busybox", "sh", "-c", script], image="nullnull")
        container.start()
        container.wait()
        assert container.logs()[0].splitlines()[:2] == ["character special file 1:3", "0"]
        assert Path("/proc/sys/kernel/core_pattern").read_text() == before
        container.remove()
        engine.api.delete("/images/nullnull", force=True)


def test_masking_race(engine):
    """CVE-2025-31133 as a race: containers that share a volume mounted on /dev swap its null while others start."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    swapper = engine.start_container(
        "mknod /v/null c 1 3; ln -s /proc/sys/kernel/core_pattern /v/link; exec probe swap /v/null /v/link", host={"Binds": ["devrace:/v"]})
    swapper.wait_log("swapping")
    for _ in range(5 if engine.is_reference else 25):
        container = engine.create("cat /proc/keys | wc -c; echo '|/evil' > /proc/keys", host={"Binds": ["devrace:/dev"]})
        if container.start(expect=None).status == 204:
            container.wait()
        container.remove(force=True)
        assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    swapper.kill()


def test_console_is_a_link(engine, canary):
    """CVE-2025-52565: the terminal is bound over /dev/console, which the image made a link."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for target in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", str(canary / "secret")):
        data = TarBuilder().dir("bin").dir("etc").dir("proc").dir("sys").dir("dev").symlink("dev/console", target)
        data.add("bin/busybox", Path("/bin/busybox").resolve().read_bytes(), mode=0o755)
        engine.api.post("/images/create", body=data.bytes(), fromSrc="-", repo="console", expect=200)
        container = engine.create(["/bin/busybox", "sh", "-c", f"echo evil > {target}; busybox stat -c %F /dev/console; echo end"], image="console", Tty=True)
        if container.start(expect=None).status == 204:
            container.wait()
        assert Path("/proc/sys/kernel/core_pattern").read_text() == before
        container.remove(force=True)
        engine.api.delete("/images/console", force=True)


@pytest.mark.parametrize("place", ["/proc/sys/net/ipv4/ip_forward", "/proc/self/attr/exec", "/proc/thread-self/attr/apparmor/exec"])
def test_procfs_is_redirected(engine, place):
    """CVE-2025-52881: writes of the engine to /proc land in another file because a container covered the place."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    answer = engine.api.post("/containers/create", {
        "Image": IMAGE, "Cmd": ["cat", "/proc/sys/net/ipv4/ip_forward"],
        "HostConfig": {"NetworkMode": "none", "Binds": [f"redirect:{place}"], "Sysctls": {"net.ipv4.ip_forward": "1"}}})
    if answer.status == 201:
        assert engine.api.post(f"/containers/{answer.json['Id']}/start").status >= 400
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_sysctl_through_a_link(engine):
    """CVE-2025-52881 by way of the volume race: /proc/sys in a volume that is swapped."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for name in ("net.ipv4.ip_forward", "net/../kernel/core_pattern", "net..kernel.core_pattern", "kernel.shm_rmid_forced/../core_pattern"):
        answer = engine.api.post("/containers/create", {
            "Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", "Sysctls": {name: "1"}}})
        if answer.status == 201:
            status = engine.api.post(f"/containers/{answer.json['Id']}/start").status
            assert status >= 400 or name == "net.ipv4.ip_forward", name
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


def test_another_containers_namespaces_do_not_give_more(engine):
    """Sharing the pid namespace shows processes, not their file systems."""
    victim = engine.start_container("echo private > /private; exec sleep 1000")
    spy = engine.start_container(host={"PidMode": f"container:{victim.id}"})
    wait_until(lambda: victim.exec(["cat", "/private"])[0] == 0)
    code, out, _ = spy.exec(["cat", "/proc/1/root/private"])
    # Same user, same capabilities: ptrace access is the kernel's to decide; the engine's own processes are not there.
    assert "gantry" not in spy.exec(["ps", "-o", "args"])[1].replace(str(engine.dir), "")


def test_the_engines_socket_and_files_are_not_inside(engine):
    out = engine.output(f"ls {engine.dir} 2>&1; find / -xdev -name '*.sock' 2>/dev/null; cat /proc/net/unix", network="bridge")
    assert str(engine.socket) not in out


def test_processes_that_enter_cannot_be_traced(engine):
    """What enters a container is not dumpable before it is confined: nobody inside can take it over."""
    spy = engine.start_container("while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || cat $p/environ 2>/dev/null | tr '\\0' '\\n'; done; done",
                                 User="alice")
    for _ in range(5):
        spy.exec(["true"], Env=["SECRET_OF_ROOT=1"], User="root")
    spy.kill()
    spy.wait()
    assert "SECRET_OF_ROOT" not in spy.logs()[0]


def test_a_bind_through_a_link_in_a_volume(engine, canary):
    """The source of a bind is the host's; the target is resolved inside, whatever links a volume holds."""
    engine.output(f"ln -s {canary} /v/out; ln -s / /v/root", host={"Binds": ["links:/v"]})
    _, out, _ = engine.run("ls /v/out/ /v/root/ 2>&1; cat /v/out/secret 2>&1", host={"Binds": ["links:/v", "other:/v/out/deep"]})
    assert "host secret" not in out
    assert not (canary / "deep").exists()


def test_cgroup_release_agent(engine):
    """CVE-2022-0492's way: no mounting of cgroups with the default capabilities."""
    out = engine.output("mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c 2>&1 || echo refused; unshare -UrmC true 2>&1 || echo refused")
    assert out.count("refused") == 2


def test_dirty_devices(engine):
    """No device node of the image works but those of /dev."""
    data = TarBuilder().dir("d")
    import tarfile
    data.add("d/disk", kind=tarfile.BLKTYPE, devmajor=254, devminor=0, mode=0o666)
    data.add("d/mem", kind=tarfile.CHRTYPE, devmajor=1, devminor=1, mode=0o666)
    data.dir("bin").dir("proc").dir("sys").dir("dev").dir("etc")
    data.add("bin/busybox", Path("/bin/busybox").resolve().read_bytes(), mode=0o755)
    answer = engine.api.post("/images/create", body=data.bytes(), fromSrc="-", repo="devices")
    if answer.status == 200 and "error" not in answer.objects[-1]:
        container = engine.create(["/bin/busybox", "sh", "-c", "head -c 1 /d/disk && echo read; head -c 1 /d/mem && echo read"], image="devices")
        container.start()
        container.wait()
        assert "read" not in container.logs()[0]
