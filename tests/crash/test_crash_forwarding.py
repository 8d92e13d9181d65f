"""kill -9 of whoever carries what comes to published ports, of the container's parent and of the daemon, under connections."""

import functools
import os
import random
import socket
import threading
import time

import pytest

from harness import published
from harness.engine import wait_until
from harness.published import HOST, carriers, give_addresses

WORKERS = 4
# Of a container without IPv6: nothing of this is the kernel's work.
PLACES = (("host", "::1"), ("outside", HOST))
answers = functools.partial(published.answers, port=8080, patience=5)
VICTIMS = ("carrier", "parent", "daemon", "daemon and carrier", "daemon and parent")


class Worker(threading.Thread):
    """Connects, has bytes sent back and closes, in several ways, until told to end; whoever is killed may break it off."""

    def __init__(self, engine, number, seed):
        super().__init__(daemon=True)
        self.engine, self.number, self.random = engine, number, random.Random(seed)
        self.whole = 0
        self.wrong = []
        self.ended = threading.Event()

    def run(self):
        while not self.ended.is_set():
            try:
                self.step()
            except OSError:
                self.ended.wait(0.02)

    def step(self):
        where, address = PLACES[self.number % 2]
        data = os.urandom(self.random.choice([1, 1000, 300_000]))
        with self.engine.sandbox.socket(where, socket.SOCK_STREAM, socket.AF_INET6) as sock:
            sock.settimeout(20)
            sock.connect((address, 8080))
            sender = threading.Thread(target=send, args=(sock, data), daemon=True)
            sender.start()
            back = b""
            wanted = len(data) if self.random.random() < 0.8 else len(data) // 2
            while len(back) < wanted:
                chunk = sock.recv(1 << 16)
                if not chunk:
                    break
                back += chunk
            if back != data[:len(back)]:
                self.wrong.append(f"{len(back)} of {len(data)} bytes are others")
            self.whole += len(back) >= wanted
        sender.join(20)


def send(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass


def parent_of(engine, container):
    return int((engine.sandbox.proc(container.pid) / "stat").read_text().rsplit(")", 1)[1].split()[1])


def sockets(engine):
    """What listens in the engine's network namespace at the published ports."""
    out = engine.sandbox.run(["ss", "-Hanput", "sport = :8080 or sport = :8081"]).stdout
    return [line for line in out.splitlines() if line.split()[1] in ("LISTEN", "UNCONN")]


def kill(engine, container, victim):
    """Kills it; whether the container goes on."""
    if "daemon" in victim:
        engine.kill()
    if "carrier" in victim:
        for pid in carriers(engine):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass
    if "parent" in victim:
        engine.sandbox.run(["kill", "-9", str(container.parent)])
    return "parent" not in victim


@pytest.mark.timeout(420)
@pytest.mark.differs(reference="its proxies are the daemon's children: they end with it, and nobody starts them again")
def test_kill_under_connections(own_engine, request):
    engine = own_engine("--live-restore")
    give_addresses(engine.sandbox)
    processes, rules, links = engine.sandbox.processes(), engine.sandbox.ruleset(), engine.sandbox.links()
    container = engine.create("nc -lul -p 81 -e cat & exec probe cat 80", network="bridge", ExposedPorts={"80/tcp": {}, "81/udp": {}},
                              host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}], "81/udp": [{"HostPort": "8081"}]}})
    container.start()
    wait_until(lambda: answers(engine, *PLACES[0]), what="an answer")
    container.parent = parent_of(engine, container)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    rounds = max(len(VICTIMS), request.config.getoption("--crash-rounds") // 2)
    victims = [VICTIMS[turn % len(VICTIMS)] for turn in range(rounds)]
    chance.shuffle(victims)
    whole = 0
    deadline = time.monotonic() + 300
    for turn, victim in enumerate(victims):
        workers = [Worker(engine, n, chance.random()) for n in range(WORKERS)]
        for worker in workers:
            worker.start()
        time.sleep(chance.uniform(0.05, 0.6))
        goes_on = kill(engine, container, victim)
        if goes_on:
            # Without the daemon, too, and whoever carried is replaced.
            for place in PLACES:
                wait_until(lambda: answers(engine, *place), what=f"{place} after {victim}")
        for worker in workers:
            worker.ended.set()
        for worker in workers:
            worker.join(60)
            assert not worker.is_alive(), f"a connection hangs after {victim}"
            assert not worker.wrong, victim
        whole += sum(worker.whole for worker in workers)
        if "daemon" in victim:
            engine.start()
            engine.recorder.drain()
        if goes_on:
            assert container.state["Running"], victim
        else:
            wait_until(lambda: not container.state["Running"], what="the container's end")
            wait_until(lambda: carriers(engine) == [], what="the end of those who carry")
            wait_until(lambda: sockets(engine) == [], what="free ports")
            # At once: nothing of the last run is in the way.
            container.start()
            container.parent = parent_of(engine, container)
        for place in PLACES:
            wait_until(lambda: answers(engine, *place), what=f"{place} after {victim}")
        wait_until(lambda: len(carriers(engine)) == 1, what="one that carries")
        # The connections of this round are closed.
        (pid,) = carriers(engine)
        wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 40, what="descriptors of connections that are over")
        # The one of TCP in IPv4, which the kernel leads, does not listen.
        wait_until(lambda: len(sockets(engine)) == 3, what=f"three sockets; there were {sockets(engine)}")
        # A machine that others keep busy does fewer rounds.
        if time.monotonic() > deadline:
            break
    assert turn + 1 >= len(VICTIMS), f"{turn + 1} rounds took 300 s"
    assert whole > turn, f"{whole} connections in {turn + 1} rounds are no work to interrupt"
    container.remove(force=True)
    wait_until(lambda: carriers(engine) == [] and sockets(engine) == [], what="free ports")
    wait_until(lambda: engine.sandbox.links() == links, what="the interfaces as they were")
    wait_until(lambda: sorted(engine.sandbox.ruleset()) == sorted(rules), what="the firewall as it was")
    wait_until(lambda: len(engine.sandbox.processes()) <= len(processes), what="the processes as they were")
