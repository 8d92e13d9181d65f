"""kill -9 of the daemon at random moments while clients work; after each restart nothing is lost and nothing leaks."""

import random
import threading
import time

import pytest

from harness.engine import IMAGE, wait_until
from harness.files import below, storage_size
from harness.http import Client

WORKERS = 4


class Worker(threading.Thread):
    """Creates, starts, execs, stops and removes until told to end; remembers what the engine confirmed."""

    def __init__(self, engine, number, seed):
        super().__init__(daemon=True)
        self.engine = engine
        self.random = random.Random(seed)
        self.api = Client(engine.socket, "1.41")
        self.number = number
        self.confirmed = {}  # id -> "created", "running" or "removing"
        self.made = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                self.step()
            except (OSError, ValueError, KeyError, IndexError):
                # The daemon is dead; what was asked may or may not have happened.
                self.ended.wait(0.01)

    def step(self):
        network = self.random.choice(["none", "none", "bridge"])
        host = {"NetworkMode": network, "Binds": [f"crash-{self.number}:/v"]}
        if network == "bridge":
            host["PortBindings"] = {"80/tcp": [{"HostPort": ""}]}
        made = self.api.post("/containers/create", {
            "Image": IMAGE, "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}}, "HostConfig": host, "Labels": {"crash": "1"}}, timeout=20)
        if made.status != 201:
            return
        id = made.json["Id"]
        self.confirmed[id] = "created"
        self.made += 1
        path = f"/containers/{id}"
        if self.random.random() < 0.2:
            return
        if self.api.post(f"{path}/start", timeout=20).status != 204:
            return
        self.confirmed[id] = "running"
        exec_id = self.api.post(f"{path}/exec", {"Cmd": ["true"], "AttachStdout": True}, timeout=20).json["Id"]
        self.api.post(f"/exec/{exec_id}/start", {"Detach": False}, timeout=20)
        if self.random.random() < 0.1:
            return
        self.confirmed[id] = "removing"
        if self.api.delete(path, force=True, v=True, timeout=20).status == 204:
            del self.confirmed[id]


def steady(engine, name):
    """A container that must outlive everything, with numbered lines as proof."""
    return engine.start_container(["probe", "lines", "-1", "5000"], name=name, network="bridge", host={
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "200m"}}})


def check(engine, workers, steadies, pids):
    """The state after a restart."""
    api = engine.api
    listed = {c["Id"]: c["State"] for c in api.get("/containers/json", all=True, expect=200).json}
    running = {id for id, state in listed.items() if state == "running"}
    for container, pid in zip(steadies, pids):
        state = container.state
        assert state["Running"] and state["Pid"] == pid, "a running container was lost"
    for worker in workers:
        for id, expected in list(worker.confirmed.items()):
            if expected == "created":
                assert id in listed, "a created container was lost"
            elif expected == "running":
                assert id in running, "a started container was lost"
            elif id not in listed:
                del worker.confirmed[id]
    # Each running container has its processes, and nothing else runs.
    for id in running:
        wait_until(lambda: lives_as_it_says(engine, id), what="a process of each running container")
    # Asked anew each time: what was killed just before the daemon may be on its way out, without its interface already.
    def alive(network=None):
        found = api.get("/containers/json", expect=200).json
        return {c["Id"] for c in found if network in (None, c["HostConfig"]["NetworkMode"])}
    # One interface for each running container on the bridge.
    wait_until(lambda: len(peers(engine)) == len(alive("bridge")), what="an interface for each running container")
    # One cgroup for each running container, and none of the dead.
    wait_until(lambda: cgroup_ids(engine) == alive(), what="cgroups of the running containers alone")
    # Processes: those of the running containers, their parents, the daemon.
    wait_until(lambda: sleepers(engine) == len(alive()) - len(steadies), what="an end of processes without a container")


