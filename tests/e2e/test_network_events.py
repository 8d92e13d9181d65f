"""Events of networks, with Docker's attributes."""

import json
import time

import pytest


def events(engine, since, **filters):
    query = {"since": since, "until": f"{time.time():.6f}", "filters": {"type": ["network"], **filters}}
    body = engine.api.get("/events", expect=200, **query).body
    return [json.loads(line) for line in body.decode().splitlines()]


def short(found):
    return [(e["Action"], e["Actor"]["Attributes"].get("name", ""), e["Actor"]["Attributes"].get("container", "")) for e in found]


def test_create_and_destroy(engine):
    since = f"{time.time():.6f}"
    id = engine.network("seen")
    engine.api.delete("/networks/seen", expect=204)
    found = events(engine, since)
    assert [(e["Action"], e["Actor"]) for e in found] == [
        ("create", {"ID": id, "Attributes": {"name": "seen", "type": "bridge"}}),
        ("destroy", {"ID": id, "Attributes": {"name": "seen", "type": "bridge"}})]
    assert all(e["scope"] == "local" and e["Type"] == "network" for e in found)


def test_a_container_s_life(engine):
    engine.network("home")
    since = f"{time.time():.6f}"
    container = engine.start_container(network="home")
    container.connect("bridge")
    container.disconnect("bridge")
    container.stop(t=0)
    found = short(events(engine, since))
    # 20.10 tells a disconnect twice.
    found = [one for n, one in enumerate(found) if n == 0 or found[n - 1] != one]
    id = container.id
    assert found == [("connect", "home", id), ("connect", "bridge", id), ("disconnect", "bridge", id), ("disconnect", "home", id)]


@pytest.mark.parametrize("network", ["host", "none", "bridge"])
def test_predefined_networks(engine, network):
    since = f"{time.time():.6f}"
    container = engine.start_container(network=network)
    container.kill()
    container.wait()
    found = events(engine, since, network=[network])
    assert short(found)[0] == ("connect", network, container.id) and short(found)[-1] == ("disconnect", network, container.id)
    assert found[0]["Actor"]["Attributes"]["type"] == {"none": "null"}.get(network, network)


def test_a_stopped_container_is_only_disconnected(engine):
    """What it is connected to is told when it starts."""
    engine.network("home")
    container = engine.create(network="bridge")
    since = f"{time.time():.6f}"
    container.connect("home")
    container.disconnect("home")
    assert short(events(engine, since)) == [("disconnect", "home", container.id)]


def test_prune(engine):
    since = f"{time.time():.6f}"
    engine.network("unused")
    engine.api.post("/networks/prune", expect=200)
    found = events(engine, since)
    assert [e["Action"] for e in found] == ["create", "destroy", "prune"]
    assert found[-1]["Actor"] == {"ID": "", "Attributes": {"reclaimed": "0"}}


def test_filters(engine):
    since = f"{time.time():.6f}"
    id = engine.network("one")
    engine.network("two")
    assert [e["Actor"]["ID"] for e in events(engine, since, network=["one"])] == [id]
    assert [e["Actor"]["ID"] for e in events(engine, since, network=[id])] == [id]
    assert len(events(engine, since, event=["create"])) == 2
