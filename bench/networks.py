"""Networks: making and joining them, publishing ports, and what goes through."""

import json
import subprocess
import time

from rows import IMAGE, clock, define, remove

# For one measurement of throughput.
SECONDS = 2
# The machine's own iperf3, in containers too.
TOOLS = {"Binds": ["/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro"]}


def subnet(number):
    return {"IPAM": {"Config": [{"Subnet": f"10.210.{number}.0/24"}]}}


def publishing(api, command, ports, **host):
    """A container whose ports are published under the same numbers; dockerd publishes only what is exposed, too."""
    keys = [f"{port}/tcp" for port in ports]
    bindings = {key: [{"HostPort": key.split("/")[0]}] for key in keys}
    body = {"Image": IMAGE, "Cmd": command, "ExposedPorts": {key: {} for key in keys},
            "HostConfig": {"NetworkMode": "bridge", "PortBindings": bindings, **host}}
    return api.call("POST", "/containers/create", body)["Id"]


def network_cycle(engine, _ctx):
    """Create and remove; milliseconds."""
    api = engine.api()

    def work():
        network = api.call("POST", "/networks/create", {"Name": "bench", **subnet(1)})["Id"]
        api.call("DELETE", f"/networks/{network}")

    return clock(work) * 1000


def connect(engine, _ctx):
    """Connect of a running container; milliseconds."""
    api = engine.api()
    network = api.call("POST", "/networks/create", {"Name": "second", **subnet(2)})["Id"]
    container = define(api, ["/bin/sleep", "1000"])
    api.call("POST", f"/containers/{container}/start")
    seconds = clock(lambda: api.call("POST", f"/networks/{network}/connect", {"Container": container}))
    remove(api, container)
    api.call("DELETE", f"/networks/{network}")
    return seconds * 1000


def start_with_ports(engine, _ctx):
    """Start of a container with 20 published ports; milliseconds."""
    api = engine.api()
    container = publishing(api, ["/bin/sleep", "1000"], range(20_000, 20_020))
    seconds = clock(lambda: api.call("POST", f"/containers/{container}/start"))
    remove(api, container)
    return seconds * 1000


def throughput(engine, _ctx):
    """iperf3, one stream; gigabits a second: between containers, by a published port, by one on 127.0.0.1."""
    api = engine.api()
    server = publishing(api, ["/usr/bin/iperf3", "-s"], [5201], **TOOLS)
    api.call("POST", f"/containers/{server}/start")
    settings = api.call("GET", f"/containers/{server}/json")["NetworkSettings"]["Networks"]["bridge"]
    client = define(api, ["/bin/sleep", "1000"], **TOOLS)
    api.call("POST", f"/containers/{client}/start")
    pid = api.call("GET", f"/containers/{client}/json")["State"]["Pid"]
    try:
        return {
            "container_stream": stream(pid, settings["IPAddress"]),
            "published_stream": stream(engine.process.pid, settings["Gateway"]),
            "loopback_stream": stream(engine.process.pid, "127.0.0.1"),
        }
    finally:
        for container in (server, client):
            remove(api, container)


def stream(pid, address):
    """From the network namespace of a process. The server may take a moment, and takes one client at a time."""
    command = ["nsenter", "-t", str(pid), "-n", "iperf3", "-c", address, "-t", str(SECONDS), "-J"]
    deadline = time.monotonic() + 10
    while True:
        answer = json.loads(subprocess.run(command, capture_output=True, text=True).stdout or "{}")
        if "end" in answer and "sum_received" in answer["end"]:
            return answer["end"]["sum_received"]["bits_per_second"] / 1e9
        if time.monotonic() > deadline:
            raise RuntimeError(f"iperf3 to {address}: {answer.get('error')}")
        time.sleep(0.1)
