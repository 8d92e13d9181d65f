"""kill -9 of the daemon while volumes are made, filled, used, pruned and removed: nothing is lost and nothing leaks."""

import contextlib
import os
import random
import threading
import time

import pytest

from harness.engine import IMAGE, wait_until
from harness.http import Client
from harness.plugin import Plugin

FILES = 300


def image_with_many_files(engine):
    """Copying it into a volume takes long enough to be hit."""
    seed = engine.create(f"mkdir /many; cd /many; for n in $(seq {FILES}); do echo $n > $n; done")
    seed.start()
    assert seed.wait() == 0
    engine.api.post("/commit", {}, container=seed.id, repo="many", tag="x", expect=201)
    seed.remove()


class Client_(threading.Thread):
    """Makes, uses and removes volumes of its own until the daemon is dead; remembers what was acknowledged."""

    def __init__(self, engine, number, chance):
        super().__init__(daemon=True)
        self.api = Client(engine.socket, "1.41")
        self.number, self.chance = number, chance
        self.there, self.gone, self.unknown = set(), set(), set()
        self.count = 0
        self.over = threading.Event()
        self.start()

    def ask(self, change, known):
        """`change` succeeded or not; when nobody can tell, the name is unknown."""
        try:
            return change()
        except (OSError, ValueError, IndexError, KeyError):
            self.unknown.add(known)
            self.over.set()
            return None

    def run(self):
        while not self.over.is_set():
            self.count += 1
            name = f"v{self.number}-{self.count}-{os.urandom(3).hex()}"
            how = self.chance.choice(["plain", "container", "fill", "tmpfs"])
            if how in ("plain", "tmpfs"):
                options = {"DriverOpts": {"type": "tmpfs", "device": "tmpfs"}} if how == "tmpfs" else {}
                made = self.ask(lambda: self.api.post("/volumes/create", {"Name": name, **options}).status, name)
            else:
                if how == "fill":
                    # An empty volume that is there is filled, too.
                    self.ask(lambda: self.api.post("/volumes/create", {"Name": name}).status, name)
                body = {"Image": "many:x", "Cmd": ["true"], "HostConfig": {"Binds": [f"{name}:/many"], "NetworkMode": "none"}}
                made = self.ask(lambda: self.api.post("/containers/create", body).status, name)
            if made != 201:
                continue
            self.there.add((name, how))
            if how in ("plain", "tmpfs") and self.chance.random() < 0.5:
                removed = self.ask(lambda: self.api.delete(f"/volumes/{name}").status, name)
                self.there.discard((name, how))
                if removed == 204:
                    self.gone.add(name)


def check(engine, clients):
    root = engine.data_root / "volumes"
    listed = {v["Name"] for v in engine.api.get("/volumes", expect=200).json["Volumes"] or []}
    for client in clients:
        for name, how in client.there:
            assert name in listed, f"{name} was acknowledged and is lost"
            if how in ("container", "fill"):
                # A container exists with it, so the copy is whole.
                assert len(list((root / name / "_data").iterdir())) == FILES, name
        assert not client.gone & listed, "removed volumes are back"
    for name in {n for c in clients for n in c.unknown} & listed:
        found = len(list((root / name / "_data").iterdir()))
        assert found in (0, FILES), f"{name} is half filled: {found}"
    # Nothing but what is listed, and nothing half made.
    on_disk = {p.name for p in root.iterdir() if p.is_dir()}
    assert on_disk == listed, on_disk ^ listed
    assert not list(root.glob("*/_fill"))


