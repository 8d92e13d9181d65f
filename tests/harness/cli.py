"""The `docker` command: every one that is installed, through the recording proxy, with or without a terminal."""

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import termios
import time
from functools import cache
from pathlib import Path

from harness.sandbox import die_with_parent


@cache
def installed():
    """{version: path} of the docker commands here; at least one must be."""
    found = {}
    for path in ("/usr/bin/docker", "/usr/local/bin/docker", shutil.which("docker")):
        if path and Path(path).exists():
            version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.split()[2]
            found.setdefault(version.split("+")[0].rstrip(","), path)
    assert found, "no docker command is installed"
    return found


class Cli:
    """One docker command against one engine."""

    def __init__(self, path, engine):
        self.path = path
        self.engine = engine
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(engine.dir), "DOCKER_HOST": engine.host,
            "DOCKER_CONFIG": str(engine.dir / "docker-config"), "TERM": "xterm", "LANG": "C.UTF-8",
        }

    def __call__(self, *args, check=True, stdin=None, timeout=100, text=True):
        """Run it to the end; the result has returncode, stdout and stderr."""
        options = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run([self.path, *map(str, args)], env=self.environment, capture_output=True, text=text,
                              timeout=timeout, **options)
        if check:
            assert done.returncode == 0, f"docker {' '.join(map(str, args))}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def out(self, *args, **options):
        """Its standard output, stripped."""
        return self(*args, **options).stdout.strip()

    def popen(self, *args, **options):
        """Start it and go on."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **options}
        return subprocess.Popen([self.path, *map(str, args)], env=self.environment, preexec_fn=die_with_parent, **options)

    def terminal(self, *args, rows=24, cols=80):
        """Start it on a terminal."""
        return Terminal([self.path, *map(str, args)], self.environment, rows, cols)


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, args, environment, rows, cols):
        self.master, slave = pty.openpty()
        self.resize(rows, cols)
        self.seen = b""

        def own():
            die_with_parent()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(args, env=environment, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True, preexec_fn=own)
        os.close(slave)

    def resize(self, rows, cols):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def send(self, text):
        os.write(self.master, text.encode())

    def _read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        if not ready:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return None  # EIO: the other side closed its last descriptor.
        self.seen += data
        return bool(data) or None

    def expect(self, text, timeout=40):
        """Read until `text` has appeared after what was expected before; returns what came before it."""
        wanted = text.encode()
        deadline = time.monotonic() + timeout
        while wanted not in self.seen:
            more = self._read(max(0, deadline - time.monotonic()))
            assert more, f"waited for {text!r}, saw {self.seen!r}"
        before, _, self.seen = self.seen.partition(wanted)
        return before.decode(errors="replace")

    def wait(self, timeout=40):
        """Everything up to the end; returns (exit code, text)."""
        deadline = time.monotonic() + timeout
        while True:
            more = self._read(max(0, deadline - time.monotonic()))
            if more is None:
                break
            assert more, f"still running; saw {self.seen!r}"
        return self.process.wait(max(1, deadline - time.monotonic())), self.seen.decode(errors="replace")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
