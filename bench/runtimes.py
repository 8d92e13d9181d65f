"""The bare OCI runtimes: what the kernel-facing part alone costs the peers."""

import json
import os
import shutil
import subprocess
import tempfile
import time


class Runtime:
    """`runc` or `crun` with a bundle whose program is `true`."""

    def __init__(self, program, rootfs_tar):
        self.name = program
        self.dir = tempfile.mkdtemp(prefix=f"bench-{program}-")
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

    def works(self):
        return self._run().returncode == 0

    def cycle(self):
        begin = time.perf_counter()
        done = self._run()
        seconds = time.perf_counter() - begin
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {done.stderr.decode(errors='replace')[-300:]}")
        return seconds * 1000

    def _run(self):
        self._count += 1
        name = f"bench-{os.getpid()}-{self._count}"
        return subprocess.run(
            [self.name, "run", "--bundle", self.dir, name], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def available(rootfs_tar):
    """The runtimes that are installed and can run on this host's cgroups."""
    found = []
    for program in ("runc", "crun"):
        if shutil.which(program) and shutil.which("runc"):
            runtime = Runtime(program, rootfs_tar)
            if runtime.works():
                found.append(runtime)
            else:
                print(f"# {program} cannot run here and is left out")
                runtime.stop()
    return found
