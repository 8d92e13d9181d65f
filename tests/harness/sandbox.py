"""A small host of its own for one engine.

The engine runs in mount, network, pid, uts and ipc namespaces that belong to the test, and a second network
namespace at the other end of a cable plays "another machine". When the holder process dies, and the kernel
makes it die with the test process, everything the engine started dies and every mount, interface, bridge and
firewall rule it made is gone. Only its directory and its cgroups live in the machine and are removed by hand.
"""

import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness.files import below

ENGINE_ADDRESS = "10.99.0.2"
OUTSIDE_ADDRESS = "10.99.0.1"
PREFIX = "gantry-e2e-"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)

# Process 1 of the namespaces: adopts and reaps whatever the engine leaves behind, as an init would.
HOLDER = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
print("ready", flush=True)
while True:
    try:
        while os.waitpid(-1, 0): pass
    except ChildProcessError:
        signal.sigwait([signal.SIGCHLD])
"""


def die_with_parent():
    """For `preexec_fn`: the kernel ends this child when the test process ends, however it ends."""
    # A shell that runs the tests in the background ignores these, and children would inherit it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def cgroup_hierarchies():
    """Mount points of every cgroup hierarchy, v1 and v2."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        if right.split()[0] in ("cgroup", "cgroup2"):
            found.append(Path(left.split()[4]))
    return found


