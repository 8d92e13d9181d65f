"""The bare OCI runtimes: what the kernel-facing part alone costs the peers."""

import json
import os
import shutil
import subprocess
import tempfile
import time


class Runtime:
    """`runc` or `crun` with a bundle whose program is `true`."""

    def __init__(self, program, rootfs_tar, place):
        self.name = program
        self.dir = tempfile.mkdtemp(prefix=f"{program}-", dir=place)
        rootfs = os.path.join(self.dir, "rootfs")
        os.mkdir(rootfs)
        subprocess.run(["tar", "-xf", rootfs_tar, "-C", rootfs], check=True)
        # runc writes a default configuration that both understand.
        subprocess.run(["runc", "spec"], cwd=self.dir, check=True)
        path = os.path.join(self.dir, "config.json")
        with open(path) as file:
            spec = json.load(file)
        spec["process"]["terminal"] = False
        spec["process"]["args"] = ["/bin/true"]
        # Raising this needs a capability that build machines lack.
        spec["process"].pop("rlimits", None)
        with open(path, "w") as file:
            json.dump(spec, file)
        self._count = 0
        self._sleeper = None
        self.rows = {"cycle_none": self.cycle, "exec": self.exec}

    def works(self):
        return self._call("run", "--bundle", self.dir, self._name()).returncode == 0

    def cycle(self):
        return self._timed("run", "--bundle", self.dir, self._name())

    def exec(self):
        if self._sleeper is None:
            self._start_sleeper()
        return self._timed("exec", self._sleeper, "/bin/true")

    def _start_sleeper(self):
        bundle = os.path.join(self.dir, "sleeper")
        os.mkdir(bundle)
        with open(os.path.join(self.dir, "config.json")) as file:
            spec = json.load(file)
        spec["process"]["args"] = ["/bin/sleep", "1000000"]
        spec["root"]["path"] = os.path.join(self.dir, "rootfs")
        with open(os.path.join(bundle, "config.json"), "w") as file:
            json.dump(spec, file)
        self._sleeper = self._name()
        self._timed("run", "--detach", "--bundle", bundle, self._sleeper)

    def _name(self):
        self._count += 1
        return f"bench-{os.getpid()}-{self._count}"

    def _timed(self, *arguments):
        begin = time.perf_counter()
        done = self._call(*arguments)
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            raise RuntimeError(f"{self.name} {arguments[0]} failed with status {done.returncode}")
        return seconds * 1000

    def _call(self, *arguments):
        # Nothing is captured: a detached container would keep the pipe open.
        return subprocess.run(
            [self.name, "--root", os.path.join(self.dir, "state"), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )

    def stop(self):
        if self._sleeper is not None:
            self._call("delete", "--force", self._sleeper)
        shutil.rmtree(self.dir, ignore_errors=True)


def available(rootfs_tar, place):
    """The runtimes that are installed and can run on this host's cgroups."""
    found = []
    for program in ("runc", "crun"):
        if shutil.which(program) and shutil.which("runc"):
            runtime = Runtime(program, rootfs_tar, place)
            if runtime.works():
                found.append(runtime)
            else:
                print(f"# {program} cannot run here and is left out")
                runtime.stop()
    return found
