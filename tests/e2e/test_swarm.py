"""A node that is in no swarm says so, whatever it is asked."""

import pytest

NO_MANAGER = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
KINDS = ("node", "service", "secret", "config")
READ = ["/swarm", "/swarm/unlockkey", "/tasks", "/tasks/x", *(path for kind in KINDS for path in (f"/{kind}s", f"/{kind}s/x"))]
UPDATED = ["/swarm", *(f"/{kind}s/x" for kind in KINDS)]


def refused(answer):
    assert answer.message == NO_MANAGER


@pytest.mark.parametrize("path", READ)
def test_reading(engine, path):
    refused(engine.api.get(path, expect=503))


@pytest.mark.parametrize("kind", KINDS)
def test_removing(engine, kind):
    refused(engine.api.delete(f"/{kind}s/x", expect=503))


@pytest.mark.parametrize("path", UPDATED)
def test_updating(engine, path):
    refused(engine.api.post(f"{path}/update", {}, version=3, expect=503))
    engine.api.post(f"{path}/update", {}, expect=400)
    engine.api.post(f"{path}/update", body=b"{bad", headers={"Content-Type": "application/json"}, version=3, expect=400)


@pytest.mark.parametrize("path", ["/services/create", "/secrets/create", "/configs/create", "/swarm/unlock"])
def test_making(engine, path):
    refused(engine.api.post(path, {}, expect=503))
    engine.api.post(path, expect=400)


@pytest.mark.parametrize("kind", ["services", "tasks"])
def test_logs(engine, kind):
    refused(engine.api.get(f"/{kind}/x/logs", stdout=True, expect=503))
    message = engine.api.get(f"/{kind}/x/logs", expect=(500 if engine.is_reference else 400)).message
    assert message == "Bad parameters: you must choose at least one stream"


def test_filters(engine):
    """Docker has a status for each of the lists."""
    for kind in ("tasks", *(f"{kind}s" for kind in KINDS)):
        engine.api.get(f"/{kind}", filters="{bad", expect=((400, 500) if engine.is_reference else 400))


def test_leaving(engine):
    for force in (False, True):
        assert engine.api.post("/swarm/leave", force=force, expect=503).message == "This node is not part of a swarm"
    assert engine.api.get("/info").json["Swarm"]["LocalNodeState"] == "inactive"


@pytest.mark.differs(reference="it has swarm mode")
def test_entering(engine):
    for verb in ("init", "join"):
        # Nothing that Docker would do.
        answer = engine.api.post(f"/swarm/{verb}", {"ListenAddr": "nowhere at all"}, expect=501)
        assert "swarm mode is not there yet" in answer.message
