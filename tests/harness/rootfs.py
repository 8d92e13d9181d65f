"""Root file systems for the tests: busybox with a helper (tiny, made each session) and a Debian with nginx (cached)."""

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

PROBE_SOURCE = Path(__file__).with_name("probe.c")

PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:2:2:daemon:/:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
bob:x:1001:1001:Bob:/home/bob:/bin/sh
1234:x:4321:4321:a number for a name:/:/bin/sh
"""
GROUP = """root:x:0:
daemon:x:2:
wheel:x:10:alice
audio:x:29:alice,bob
alice:x:1000:
bob:x:1001:
staff:x:50:
"""


def cache_dir():
    """Where slow things are kept between runs."""
    path = Path(os.environ.get("GANTRY_TEST_CACHE", Path.home() / ".cache/gantry-tests"))
    path.mkdir(parents=True, exist_ok=True)
    return path


class locked:
    """One process at a time in `name`."""

    def __init__(self, name):
        self.path = cache_dir() / f".{name}.lock"

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


@cache
def probe():
    """The helper program, compiled once per version of its source: another tree's may be older or newer."""
    with locked("probe"):
        built = cache_dir() / f"probe-{hashlib.sha256(PROBE_SOURCE.read_bytes()).hexdigest()[:16]}"
        if not built.exists():
            subprocess.run(["cc", "-static", "-O1", "-o", f"{built}.new", PROBE_SOURCE], check=True)
            os.rename(f"{built}.new", built)
        return built.read_bytes()


class TarBuilder:
    """Writes archives entry by entry."""

    def __init__(self, format=tarfile.PAX_FORMAT):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=format)

    def add(self, name, data=None, mode=0o644, kind=None, link="", uid=0, gid=0, mtime=1700000000, **extra):
        """A file with `data`, or an entry of another `kind`."""
        info = tarfile.TarInfo(name)
        info.mode, info.uid, info.gid, info.mtime = mode, uid, gid, mtime
        if isinstance(data, str):
            data = data.encode()
        if kind is not None:
            info.type = kind
        info.linkname = link
        info.size = len(data) if data is not None else 0
        for key, value in extra.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data) if data is not None else None)
        return self

    def dir(self, name, mode=0o755, **options):
        return self.add(name, mode=mode, kind=tarfile.DIRTYPE, **options)

    def symlink(self, name, target, **options):
        return self.add(name, mode=0o777, kind=tarfile.SYMTYPE, link=target, **options)

    def bytes(self):
        self.tar.close()
        return self.buffer.getvalue()


@cache
def busybox():
    """A root file system of busybox, the helper and a few users, as a tar."""
    program = Path(shutil.which("busybox")).resolve()
    tar = TarBuilder()
    for name in ("bin", "etc", "proc", "sys", "dev", "root", "home", "var"):
        tar.dir(name)
    tar.dir("tmp", mode=0o1777)
    tar.dir("home/alice", uid=1000, gid=1000).dir("home/bob", uid=1001, gid=1001)
    tar.add("bin/busybox", program.read_bytes(), mode=0o755)
    tar.add("bin/probe", probe(), mode=0o755)
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            tar.symlink(f"bin/{applet}", "busybox")
    tar.add("bin/not-executable", "#!/bin/sh\n", mode=0o644)
    tar.add("etc/passwd", PASSWD).add("etc/group", GROUP)
    tar.dir("data").add("data/seed", "from the image\n", mode=0o640, uid=1000, gid=1000)
    tar.dir("data/sub", mode=0o700, uid=1001, gid=1001)
    tar.symlink("data/link", "seed")
    return tar.bytes()


# What each Debian of the tests has besides the minimum.
DEBIANS = {"base": "ca-certificates", "nginx": "nginx-light", "python": "python3-minimal", "postgres": "postgresql",
           "stack": "nginx-light,redis-server,python3"}


def debian(kind="nginx"):
    """Path of a tar of a Debian with what `DEBIANS` says; made by mmdebstrap the first time."""
    path = cache_dir() / f"debian-{kind}.tar"
    with locked(path.stem):
        if not path.exists():
            made = cache_dir() / f"making-{path.name}"
            # As Debian's own images for containers: a build that the machine's death interrupts is done again.
            subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io",
                            f"--include={DEBIANS[kind]}", "bookworm", made], check=True, stdout=subprocess.DEVNULL)
            os.rename(made, path)
    return path
