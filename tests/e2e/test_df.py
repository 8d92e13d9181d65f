"""`GET /system/df`: images, containers and volumes with what they take, by version."""

import threading

import pytest

from harness import images
from harness.engine import VERSION
from harness.http import Client

MIB = 1 << 20


def usage(engine, version=VERSION, **query):
    return Client(engine.socket, version, engine.recorder).get("/system/df", expect=200, **query).json


def one(listed, key, value):
    return next(entry for entry in listed if entry[key] == value)


def test_containers(engine):
    busy = engine.start_container("head -c 3145728 /dev/zero > /big; echo written; sleep 1000", name=engine.name("df"))
    busy.wait_log("written")
    done = engine.create("true")
    df = usage(engine)
    found = one(df["Containers"], "Id", busy.id)
    assert 3 * MIB <= found["SizeRw"] < 4 * MIB
    assert found["SizeRootFs"] - found["SizeRw"] == one(df["Containers"], "Id", done.id)["SizeRootFs"]
    assert found["State"] == "running" and found["Names"] and found["Mounts"] == []
    image = one(df["Images"], "Id", busy.inspect()["Image"])
    assert image["Containers"] == 2 and image["Size"] == found["SizeRootFs"] - found["SizeRw"]
    assert df["LayersSize"] >= image["Size"] - image["SharedSize"] > 0


def test_volumes(engine):
    used, idle = engine.name("df"), engine.name("df")
    for name in (used, idle):
        engine.api.post("/volumes/create", {"Name": name, "Labels": {"size": name}}, expect=201)
    write = "mkdir /v/d && head -c 2097152 /dev/zero > /v/d/big && ln /v/d/big /v/link"
    engine.create("true", host={"Binds": [f"{used}:/v"]})
    assert engine.run(write, host={"Binds": [f"{used}:/v"]})[0] == 0
    engine.start_container(host={"Binds": [f"{used}:/v:ro"]})
    volumes = usage(engine)["Volumes"]
    found = one(volumes, "Name", used)
    assert found["Labels"] == {"size": used} and found["Driver"] == "local" and found["Scope"] == "local"
    # A hard link is one file; directories have a size, too, and which is the file system's business.
    assert 2 * MIB <= found["UsageData"]["Size"] < 2 * MIB + 64 * 1024
    # Containers that have it, whether they run or not.
    assert found["UsageData"]["RefCount"] == 2
    assert one(volumes, "Name", idle)["UsageData"]["RefCount"] == 0
    assert one(volumes, "Name", idle)["UsageData"]["Size"] < 64 * 1024
    # Elsewhere nobody has looked.
    assert not engine.api.get(f"/volumes/{used}", expect=200).json.get("UsageData")


def test_by_version(engine, version):
    engine.create("true")
    if version == "1.24" and not engine.is_reference:
        # It came with 1.25; the reference answers it at any.
        assert Client(engine.socket, version, engine.recorder).get("/system/df").status == 404
        return
    df = usage(engine, version)
    assert {"LayersSize", "Images", "Containers", "Volumes"} <= set(df)
    assert len(df["Containers"]) == 1 and not df["Volumes"]
    number = tuple(map(int, version.split(".")))
    if number >= (1, 39) or not engine.is_reference:
        assert ("BuildCache" in df) == (number >= (1, 39))
    assert ("BuilderSize" in df) == (number < (1, 42))


def test_many_at_once(engine):
    """Also of containers that never ran: something may have been copied into them. Nobody is told what was true before."""
    wanted = {}
    for number in range(40):
        container = engine.create("true")
        if number % 4:
            engine.api.request("PUT", f"{container.path}/archive", body=images.files(big=images.noise(number * 1024)), path="/", expect=200)
        wanted[container.id] = (number if number % 4 else 0) * 1024
    last = list(wanted)[-1]
    answers, grown = [], []

    def ask(number):
        grow = 100_000 * (number + 1)
        with lock:
            engine.api.request("PUT", f"/containers/{last}/archive", body=images.files(**{f"more{number}": images.noise(grow)}), path="/", expect=200)
            grown.append(grow)
            least = sum(grown)
        if number % 2:
            found = engine.api.get("/containers/json", all=True, size=True, expect=200).json
        else:
            answer = engine.api.get("/system/df")
            # 20.10 has no patience with others.
            if engine.is_reference and answer.status != 200:
                assert "a disk usage operation is already running" in answer.message
                return
            found = answer.json["Containers"]
        answers.append((least, {c["Id"]: c.get("SizeRw", 0) for c in found}))

    lock = threading.Lock()
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) >= 6
    for least, found in answers:
        assert {id: size for id, size in found.items() if id != last} == {id: size for id, size in wanted.items() if id != last}
        assert found[last] >= wanted[last] + least
    some = engine.api.get("/containers/json", all=True, size=True, filters={"id": list(wanted)[1:4]}, expect=200).json
    assert {c["Id"]: c.get("SizeRw", 0) for c in some} == {id: wanted[id] for id in list(wanted)[1:4]}


@pytest.mark.differs(reference="by types since 1.42")
def test_by_type(engine):
    engine.create("true")
    api = Client(engine.socket, "1.44", engine.recorder)
    for kind, key in (("container", "Containers"), ("image", "Images"), ("volume", "Volumes"), ("build-cache", "BuildCache")):
        df = api.get("/system/df", type=kind, expect=200).json
        assert [name for name in ("Containers", "Images", "Volumes", "BuildCache") if df[name] is not None] == [key]
    assert api.get("/system/df", type="network").status == 400
