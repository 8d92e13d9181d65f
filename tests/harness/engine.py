"""Starting, asking and ending an engine, Gantry or the reference, in a sandbox."""

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

from conformance.oracle import Recorder
from harness import rootfs
from harness.http import Client, demultiplex
from harness.proxy import Proxy
from harness.sandbox import ENGINE_ADDRESS, OUTSIDE_ADDRESS, Sandbox, cgroup_v2, die_with_parent

REPOSITORY = Path(__file__).parent.parent.parent
IMAGE = "busybox:e2e"
# A Debian with nginx, redis and Python, for tests that want real programs; made when it is asked for.
STACK_IMAGE = "debian-stack:e2e"
# What stays from test to test.
KEPT = {IMAGE, STACK_IMAGE, "debian-nginx:e2e", "debian-base:e2e"}
# The newest version that both engines speak.
VERSION = "1.41"
VERSIONS = {
    "reference": ["1.24", "1.25", "1.30", "1.35", "1.39", "1.40", "1.41"],
    "gantry": ["1.24", "1.25", "1.30", "1.35", "1.39", "1.40", "1.41", "1.43", "1.44", "1.47", "1.49", "1.51"],
}


def program(kind):
    """The engine's program; a missing one is an error, not a skip."""
    if kind == "reference":
        found = shutil.which("dockerd")
    else:
        found = os.environ.get("GANTRY_BIN") or str(REPOSITORY / "dist/gantry")
        found = found if Path(found).exists() else None
    if found is None:
        raise FileNotFoundError(f"no program for the engine {kind!r}; GANTRY_BIN={os.environ.get('GANTRY_BIN')!r}")
    return found


