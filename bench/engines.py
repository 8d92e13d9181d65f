"""Starts and stops the engines that are compared, each in a network namespace and on roots of its own."""

import os
import shutil
import signal
import subprocess
import tempfile
import time

from http_client import Api

ENGINE_PROGRAMS = ("dockerd", "containerd", "containerd-shim", "docker-proxy", "gantry")


class Engine:
    """A running engine."""

    def __init__(self, name, command):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f"bench-{name}-")
        self.socket = os.path.join(self.dir, "api.sock")
        self._before = set(pids())
        roots = [
            "-H", f"unix://{self.socket}", "--data-root", f"{self.dir}/data", "--exec-root", f"{self.dir}/exec",
            "--pidfile", f"{self.dir}/pid",
        ]
        self._log = open(f"{self.dir}/log", "wb")
        inside = 'ip link set lo up; exec "$@"'
        self.process = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", inside, "sh", *command, *roots],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )
        self._wait_ready()

    def _wait_ready(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                self.api().call("GET", "/_ping")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    with open(f"{self.dir}/log", "rb") as log:
                        raise SystemExit(f"{self.name} did not start:\n{log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.02)

    def api(self):
        return Api(self.socket)

    def memory(self):
        """PSS in bytes of everything the engine runs besides the containers' own processes."""
        return sum(pss(pid) for pid in pids() if pid not in self._before and is_engine(pid))

    def stop(self):
        api = self.api()
        try:
            for container in api.call("GET", "/containers/json?all=1"):
                api.call("DELETE", f"/containers/{container['Id']}?force=1")
        except (OSError, RuntimeError) as error:
            print(f"# {self.name}: cleaning up: {error}")
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        with open("/proc/self/mounts") as mounts:
            below = [line.split()[1] for line in mounts if line.split()[1].startswith(self.dir)]
        for path in sorted(below, reverse=True):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_engine(pid):
    """By the program: dockerd and its helpers, or Gantry and its shims (which run from memory)."""
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return False
    name = os.path.basename(program.removesuffix(" (deleted)"))
    return name in ENGINE_PROGRAMS or name.startswith("containerd-shim") or name == "memfd:gantry-shim"


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
