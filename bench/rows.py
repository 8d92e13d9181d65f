"""What is measured. A row measures one engine once; the caller interleaves the engines."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

IMAGE = "bench:latest"
CLIENTS = 8
MEGABYTE = 1 << 20


def clock(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def watched(engine, work):
    """The most memory that an engine has while something is done, and the seconds that it takes."""
    most, done = [0], threading.Event()

    def watch():
        while not done.wait(0.05):
            most[0] = max(most[0], engine.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        seconds = clock(work)
    finally:
        done.set()
        watcher.join()
    return most[0], seconds


def define(api, command, network="bridge", **host):
    body = {"Image": IMAGE, "Cmd": command, "HostConfig": {"NetworkMode": network, **host}}
    return api.call("POST", "/containers/create", body)["Id"]


def remove(api, container):
    api.call("DELETE", f"/containers/{container}?force=1")


def start(engine, _ctx):
    api = engine.api()
    container = define(api, ["/bin/sleep", "1000"])
    seconds = clock(lambda: api.call("POST", f"/containers/{container}/start"))
    remove(api, container)
    return seconds * 1000


def cycle(network):
    def row(engine, _ctx):
        api = engine.api()

        def work():
            container = define(api, ["/bin/true"], network)
            api.call("POST", f"/containers/{container}/start")
            api.call("POST", f"/containers/{container}/wait")
            api.call("DELETE", f"/containers/{container}")

        return clock(work) * 1000

    return row


def exec_true(engine, ctx):
    api = engine.api()
    container = ctx.resident(engine)

    def work():
        body = {"Cmd": ["/bin/true"], "AttachStdout": True, "AttachStderr": True}
        api.exec_output(api.call("POST", f"/containers/{container}/exec", body)["Id"])

    return clock(work) * 1000


def in_parallel(engine, items, call):
    """Calls `call(api, item)` for every item from CLIENTS connections; calls a second."""
    shares = [items[i::CLIENTS] for i in range(CLIENTS)]

    def client(share):
        api = engine.api()
        for item in share:
            call(api, item)
        api.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        seconds = clock(lambda: list(pool.map(client, shares)))
    return len(items) / seconds


def settled_memory(engine):
    """Garbage collectors and idle threads get two seconds."""
    time.sleep(2)
    return engine.memory()


def crowd(engine, ctx):
    """Starts, lists and force-removes many containers: five rows from one crowd."""
    api, count = engine.api(), ctx.crowd
    idle = settled_memory(engine)
    containers = [define(api, ["/bin/sleep", "1000"]) for _ in range(count)]
    starts = in_parallel(engine, containers, lambda api, c: api.call("POST", f"/containers/{c}/start"))
    listing = [clock(lambda: api.call("GET", "/containers/json", sink=lambda _: None)) * 1000 for _ in range(10)]
    memory = (settled_memory(engine) - idle) / count / MEGABYTE
    removes = in_parallel(engine, containers, remove)
    return {"starts": starts, "list": listing, "per_container": memory, "removes": removes}


def logs(engine, ctx):
    """Writes and reads back 64 MB of short lines; megabytes a second."""
    api = engine.api()
    container = define(api, ["/bin/cat", "/lines"], "none", Binds=[f"{ctx.lines}:/lines:ro"])

    def write():
        api.call("POST", f"/containers/{container}/start")
        api.call("POST", f"/containers/{container}/wait")

    seconds = clock(write)
    size = os.path.getsize(ctx.lines) / MEGABYTE
    got = []
    reading = clock(lambda: got.append(api.call("GET", f"/containers/{container}/logs?stdout=1", sink=lambda _: None)))
    if got[0] < os.path.getsize(ctx.lines):
        raise RuntimeError(f"{engine.name}: {got[0]} bytes of log came back")
    remove(api, container)
    return {"log_write": size / seconds, "log_read": size / reading}


def archives(engine, ctx):
    """Import, save and load of a big tar; seconds."""
    api = engine.api()
    saved = os.path.join(engine.dir, "saved.tar")

    def bring_in():
        with open(ctx.big_tar, "rb") as tar:
            api.call("POST", "/images/create?fromSrc=-&repo=big&tag=latest", tar, "application/x-tar")

    def save():
        with open(saved, "wb") as out:
            api.call("GET", "/images/big:latest/get", sink=out.write)

    def load():
        with open(saved, "rb") as tar:
            api.call("POST", "/images/load", tar, "application/x-tar")

    result = {"import": clock(bring_in), "save": clock(save)}
    api.call("DELETE", "/images/big:latest?force=1")
    result["load"] = clock(load)
    api.call("DELETE", "/images/big:latest?force=1")
    os.unlink(saved)
    return result
