"""Containers whose ports are published, on two networks of the user's, and who asks them."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

# IPv6 addresses of the engine's host and of the one outside, where a test has given them.
HOST, OUTSIDE = "fd00:99::2", "fd00:99::1"
SUBNETS = {"front": "10.202.1.0/24", "back": "10.202.2.0/24"}


@contextlib.contextmanager
def two_networks(engine):
    """`front` and `back`; afterwards nothing is left of them and of what was on them."""
    for name, subnet in SUBNETS.items():
        engine.api.post("/networks/create", {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}}, expect=201)
    yield
    engine.remove_everything()
    for network in engine.api.get("/networks").json:
        if network["Name"] not in ("bridge", "host", "none"):
            engine.api.delete(f"/networks/{network['Id']}", expect=204)


def echo(engine, bindings, kind="tcp", network="front"):
    """A container that echoes on port 80."""
    key = f"80/{kind}"
    container = engine.start_container(["probe", "echo", kind, "80"], network=network, ExposedPorts={key: {}},
                                       host={"PortBindings": {key: bindings}})
    container.wait_log("listening")
    return container


def give_addresses(sandbox):
    for pid, address in ((sandbox.pid, HOST), (sandbox.outside_pid, OUTSIDE)):
        subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "addr", "replace", f"{address}/64", "dev", "eth0", "nodad"], check=True)


def ask(engine, where, address, port, kind=socket.SOCK_STREAM, text="hello", patience=30):
    """What a server says to `text` from a place."""
    with engine.sandbox.socket(where, kind, socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(patience)
        sock.connect((address, port))
        sock.sendall(text.encode())
        return sock.recv(4096).decode()


def answers(engine, where, address, port, kind=socket.SOCK_STREAM, begin="", patience=20):
    """Whether it says anything, with such a beginning."""
    try:
        said = ask(engine, where, address, port, kind, patience=patience)
    except OSError:
        return False
    return said != "" and said.startswith(begin)


def carriers(engine):
    """Pids (of the machine) of the processes that carry for Gantry's containers."""
    own = os.stat(f"/proc/{engine.sandbox.pid}/ns/pid").st_ino
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "gantry-port\n" and (entry / "ns/pid").stat().st_ino == own:
                found.append(int(entry.name))
        except OSError:
            pass
    return found