def lives_as_it_says(engine, id):
    """A container that runs has a process; one that was killed just before the daemon may have ended, or be gone, by now."""
    answer = engine.api.get(f"/containers/{id}/json", expect=(200, 404))
    state = answer.json["State"] if answer.status == 200 else {"Running": False}
    return not state["Running"] or engine.sandbox.proc(state["Pid"]).exists()


def peers(engine):
    """Interfaces that are ports of the engine's bridge."""
    out = engine.sandbox.run(["ip", "-o", "link"]).stdout
    return [line.split(": ")[1] for line in out.splitlines() if " master " in line]


def cgroup_ids(engine):
    return {part for path in engine.sandbox.cgroups() for part in path.split("/") if len(part) == 64}


def sleepers(engine):
    return sum(1 for line in engine.sandbox.processes().values() if line == "sleep 1000")


def complete(container):
    """The log has every line, once and in order."""
    lines = container.logs()[0].splitlines()
    assert lines == [f"line {n}" for n in range(1, len(lines) + 1)]
    return len(lines)


def clean(engine, workers):
    """Remove what the workers left, as a user would."""
    for worker in workers:
        worker.confirmed.clear()
    for item in engine.api.get("/containers/json", all=True, filters={"label": ["crash=1"]}).json:
        engine.api.delete(f"/containers/{item['Id']}", force=True, v=True, expect=(204, 404))


def files(engine):
    """Names below the data root that belong to containers and layers."""
    found = set()
    for path in below(engine.data_root):
        parts = path.relative_to(engine.data_root).parts
        if any(len(part) >= 64 for part in parts) and "_data" not in parts:
            found.add("/".join(parts[:3]))
    return found