class Engine:
    """One engine in a sandbox of its own."""

    address = ENGINE_ADDRESS
    outside_address = OUTSIDE_ADDRESS

    def __init__(self, kind, arguments=(), environment=None, prepare=None):
        self.kind = kind
        self.arguments = list(arguments)
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.proxy = None
        self.sandbox = Sandbox()
        try:
            self.dir = self.sandbox.dir
            self.socket = self.dir / "engine.sock"
            self.proxy_socket = self.dir / "proxy.sock"
            self.data_root = self.dir / "data"
            self.exec_root = self.dir / "exec"
            self.pidfile = self.dir / "pid"
            self.log = self.dir / "log"
            self.recorder = Recorder(kind, tuple(map(int, VERSIONS[kind][-1].split("."))))
            self.api = Client(self.socket, VERSION, self.recorder)
            self.proxy = Proxy(self.proxy_socket, self.socket, self.recorder)
            if prepare is not None:
                prepare(self)
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def is_reference(self):
        return self.kind == "reference"

    @property
    def versions(self):
        """Versions to try, oldest first."""
        return VERSIONS[self.kind]

    @property
    def host(self):
        """DOCKER_HOST for clients whose traffic is to be recorded."""
        return f"unix://{self.proxy_socket}"

    def command(self):
        """The engine's command line."""
        line = [program(self.kind)]
        if self.is_reference:
            # cgroupfs wherever it runs: the tests look at files below their own parent.
            line += ["--exec-opt", "native.cgroupdriver=cgroupfs"]
        else:
            line += ["daemon"]
        line += ["-H", f"unix://{self.socket}", "--data-root", self.data_root, "--exec-root", self.exec_root,
                 "--pidfile", self.pidfile, "--cgroup-parent", self.sandbox.cgroup_parent]
        return [str(word) for word in line + self.arguments]

    def start(self, wait=True):
        """Start the daemon and wait until it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.sandbox.enter(self.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.environment, preexec_fn=die_with_parent,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            try:
                if Client(self.socket).get("/_ping", timeout=20).status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the engine does not answer:\n{self.log_tail()}\n{self.stacks()}")
            time.sleep(0.01)

    def stacks(self):
        """Where each thread of the daemon waits, for reports."""
        try:
            tasks = sorted(Path(f"/proc/{self.pid}/task").iterdir())
            return "\n".join(f"{(t / 'comm').read_text().strip()}: {(t / 'wchan').read_text()} "
                             f"{(t / 'syscall').read_text().strip()}" for t in tasks)
        except (OSError, IndexError):
            return f"the daemon is gone: {self.process.poll()}"

    @property
    def pid(self):
        """The daemon's pid as the machine numbers it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    @property
    def threads(self):
        """How many threads the daemon has."""
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def own_kilobytes(self, resting):
        """The daemon's own memory when it has no more than `resting` threads: those that it had for work keep a part of
        the heap for themselves, which differs by megabytes from time to time. Not the program's file pages: what these
        count for depends on how many processes run it."""
        wait_until(lambda: self.threads <= resting, timeout=60, what="threads that are idle to go")
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("Pss_Anon:")).split()[1])

    def kill(self):
        """kill -9 of the daemon; its containers must not notice."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.is_reference:
            self.pidfile.unlink(missing_ok=True)

    def stop(self, timeout=60):
        """SIGTERM, and wait."""
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(timeout)

    def restart(self):
        """SIGTERM and start again."""
        self.stop()
        self.start()

    def log_tail(self, size=4000):
        try:
            return self.log.read_bytes()[-size:].decode(errors="replace")
        except OSError:
            return ""

    def close(self):
        """End everything; nothing may remain."""
        if self.proxy is not None:
            self.proxy.close()
        self.sandbox.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    # Asking.

    def wait_answered(self, part, count=1):
        """Until `count` requests of other clients whose targets have `part` in them got the heads of their answers: whoever
        follows something then sees all that happens from now on."""
        wait_until(lambda: sum(part in one.target and one.status > 0 for one in self.recorder.exchanges()) >= count,
                   what=f"the answer to a request for {part!r}")

    def load_images(self):
        """What nearly every test needs."""
        self.api.post("/images/create", body=rootfs.busybox(), fromSrc="-", repo="busybox", tag="e2e", expect=200)

    def load_stack(self):
        """The name of the larger image, which is made and loaded if need be."""
        if self.api.get(f"/images/{STACK_IMAGE}/json").status != 200:
            with open(rootfs.debian("stack"), "rb") as archive:
                name, tag = STACK_IMAGE.split(":")
                self.api.post("/images/create", body=archive.read(), fromSrc="-", repo=name, tag=tag, expect=200, timeout=400)
        return STACK_IMAGE

    def name(self, stem="c"):
        """A name nobody else has."""
        return f"{stem}-{uuid.uuid4().hex[:10]}"

    def create(self, cmd=("true",), *, image=IMAGE, name=None, network="none", host=None, api=None, **config):
        """Create a container; without a network unless one is asked for, because that is what most tests need."""
        body = {"Image": image, **config}
        if cmd is not None:
            body["Cmd"] = ["sh", "-c", cmd] if isinstance(cmd, str) else list(cmd)
        body["HostConfig"] = {"NetworkMode": network, **(host or {})}
        made = (api or self.api).post("/containers/create", body, name=name, expect=201)
        return Container(self, made.json["Id"], made.json["Warnings"])

    def start_container(self, cmd=("sleep", "1000"), **options):
        """Create and start."""
        container = self.create(cmd, **options)
        container.start()
        return container

    def network(self, name=None, expect=201, **options):
        """Create a network; returns its id."""
        return self.api.post("/networks/create", {"Name": name or self.name("n"), **options}, expect=expect).json["Id"]

    def run(self, cmd, **options):
        """Run to the end: (exit code, stdout, stderr) as text."""
        container = self.start_container(cmd, **options)
        code = container.wait()
        out, err = container.logs()
        container.remove()
        return code, out, err

    def output(self, cmd, **options):
        """Standard output of a command that must succeed."""
        code, out, err = self.run(cmd, **options)
        assert code == 0, f"exit code {code}\n{out}\n{err}"
        return out

    def remove_everything(self):
        """What the test that just ended has left."""
        quiet = Client(self.socket, VERSION)
        for container in quiet.get("/containers/json", all=True).json:
            quiet.delete(f"/containers/{container['Id']}", force=True, v=True)
        for volume in quiet.get("/volumes").json["Volumes"] or []:
            quiet.delete(f"/volumes/{volume['Name']}", force=True)
        # Those that hold a configuration go after those that use it.
        custom = quiet.get("/networks", filters={"type": ["custom"]}).json
        for network in sorted(custom, key=lambda n: n["ConfigOnly"]):
            quiet.delete(f"/networks/{network['Id']}")
        for image in quiet.get("/images/json", all=True).json:
            if not KEPT & set(image["RepoTags"] or []):
                quiet.delete(f"/images/{image['Id']}", force=True)
            else:
                for tag in set(image["RepoTags"]) - KEPT:
                    quiet.delete(f"/images/{tag}")


class Container:
    """A container and the verbs on it."""

    def __init__(self, engine, id, warnings=None):
        self.engine = engine
        self.api = engine.api
        self.id = id
        self.warnings = warnings or []
        self.path = f"/containers/{id}"

    def start(self, expect=204, **query):
        return self.api.post(f"{self.path}/start", expect=expect, **query)

    def stop(self, expect=204, **query):
        return self.api.post(f"{self.path}/stop", expect=expect, **query)

    def kill(self, expect=204, **query):
        return self.api.post(f"{self.path}/kill", expect=expect, **query)

    def wait(self, **query):
        """The exit code, when it is over."""
        return self.api.post(f"{self.path}/wait", expect=200, **query).json["StatusCode"]

    def remove(self, expect=204, **query):
        return self.api.delete(self.path, expect=expect, **query)

    def inspect(self, **query):
        return self.api.get(f"{self.path}/json", expect=200, **query).json

    @property
    def state(self):
        return self.inspect()["State"]

    @property
    def pid(self):
        return self.state["Pid"]

    @property
    def ip(self):
        return self.inspect()["NetworkSettings"]["IPAddress"]

    @property
    def networks(self):
        """Its endpoints by network name."""
        return self.inspect()["NetworkSettings"]["Networks"]

    def connect(self, network, expect=200, api=None, **endpoint):
        return (api or self.api).post(f"/networks/{network}/connect",
                                      {"Container": self.id, "EndpointConfig": endpoint or None}, expect=expect)

    def disconnect(self, network, expect=200, force=False):
        return self.api.post(f"/networks/{network}/disconnect", {"Container": self.id, "Force": force}, expect=expect)

    def proc(self, name):
        """/proc/<init>/name, read from the engine's host."""
        return (self.engine.sandbox.proc(self.pid) / name).read_text()

    def logs(self, tty=False, **query):
        """(stdout, stderr) as text; with a tty everything is stdout."""
        query = {"stdout": True, "stderr": True, **query}
        body = self.api.get(f"{self.path}/logs", expect=200, **query).body
        out, err = (body, b"") if tty else demultiplex(body)
        return out.decode(errors="replace"), err.decode(errors="replace")

    def exec(self, cmd, **config):
        """Run a command inside: (exit code, stdout, stderr)."""
        cmd = ["sh", "-c", cmd] if isinstance(cmd, str) else list(cmd)
        body = {"Cmd": cmd, "AttachStdout": True, "AttachStderr": True, **config}
        id = self.api.post(f"{self.path}/exec", body, expect=201).json["Id"]
        data = self.api.post(f"/exec/{id}/start", {"Detach": False, "Tty": bool(config.get("Tty"))},
                             stream=True, expect=200).read()
        out, err = (data, b"") if config.get("Tty") else demultiplex(data)
        code = self.api.get(f"/exec/{id}/json", expect=200).json["ExitCode"]
        return code, out.decode(errors="replace"), err.decode(errors="replace")

    def wait_log(self, text, timeout=60):
        """Follow the log until `text` has been written."""
        answer = self.api.get(f"{self.path}/logs", stdout=True, stderr=True, follow=True, stream=True, timeout=timeout)
        seen = b""
        try:
            for chunk in answer.chunks():
                seen += chunk
                if text.encode() in seen:
                    return
        finally:
            answer.close()
        raise AssertionError(f"the log ended without {text!r}: {seen!r}")

    def cgroup(self, controller):
        """Directory of the container's cgroup for a v1 controller (or the unified one)."""
        for line in self.proc("cgroup").splitlines():
            number, names, path = line.split(":", 2)
            if cgroup_v2() and number == "0":
                return Path("/sys/fs/cgroup") / path.lstrip("/")
            if controller in names.split(","):
                return Path("/sys/fs/cgroup") / controller / path.lstrip("/")
        raise LookupError(controller)


def wait_until(condition, timeout=40, what="the condition"):
    """For facts of the machine that nobody announces. The time is for a machine that others keep busy."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout} s"
        time.sleep(0.02)


def quickest(action, times=5):
    """The seconds that an action took when the machine had most time for it, and what it returned last."""
    taken = []
    for _ in range(times):
        begun = time.monotonic()
        value = action()
        taken.append(time.monotonic() - begun)
    return min(taken), value


def dumps(value):
    """JSON for people."""
    return json.dumps(value, indent=1, sort_keys=True)
