"""Starts and stops the engines that are compared, each in a network namespace and on roots of its own."""

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

from http_client import Api

class Engine:
    """A running engine."""

    def __init__(self, name, command, place):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f"{name}-", dir=place)
        self.socket = os.path.join(self.dir, "api.sock")
        config = f"{self.dir}/daemon.json"
        with open(config, "w") as file:
            file.write("{}")
        roots = [
            "--config-file", config, "-H", f"unix://{self.socket}", "--data-root", f"{self.dir}/data", "--exec-root", f"{self.dir}/exec",
            "--pidfile", f"{self.dir}/pid", "--cgroup-parent", self._cgroup(),
        ]
        self.strangers = set()  # processes beside it that are not its own
        self._log = open(f"{self.dir}/log", "wb")
        # Bridges and firewall rules stay in a network namespace of their own, mounts go with a mount namespace.
        inside = 'ip link set lo up; exec "$@"'
        began = time.monotonic()
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", inside, "sh", *command, *roots],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True,
        )
        self._wait_ready()
        self.boot_seconds = time.monotonic() - began

    def _wait_ready(self):
        deadline = time.monotonic() + 30
        while True:
            try:
                self.api().call("GET", "/_ping")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    self.process.kill()
                    with open(f"{self.dir}/log", "rb") as log:
                        raise SystemExit(f"{self.name} did not start:\n{log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.02)

    def _cgroup(self):
        return "/" + os.path.basename(self.dir)

    def api(self):
        return Api(self.socket)

    def memory(self):
        """PSS in bytes of everything the engine runs besides the containers' own processes."""
        return sum(pss(pid) for pid in self._processes())

    def _processes(self):
        """Daemon, helpers and per-container parents: what shares the daemon's network and pid namespaces."""
        ours = namespaces(self.process.pid)
        return [pid for pid in pids() if ours is not None and pid not in self.strangers and namespaces(pid) == ours]

    def stop(self):
        api = self.api()
        try:
            for container in api.call("GET", "/containers/json?all=1"):
                api.call("DELETE", f"/containers/{container['Id']}?force=1")
        except (OSError, RuntimeError) as error:
            print(f"# {self.name}: cleaning up: {error}")
        left = set(self._processes()) - {self.process.pid}
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self._log.close()
        for cgroup in [*glob.glob(f"/sys/fs/cgroup/*{self._cgroup()}"), f"/sys/fs/cgroup{self._cgroup()}"]:
            # BuildKit leaves groups below it.
            for path, _, _ in os.walk(cgroup, topdown=False):
                os.rmdir(path)
        shutil.rmtree(self.dir, ignore_errors=True)


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def namespaces(pid):
    try:
        return tuple(os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "pid"))
    except OSError:
        return None


def pss(pid):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