@pytest.mark.differs(reference="20.10 copies into the volume itself")
def test_kill_while_volumes_come_and_go(own_engine, request):
    rounds = max(6, request.config.getoption("--crash-rounds") // 8)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    engine = own_engine()
    image_with_many_files(engine)
    before = engine.sandbox.mounts()
    for _ in range(rounds):
        clients = [Client_(engine, n, random.Random(chance.random())) for n in range(3)]
        time.sleep(chance.uniform(0.05, 0.6))
        engine.kill()
        for client in clients:
            client.over.set()
            client.join(70)
            assert not client.is_alive()
        engine.start()
        engine.recorder.drain()
        check(engine, clients)
        engine.remove_everything()
        wait_until(lambda: engine.sandbox.mounts() == before, what="the mounts as they were")
        # The image is the tests' own and goes with everything.
        if engine.api.get("/images/many:x/json").status != 200:
            image_with_many_files(engine)


@pytest.mark.differs(reference="its containers end with it")
def test_kill_while_a_shared_mount_is_in_use(own_engine):
    """The mount is the containers'; it is found again, shared on, and gone with the last of them."""
    engine = own_engine()
    engine.api.post("/volumes/create", {"Name": "ram", "DriverOpts": {"type": "tmpfs", "device": "tmpfs"}}, expect=201)
    first = engine.start_container(host={"Binds": ["ram:/r"]})
    first.exec("echo kept > /r/file")
    for _ in range(5):
        engine.kill()
        engine.start()
        other = engine.start_container(host={"Binds": ["ram:/r"]})
        assert other.exec("cat /r/file")[1] == "kept\n"
        first.remove(force=True)
        first = other
    engine.api.delete("/volumes/ram", expect=409)
    engine.kill()
    shim = (engine.exec_root / "containers" / first.id / "shim.pid").read_text().split()[0]
    engine.sandbox.run(["kill", "-9", shim])
    engine.start()
    wait_until(lambda: not first.state["Running"], what="the end of the container")
    fresh = engine.create("ls /r | wc -l", image=IMAGE, host={"Binds": ["ram:/r"]})
    fresh.start()
    fresh.wait()
    assert fresh.logs()[0].strip() == "0"


def places(engine, plugin, name, how):
    """A new, empty volume; the directory that it is on the host."""
    body = {"Name": name}
    place = engine.data_root / "volumes" / name / "_data"
    if how == "bind":
        place = engine.dir / name
        place.mkdir()
        body["DriverOpts"] = {"type": "none", "o": "bind", "device": str(place)}
    if how == "plugin":
        place = plugin.directory / "mnt" / name
        body["Driver"] = plugin.name
    engine.api.post("/volumes/create", body, expect=201)
    return place


@pytest.mark.differs(reference="20.10 copies into the volume itself")
@pytest.mark.parametrize("how", ["used", "bind", "plugin", "part"])
def test_kill_while_a_directory_that_cannot_be_exchanged_is_filled(own_engine, request, how):
    """It is used by a container, a mount, or a part of a volume: still it has all of the image's files or none."""
    rounds = max(12, request.config.getoption("--crash-rounds") // 4)
    engine = own_engine()
    image_with_many_files(engine)
    plugin = Plugin(engine, "VolumeDriver").start() if how == "plugin" else None
    api = engine.api.at("1.45")
    took = 0
    results = {"whole": 0, "nothing": 0, "left to the next mount": 0}
    for number in range(rounds):
        name = f"fill-{number}"
        place = places(engine, plugin, name, how)
        user = None
        mount = {"Type": "volume", "Source": name, "Target": "/many"}
        if how == "part":
            place = place / "part"
            place.mkdir()
            mount["VolumeOptions"] = {"Subpath": "part"}
        else:
            user = engine.start_container(host={"Binds": [f"{name}:/u"]})
        body = {"Image": "many:x", "Cmd": ["true"], "HostConfig": {"Mounts": [mount], "NetworkMode": "none"}}

        def create(body=body, api=api):
            # Killed in the middle of it.
            with contextlib.suppress(OSError, ValueError, IndexError, KeyError):
                api.post("/containers/create", body)

        thread = threading.Thread(target=create)
        begun = time.monotonic()
        thread.start()
        if number == 0:
            thread.join(60)
            took = time.monotonic() - begun
        elif number % 2:
            time.sleep(random.uniform(0, took))
        else:
            # When the first of the image's files is in its place, the last one is not.
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not any(p.name[0] != "." for p in place.iterdir()):
                pass
        engine.kill()
        thread.join(30)
        assert not thread.is_alive()
        engine.start()
        engine.recorder.drain()
        if how == "plugin" and any(p.name.startswith(".gantry") for p in place.iterdir()):
            results["left to the next mount"] += 1
        if how == "plugin":
            other = engine.create(host={"Binds": [f"{name}:/u"]})
            other.start()
        found = sorted(p.name for p in place.iterdir())
        assert len(found) in (0, FILES) and not [n for n in found if n.startswith(".")], found
        results["whole" if found else "nothing"] += 1
        assert not [p.name for p in (engine.data_root / "volumes").glob("*/_f*")]
        # Whoever comes next finds it whole, and what the living container has is the same directory.
        again = api.post("/containers/create", body, expect=201).json["Id"]
        assert len(list(place.iterdir())) == FILES
        assert user is None or user.exec("ls /u | wc -l")[1].strip() == str(FILES)
        api.delete(f"/containers/{again}", expect=204)
        for container in engine.api.get("/containers/json", all=True, expect=200).json:
            engine.api.delete(f"/containers/{container['Id']}", force=True, expect=204)
        engine.api.delete(f"/volumes/{name}", expect=204)
    print(results)
