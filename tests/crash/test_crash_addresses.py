"""Addresses are never given twice: eight docker-py clients on two small networks, and kill -9 of the daemon in between."""

import collections
import json
import random
import threading
import time

import docker as sdk
import pytest
import requests

from harness.engine import IMAGE

CLIENTS = 8
# Few enough that each address is given, given back and given again; and sometimes there is none.
NETWORKS = {"narrow": ("10.77.0.0/27", "fd00:77::/64"), "other": ("10.78.0.0/27", "fd00:78::/64")}


class Worker(threading.Thread):
    """Makes, moves and removes containers of its own until it is told to end."""

    def __init__(self, engine, seed):
        super().__init__(daemon=True)
        self.client = sdk.DockerClient(base_url=f"unix://{engine.socket}", version="1.41", timeout=30)
        self.random = random.Random(seed)
        self.ended = threading.Event()
        self.done = collections.Counter()
        self.strange = []
        self.start()

    def run(self):
        while not self.ended.is_set():
            try:
                self.step()
            except sdk.errors.APIError as e:
                # No address is left, or a name is gone: answers, and not failures of the daemon's.
                text = str(e.explanation)
                if not any(words in text for words in ("no available", "is not running", "already exists in network", "is already", "No such container", "is not connected")):
                    self.strange.append(text)
            except (requests.exceptions.RequestException, OSError, ValueError):
                # The daemon is dead.
                self.ended.wait(0.02)
        self.client.close()

    def step(self):
        first, second = self.random.sample(list(NETWORKS), 2)
        container = self.client.containers.run(IMAGE, ["sleep", "1000"], detach=True, network=first, labels={"w": "1"})
        self.done["made"] += 1
        for _ in range(self.random.randrange(3)):
            self.client.networks.get(second).connect(container)
            self.done["connected"] += 1
            if self.random.random() < 0.7:
                self.client.networks.get(self.random.choice([first, second])).disconnect(container)
                self.done["disconnected"] += 1
                break
        if self.random.random() < 0.75:
            container.remove(force=True)


def inside(engine, pid):
    """The addresses that a container really has, of both families."""
    out = engine.sandbox.run(["nsenter", "-t", str(pid), "-n", "ip", "-j", "addr"]).stdout
    found = {(a["family"], a["local"]) for link in json.loads(out) if link["ifname"] != "lo" for a in link["addr_info"] if a["scope"] == "global"}
    return found


def check(engine):
    """Every address of every running container, once, and as inspect says; the networks say the same."""
    given = collections.Counter()
    told = {name: {} for name in NETWORKS}
    for item in engine.api.get("/containers/json", filters={"label": ["w=1"]}, expect=200).json:
        one = engine.api.get(f"/containers/{item['Id']}/json", expect=200).json
        says = set()
        for name, end in one["NetworkSettings"]["Networks"].items():
            says |= {("inet", end["IPAddress"]), ("inet6", end["GlobalIPv6Address"])}
            told[name][item["Id"]] = (f"{end['IPAddress']}/{end['IPPrefixLen']}", f"{end['GlobalIPv6Address']}/{end['GlobalIPv6PrefixLen']}")
        assert inside(engine, one["State"]["Pid"]) == says, item["Id"]
        given.update(says)
    assert not [address for address, count in given.items() if count > 1], given
    for name in NETWORKS:
        members = engine.api.get(f"/networks/{name}", expect=200).json["Containers"]
        assert {id: (m["IPv4Address"], m["IPv6Address"]) for id, m in members.items()} == told[name]
    return len(given) // 2


@pytest.mark.timeout(420)
@pytest.mark.differs(reference="it forgets the networks of containers when it is killed, and its live containers end or lose their places")
def test_addresses_are_never_given_twice(own_engine, request):
    engine = own_engine()
    for name, pools in NETWORKS.items():
        engine.api.post("/networks/create", {"Name": name, "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": p} for p in pools]}}, expect=201)
    rounds = max(5, request.config.getoption("--crash-rounds") // 10)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    done, most = collections.Counter(), 0
    for turn in range(rounds):
        workers = [Worker(engine, chance.random()) for _ in range(CLIENTS)]
        time.sleep(chance.uniform(1, 3))
        # Every other time all of them come to their ends by themselves.
        if turn % 2:
            engine.kill()
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive(), "a client hangs"
            done.update(worker.done)
            assert not worker.strange, worker.strange
        if turn % 2:
            engine.start()
            engine.recorder.drain()
        most = max(most, check(engine))
        for item in engine.api.get("/containers/json", all=True, filters={"label": ["w=1"]}, expect=200).json:
            if chance.random() < 0.6:
                engine.api.delete(f"/containers/{item['Id']}", force=True, expect=(204, 404))
    print(dict(done), f"at most {most} places at a time")
    # Nothing is lost either: when all are gone, the pools are whole.
    for item in engine.api.get("/containers/json", all=True, expect=200).json:
        engine.api.delete(f"/containers/{item['Id']}", force=True, expect=204)
    for n in range(29):
        engine.start_container(network="narrow")
    assert "no available" in engine.create(network="narrow").start(expect=None).json["message"]
