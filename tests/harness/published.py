"""Containers whose ports are published, on two networks of the user's."""

import contextlib

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
