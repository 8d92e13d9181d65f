"""kill -9 of the daemon at random moments while clients work on networks; nothing is lost, nothing leaks, nothing is given twice."""

import ipaddress
import random
import threading
import time

import pytest

from harness.engine import IMAGE, wait_until
from harness.http import Client

WORKERS = 4


class Worker(threading.Thread):
    """Creates, joins, leaves and removes networks until told to end; remembers what the engine confirmed."""

    def __init__(self, engine, number, seed, members):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.api = Client(engine.socket, "1.41")
        self.number = number
        self.members = members  # A running and a stopped container that are this worker's.
        self.networks = {}  # name -> True: there; False: gone; None: nobody knows
        self.places = {}  # (container, network) -> the same
        self.made = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                self.step()
            except (OSError, ValueError, KeyError, IndexError):
                # The daemon is dead; what was asked may or may not have happened.
                self.ended.wait(0.01)

    def ask(self, book, key, value, request, good):
        """What was asked is unknown until it is answered."""
        before = book.get(key)
        book[key] = None
        answer = request()
        book[key] = value if answer.status == good else before
        return answer.status == good

    def step(self):
        name = f"crash-{self.number}-{self.made}"
        self.made += 1
        if not self.ask(self.networks, name, True, lambda: self.api.post("/networks/create", {"Name": name}, timeout=20), 201):
            return
        for container in self.members:
            body = {"Container": container}
            if not self.ask(self.places, (container, name), True, lambda: self.api.post(f"/networks/{name}/connect", body, timeout=20), 200):
                return
            if self.random.random() < 0.7 and not self.ask(
                    self.places, (container, name), False, lambda: self.api.post(f"/networks/{name}/disconnect", body, timeout=20), 200):
                return
        made = self.api.post("/containers/create", {"Image": IMAGE, "Cmd": ["sleep", "1000"], "Labels": {"crash": "1"},
                             "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": name, "PortBindings": {"80/tcp": [{"HostPort": ""}]}}}, timeout=20)
        path = f"/containers/{made.json['Id']}"
        self.api.post(f"{path}/start", timeout=20)
        self.api.delete(path, force=True, timeout=20)
        for container in self.members:
            self.ask(self.places, (container, name), False, lambda: self.api.post(
                f"/networks/{name}/disconnect", {"Container": container}, timeout=20), 200)
        if self.random.random() < 0.7:
            self.ask(self.networks, name, False, lambda: self.api.delete(f"/networks/{name}", timeout=20), 204)


def check(engine, workers):
    """What was confirmed is so, and the kernel has what the records say and nothing else."""
    api = engine.api
    networks = {n["Name"]: n for n in api.get("/networks", filters={"type": ["custom"]}, expect=200).json}
    inspected = {}
    for worker in workers:
        for name, there in worker.networks.items():
            assert there is None or (name in networks) == there, f"{name}: {there} was confirmed"
        for container in worker.members:
            inspected[container] = api.get(f"/containers/{container}/json", expect=200).json
        for (container, name), there in worker.places.items():
            found = name in inspected[container]["NetworkSettings"]["Networks"]
            assert there is None or found == there, f"{container} on {name}: {there} was confirmed"
    bridges = {f"br-{n['Id'][:12]}" for n in networks.values()}
    wait_until(lambda: {l for l in engine.sandbox.links() if l.startswith("br-")} == bridges, what="the bridges of the networks alone")
    subnets = [ipaddress.ip_network(n["IPAM"]["Config"][0]["Subnet"]) for n in networks.values()]
    assert not any(a.overlaps(b) for i, a in enumerate(subnets) for b in subnets[:i])
    wait_until(lambda: contradictions(engine) == [], what=f"agreement about {contradictions(engine)}")


def contradictions(engine):
    """What the records of running containers and the kernel do not agree about. A container that was killed just before the
    daemon may be on its way out, so that this may be true for a moment."""
    found, addresses, links = [], [], 0
    for item in engine.api.get("/containers/json", expect=200).json:
        answer = engine.api.get(f"/containers/{item['Id']}/json", expect=(200, 404))
        if answer.status == 404 or not answer.json["State"]["Running"]:
            continue
        networks = answer.json["NetworkSettings"]["Networks"]
        links += len(networks)
        addresses += [(name, end["IPAddress"]) for name, end in networks.items()]
        # Its own view: an interface for each network.
        inside = interfaces(engine, answer.json["State"]["Pid"])
        if inside != len(networks):
            found.append(f"{inside} interfaces on {sorted(networks)}")
    # Nobody asks for one now.
    assert len(addresses) == len(set(addresses)), "an address was given twice"
    if veths(engine) != links:
        found.append(f"{veths(engine)} links for {links} places")
    return found


def veths(engine):
    out = engine.sandbox.run(["ip", "-o", "link"]).stdout
    return sum(1 for line in out.splitlines() if " master " in line)


def interfaces(engine, pid):
    done = engine.sandbox.run(["nsenter", "-t", str(pid), "-n", "ip", "-o", "link"], check=False)
    return len(done.stdout.splitlines()) - 1 if done.returncode == 0 else None


@pytest.mark.timeout(420)
@pytest.mark.differs(reference="20.10 forgets networks of running containers, leaks interfaces, and takes seconds to come back each time")
def test_kill_at_random_moments(own_engine, request):
    engine = own_engine("--live-restore", "--default-address-pool", "base=10.128.0.0/9,size=24")
    rounds = 2 if engine.is_reference else max(10, request.config.getoption("--crash-rounds") // 3)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    members = [(engine.start_container(network="bridge").id, engine.create(network="bridge").id) for _ in range(WORKERS)]
    rules = engine.sandbox.ruleset()
    made = 0
    deadline = time.monotonic() + 240
    for turn in range(rounds):
        workers = [Worker(engine, n, chance.random(), members[n]) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        time.sleep(chance.uniform(0.1, 0.8))
        engine.kill()
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join(25)
            assert not worker.is_alive(), "a client hangs although the daemon is dead"
        made += sum(worker.made for worker in workers)
        engine.start()
        engine.recorder.drain()
        check(engine, workers)
        for item in engine.api.get("/containers/json", all=True, filters={"label": ["crash=1"]}).json:
            engine.api.delete(f"/containers/{item['Id']}", force=True, expect=(204, 404))
        for pair in members:
            for id in pair:
                for name in set(engine.api.get(f"/containers/{id}/json").json["NetworkSettings"]["Networks"]) - {"bridge"}:
                    engine.api.post(f"/networks/{name}/disconnect", {"Container": id}, expect=200)
        engine.api.post("/networks/prune", expect=200)
        assert engine.api.get("/networks", filters={"type": ["custom"]}).json == []
        wait_until(lambda: sorted(engine.sandbox.ruleset()) == sorted(rules), what="the firewall as it was")
        wait_until(lambda: veths(engine) == WORKERS, what="the interfaces as they were")
        if time.monotonic() > deadline:
            break
    # A machine that others keep busy does fewer rounds.
    assert turn + 1 >= rounds // 10, f"{turn + 1} rounds took 240 s"
    assert made > turn, f"{made} networks in {turn + 1} rounds are no work to interrupt"
