"""Eight clients at once, then everything is as it was: descriptors, mounts, interfaces, cgroups, files, rules, memory."""

import os
import threading

from harness.engine import IMAGE, wait_until
from harness.files import below, sizes
from harness.http import Client

CLIENTS = 8


def cycle(engine, number, rounds, errors):
    api = Client(engine.socket, "1.41")
    try:
        for turn in range(rounds):
            network = "bridge" if turn % 2 else "none"
            other = None
            if network == "bridge":
                pools = [{"Subnet": f"10.203.{number}.0/24"}, {"Subnet": f"fd00:203:{number}::/64"}]
                other = api.post("/networks/create", {"Name": f"leak-{number}", "EnableIPv6": True, "IPAM": {"Config": pools}},
                                 expect=201).json["Id"]
            id = api.post("/containers/create", {
                "Image": IMAGE, "Cmd": ["sh", "-c", "echo x; exec sleep 1000"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/v": {}},
                "HostConfig": {"NetworkMode": network, "PublishAllPorts": network == "bridge"}}, name=f"leak-{number}-{turn}", expect=201).json["Id"]
            path = f"/containers/{id}"
            api.post(f"{path}/start", expect=204)
            if other:
                api.post(f"/networks/{other}/connect", {"Container": id}, expect=200)
                if turn % 3:
                    api.post("/networks/bridge/disconnect", {"Container": id}, expect=200)
            exec_id = api.post(f"{path}/exec", {"Cmd": ["true"], "AttachStdout": True}, expect=201).json["Id"]
            api.post(f"/exec/{exec_id}/start", {"Detach": False}, expect=200)
            api.get(f"{path}/logs", stdout=True, expect=200)
            api.get("/containers/json", expect=200)
            if turn % 3:
                api.post(f"{path}/stop", t=0, expect=(204, 304))
                api.delete(path, v=True, expect=204)
            else:
                api.delete(path, v=True, force=True, expect=204)
            if other:
                api.delete(f"/networks/{other}", expect=204)
    except Exception as error:
        errors.append(error)


def load(engine, rounds):
    errors = []
    threads = [threading.Thread(target=cycle, args=(engine, n, rounds, errors)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors, errors


def picture(engine):
    """What must be the same before and after."""
    processes = sorted(line.split()[0] for line in engine.sandbox.processes().values() if not line.startswith(("nft", "ip ")))
    return {
        "descriptors": len(os.listdir(f"/proc/{engine.pid}/fd")), "mounts": len(engine.sandbox.mounts()), "links": engine.sandbox.links(),
        "rules": sorted(engine.sandbox.ruleset()), "cgroups": engine.sandbox.cgroups(), "processes": processes,
        "containers": sorted(os.listdir(engine.data_root / "containers")) if (engine.data_root / "containers").exists() else [],
        "exec-root": sorted(p.name for p in below(engine.exec_root) if len(p.name) >= 64),
        "files": len(sizes(engine.data_root)),
    }


def same(engine, before):
    after = picture(engine)
    # Connections and pools may keep a few.
    return all(after[k] <= v + 6 if k in ("descriptors", "files") else after[k] == v for k, v in before.items())


def test_nothing_leaks(own_engine):
    engine = own_engine()
    load(engine, 1)
    first = picture(engine)
    load(engine, 3 if engine.is_reference else 15)
    try:
        wait_until(lambda: same(engine, first))
    except AssertionError:
        after = picture(engine)
        raise AssertionError({k: (first[k], after[k]) for k in first if first[k] != after[k]}) from None


def test_memory_does_not_grow(own_engine):
    """The daemon's own memory is, after 120 containers more, what it was after 120. One look says little, for what the heap
    keeps free goes up and down by two megabytes: the smallest of three each time."""
    engine = own_engine()
    if engine.is_reference:
        return  # A garbage-collected heap of 100 MB says nothing in this time.
    resting = engine.threads
    seen = []
    for _ in range(6):
        load(engine, 5)
        seen.append(engine.own_kilobytes(resting))
    assert min(seen[3:]) - min(seen[:3]) < 2000, seen


def test_clients_that_leave_leave_nothing(own_engine):
    """Followers, waiters, attachers and event readers that go away free what was done for them."""
    engine = own_engine()
    container = engine.start_container(["probe", "lines", "-1", "20000"])
    container.wait_log("line 2\n")

    def descriptors():
        return len(os.listdir(f"/proc/{engine.pid}/fd"))

    before = descriptors()
    open_ones = []
    for _ in range(20):
        open_ones.append(container.api.get(f"{container.path}/logs", stdout=True, follow=True, stream=True))
        open_ones.append(container.api.post(f"{container.path}/wait", stream=True))
        open_ones.append(container.api.get("/events", stream=True))
        if not engine.is_reference:  # It notices the end of an attached client only when the client had input.
            open_ones.append(container.api.request("POST", "", raw_target=f"/v1.41{container.path}/attach?stream=1&stdout=1", hijack=True))
    assert descriptors() >= before + len(open_ones)
    for answer in open_ones:
        answer.close()
    wait_until(lambda: descriptors() <= before + 6, what=f"{descriptors()} descriptors, {before} before")
    container.kill()