def cgroup_v2():
    """Whether the controllers live in the unified hierarchy."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def _unshare(*flags):
    process = subprocess.Popen(
        ["unshare", *flags, "--fork", "--kill-child", "--propagation", "private", "--",
         "python3", "-S", "-c", HOLDER],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent,
    )
    assert process.stdout.readline() == b"ready\n"
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
    return process, child


class Sandbox:
    """The namespaces, directory and cgroup subtree of one engine."""

    def __init__(self):
        sweep()
        self.dir = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.cgroup_parent = f"/{self.dir.name}"
        self._processes = []
        try:
            process, self.pid = _unshare("--mount", "--net", "--pid", "--uts", "--ipc", "--mount-proc")
            self._processes.append(process)
            process, self.outside_pid = _unshare("--mount", "--net")
            self._processes.append(process)
            self._lay_cable()
        except BaseException:
            self.close()
            raise

    def _lay_cable(self):
        self.run(["hostname", "sandbox"])
        self.run(["ip", "link", "set", "lo", "up"])
        # By the number that the other end has in this pid namespace, so not from inside.
        subprocess.run(["nsenter", "-t", str(self.pid), "-n", "ip", "link", "add", "eth0", "type", "veth",
                        "peer", "name", "eth0", "netns", str(self.outside_pid)], check=True)
        self.run(["ip", "addr", "add", f"{ENGINE_ADDRESS}/24", "dev", "eth0"])
        self.run(["ip", "link", "set", "eth0", "up"])
        self.run(["ip", "route", "add", "default", "via", OUTSIDE_ADDRESS])
        outside = ["nsenter", "-t", str(self.outside_pid), "-n", "ip"]
        subprocess.run([*outside, "link", "set", "lo", "up"], check=True)
        subprocess.run([*outside, "addr", "add", f"{OUTSIDE_ADDRESS}/24", "dev", "eth0"], check=True)
        subprocess.run([*outside, "link", "set", "eth0", "up"], check=True)
        # New network namespaces have the machine's setting, and an engine decides by it who drops what is forwarded.
        self.run(["sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward"])

    def enter(self, args):
        """`args` as a command line that runs inside the engine's namespaces."""
        return ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "--", *map(str, args)]

    def run(self, args, check=True, **options):
        """Run a command inside and return its result, output captured as text."""
        return subprocess.run(self.enter(args), check=check, capture_output=True, text=True, **options)

    @property
    def root(self):
        """The engine's view of the file system, with its mounts and its /proc."""
        return Path(f"/proc/{self.pid}/root")

    def proc(self, pid):
        """/proc/<pid> of a process by the number it has inside."""
        return self.root / "proc" / str(pid)

    def _in_netns(self, proc, action):
        result = []

        def work():
            descriptor = os.open(f"{proc}/ns/net", os.O_RDONLY)
            try:
                if libc.setns(descriptor, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
                result.append(action())
            finally:
                os.close(descriptor)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return result[0]

    def socket(self, where, kind=socket.SOCK_STREAM, family=socket.AF_INET, proto=0):
        """A socket of `where`: the engine's own host ("host"), the machine at the other end ("outside"), or a process by
        the number it has inside."""
        if isinstance(where, int):
            proc = self.proc(where)
        else:
            proc = f"/proc/{self.pid if where == 'host' else self.outside_pid}"
        made = self._in_netns(proc, lambda: socket.socket(family, kind, proto))
        made.settimeout(30)
        return made

    def free_port(self, where, address):
        """A port of `where` that nobody has, below those that the kernel gives to whoever asks for any: nobody gets it by
        chance before the server that it is for."""
        for port in random.sample(range(20000, 30000), 100):
            with self.socket(where) as probe:
                try:
                    probe.bind((address, port))
                except OSError:
                    continue
                return port
        raise OSError("every port is taken")

    def own_etc(self):
        """Path of an /etc that the test may write to: the machine's, with a layer on top that only the engine sees."""
        upper, work = self.dir / "etc", self.dir / "etc-work"
        if not upper.exists():
            upper.mkdir()
            work.mkdir()
            self.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "/etc"])
        return self.root / "etc"

    def hosts(self, **names):
        """Names the engine's host knows, `_` for a dot (`registry_test="10.99.0.1"`)."""
        lines = ["127.0.0.1 localhost sandbox", *(f"{address} {name.replace('_', '.')}" for name, address in names.items())]
        (self.own_etc() / "hosts").write_text("\n".join(lines) + "\n")

    def mounts(self):
        """Mount points in the engine's host, sorted."""
        text = (self.root / "proc/1/mountinfo").read_text()
        return sorted(line.split()[4] for line in text.splitlines())

    def links(self):
        """Names of the network interfaces of the engine's host."""
        out = self.run(["ip", "-o", "link"]).stdout
        return sorted(line.split(": ")[1].split("@")[0] for line in out.splitlines())

    def ruleset(self):
        """The firewall's rules as nft prints them, without counters and handles."""
        out = self.run(["nft", "-s", "list", "ruleset"]).stdout
        return [line.strip() for line in out.splitlines() if line.strip()]

    def cgroups(self):
        """Every cgroup below the engine's parent, as paths relative to it."""
        found = set()
        for hierarchy in cgroup_hierarchies():
            top = hierarchy / self.cgroup_parent.lstrip("/")
            found.update(str(p.relative_to(top)) for p in below(top) if p.is_dir())
        return sorted(found)

    def processes(self):
        """Pids (inside numbers) and command lines of everything that runs inside."""
        found = {}
        for entry in (self.root / "proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                except OSError:
                    continue
                if line:
                    found[int(entry.name)] = line
        return found

    def close(self):
        """End every process and remove what outlives the namespaces."""
        for process in self._processes:
            process.kill()
            process.wait()
            process.stdout.close()
        remove_cgroups(self.cgroup_parent)
        shutil.rmtree(self.dir, ignore_errors=True)


def remove_cgroups(parent):
    """Remove a cgroup subtree from all hierarchies; waits for the kernel to bury the last processes in it."""
    deadline = time.monotonic() + 10
    for hierarchy in cgroup_hierarchies():
        top = hierarchy / parent.lstrip("/")
        while top.is_dir():
            for path in sorted((p for p in below(top) if p.is_dir()), key=lambda p: -len(p.parts)):
                try:
                    path.rmdir()
                except OSError:
                    pass
            try:
                top.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    return
                time.sleep(0.02)


def sweep():
    """Remove directories and cgroups of test processes that were killed before they could."""
    names = {p.name for p in Path("/tmp").glob(f"{PREFIX}*")}
    for hierarchy in cgroup_hierarchies():
        names |= {p.name for p in hierarchy.glob(f"{PREFIX}*")}
    for name in names:
        owner = name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            remove_cgroups(name)
            shutil.rmtree(f"/tmp/{name}", ignore_errors=True)