@pytest.mark.timeout(420)
@pytest.mark.differs(reference="20.10 loses logs, leaks mounts and interfaces, and takes seconds to come back each time")
def test_kill_at_random_moments(own_engine, request):
    engine = own_engine("--live-restore")
    rounds = 3 if engine.is_reference else request.config.getoption("--crash-rounds")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    steadies = [steady(engine, f"steady-{n}") for n in range(2)]
    pids = [c.pid for c in steadies]
    mounts, rules = engine.sandbox.mounts(), engine.sandbox.ruleset()
    kept = files(engine)
    seen = [0, 0]
    made = 0
    # A machine that others keep busy does fewer rounds.
    deadline = time.monotonic() + 240
    for turn in range(rounds):
        workers = [Worker(engine, n, chance.random()) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        time.sleep(chance.uniform(0.0, 0.25))
        engine.kill()
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join(25)
            assert not worker.is_alive(), "a client hangs although the daemon is dead"
        made += sum(worker.made for worker in workers)
        engine.start()
        engine.recorder.drain()
        check(engine, workers, steadies, pids)
        clean(engine, workers)
        if turn % 10 == 9 or turn == rounds - 1:
            for index, container in enumerate(steadies):
                lines = complete(container)
                assert lines > seen[index], "a running container has stopped writing"
                seen[index] = lines
            for name in range(WORKERS):
                engine.api.delete(f"/volumes/crash-{name}", force=True)
            wait_until(lambda: engine.sandbox.mounts() == mounts, what="the mounts as they were")
            wait_until(lambda: sorted(engine.sandbox.ruleset()) == sorted(rules), what="the firewall as it was")
            wait_until(lambda: files(engine) == kept, what=f"files as before: {sorted(files(engine) ^ kept)[:5]}")
        if time.monotonic() > deadline:
            break
    assert turn + 1 >= rounds // 10, f"{turn + 1} rounds took 240 s"
    assert made > turn, f"{made} containers in {turn + 1} rounds are no work to interrupt"
    for container in steadies:
        container.kill()
        assert container.wait() == 137
        complete(container)
        container.remove()
    wait_until(lambda: engine.sandbox.cgroups() == [] or cgroup_ids(engine) == set())
    wait_until(lambda: sleepers(engine) == 0)


def test_kill_during_import_and_load(own_engine):
    """Half an image is no image, and its files go."""
    import io
    import os
    from harness.rootfs import TarBuilder
    engine = own_engine(images=True)
    baseline = storage_size(engine.data_root)
    images = engine.api.get("/images/json", all=True).json
    data = TarBuilder().add("big", os.urandom(8 << 20)).bytes()
    for turn in range(8):
        api = Client(engine.socket, "1.41")

        def upload():
            try:
                api.post("/images/create", body=data, fromSrc="-", repo=f"half-{turn}", timeout=20)
            except OSError:
                pass

        thread = threading.Thread(target=upload)
        thread.start()
        time.sleep(random.uniform(0, 0.08))
        engine.kill()
        thread.join()
        engine.start()
        found = engine.api.get("/images/json", filters={"reference": [f"half-{turn}"]}).json
        if found:  # It was complete: then it is whole.
            saved = engine.api.get(f"/images/half-{turn}/get", expect=200).body
            assert len(saved) > 8 << 20
            engine.api.delete(f"/images/half-{turn}", expect=200)
        for dangling in engine.api.get("/images/json", filters={"dangling": ["true"]}).json:
            engine.api.delete(f"/images/{dangling['Id']}", expect=200)
    assert engine.api.get("/images/json", all=True).json == images
    # 20.10 now and then keeps what a cut-off import has unpacked.
    wait_until(lambda: storage_size(engine.data_root) - baseline < 4 << 20 or engine.is_reference, what="nothing to be left behind")
    assert engine.output("echo fine") == "fine\n"


def test_kill_of_a_shim(own_engine):
    """When a container's own parent is killed the container ends with it, and the engine says so."""
    engine = own_engine()
    container = engine.start_container(["sleep", "4321"])
    parent = int((engine.sandbox.proc(container.pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])
    assert parent > 1
    engine.sandbox.run(["kill", "-9", str(parent)])
    wait_until(lambda: container.state["Status"] == "exited")
    wait_until(lambda: "sleep 4321" not in engine.sandbox.processes().values())
    assert container.state["ExitCode"] != 0
    container.start()
    assert container.state["Running"]
    container.remove(force=True)
    wait_until(lambda: cgroup_ids(engine) == set())


@pytest.mark.differs(reference="20.10 leaves the container frozen")
def test_kill_during_a_commit(own_engine):
    """The container, frozen while its files are read, goes on; half an image is none."""
    engine = own_engine("--live-restore")
    container = engine.start_container("dd if=/dev/zero of=/big bs=1M count=200 2>/dev/null; echo made;"
                                       "while :; do echo $((n=n+1)) > /next; mv /next /count; done")
    container.wait_log("made")
    wait_until(lambda: container.exec("cat /count")[0] == 0, what="the container's first count")
    images = lambda: {image["Id"] for image in engine.api.get("/images/json", all=True, expect=200).json}
    stored = lambda: {p.name for p in [*engine.data_root.glob("images/blobs/sha256/*"), *engine.data_root.glob("layers/*")]}
    before, files_before = images(), stored()
    for delay in (0.02, 0.1, 0.3, 0.8):
        def commit():
            try:
                Client(engine.socket, "1.41").request("POST", "/commit", container=container.id, repo="half", timeout=60)
            except (OSError, ValueError):
                pass  # The daemon is dead.
        client = threading.Thread(target=commit)
        client.start()
        time.sleep(delay)
        engine.kill()
        client.join()
        engine.start()
        count = container.exec("cat /count")[1]
        wait_until(lambda: container.exec("cat /count")[1] != count, what="the container going on")
        for image in images() - before:
            # It was complete; then it is usable.
            engine.api.delete(f"/images/{image}", force=True, expect=200)
    assert images() == before
    if not engine.is_reference:
        wait_until(lambda: stored() == files_before, what="the files as they were")
    engine.api.request("POST", "/commit", container=container.id, repo="whole", expect=201)
    assert engine.output("test -s /count && echo fine", image="whole") == "fine\n"
