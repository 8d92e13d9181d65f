"""What the engines are given to work on: a root file system with busybox, and a large archive."""

import io
import os
import random
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
LINE = b"2026-01-01T00:00:00Z worker[17] request served in 3 ms, all is well\n"


def root_file_system(place):
    """A tar with busybox, as image and as root of the bare runtimes."""
    path = Path(place) / "rootfs.tar"
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
    with tarfile.open(path, "w") as tar:
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(BUSYBOX, "bin/busybox")
        for applet in applets:
            if applet != "busybox":
                entry = tarfile.TarInfo(f"bin/{applet}")
                entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(entry)
        for name, text in (("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"), ("etc/group", b"root:x:0:\n")):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text))
    return str(path)


def lines(place, size):
    """A file of short lines, as a program logs them."""
    path = Path(place) / "lines"
    with open(path, "wb") as file:
        for _ in range(size // (len(LINE) * 1024)):
            file.write(LINE * 1024)
    return str(path)


def archive(place, size, name="large", seed=1):
    """A tar like a real image's layer: many small files, some large ones, half of it compressible."""
    path = Path(place) / f"{name}.tar"
    source = random.Random(seed)
    text = source.randbytes(1 << 16).hex().encode()
    with tarfile.open(path, "w") as tar:
        written = number = 0
        while written < size:
            length = source.choice([1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 20, 1 << 22])
            length = min(length, size - written)
            entry = tarfile.TarInfo(f"dir{number % 50}/{name}-{number}")
            entry.size, entry.mode, entry.mtime = length, 0o644, 1_700_000_000
            content = source.randbytes(length) if number % 2 else (text * (length // len(text) + 1))[:length]
            tar.addfile(entry, io.BytesIO(content))
            written += length
            number += 1
    os.sync()
    return str(path)


def noise_archive(place, size, name):
    """A tar of files that do not compress, made at the speed of the disk."""
    path = Path(place) / f"{name}.tar"
    # Farther apart than any window of gzip's, repeated bytes are as good as new ones.
    block = os.urandom(1 << 20)
    with tarfile.open(path, "w") as tar:
        for number in range(max(1, size >> 25)):
            entry = tarfile.TarInfo(f"{name}/file{number}")
            entry.size = 1 << 25
            tar.addfile(entry, Repeated(block, entry.size))
    return str(path)


def context(place, files, size, name):
    """A build's context of many files of `size` bytes each, with a Dockerfile that uses none of them."""
    path = Path(place) / f"{name}.tar"
    block = os.urandom(1 << 20)
    dockerfile = b"FROM scratch\nLABEL a=b\n"
    with tarfile.open(path, "w") as tar:
        for number in range(-1, files):
            entry = tarfile.TarInfo("Dockerfile" if number < 0 else f"dir{number % 1000}/file{number}")
            entry.size = len(dockerfile) if number < 0 else size
            tar.addfile(entry, io.BytesIO(dockerfile) if number < 0 else Repeated(block, size))
            # What was written is known to the archive, and nobody asks it.
            tar.members = []
    return str(path)


class Repeated(io.RawIOBase):
    """`size` bytes of one block again and again."""

    def __init__(self, block, size):
        self.block, self.left = block, size

    def read(self, count=-1):
        piece = self.block[:min(count if count >= 0 else self.left, self.left)]
        self.left -= len(piece)
        return piece
