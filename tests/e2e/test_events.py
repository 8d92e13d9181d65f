"""GET /events: history, following, filters, attributes, order."""

import json
import time

import pytest


@pytest.fixture
def since(api):
    """A moment before the test's events; a second's distance from those of earlier tests."""
    return f"{time.time():.9f}"


def history(api, since, **filters):
    found = api.get("/events", since=since, until=f"{time.time() + 0.001:.9f}",
                    filters={k: v for k, v in filters.items()}, expect=200)
    return found.objects


def actions(events, kind=None):
    return [e["Action"] for e in events if kind in (None, e["Type"])]


def test_life_of_a_container(engine, since):
    container = engine.create("exit 3", name="events-life", Labels={"colour": "red"})
    container.start()
    container.wait()
    container.remove()
    events = history(engine.api, since, container=[container.id])
    assert actions(events) == ["create", "start", "die", "destroy"]
    for event in events:
        assert event["Type"] == "container"
        assert event["Actor"]["ID"] == event["id"] == container.id
        assert event["status"] == event["Action"]
        assert event["from"] == "busybox:e2e"
        assert event["scope"] == "local"
        assert event["Actor"]["Attributes"]["name"] == "events-life"
        assert event["Actor"]["Attributes"]["image"] == "busybox:e2e"
        assert event["Actor"]["Attributes"]["colour"] == "red"
        assert event["timeNano"] // 10**9 == event["time"]
    assert events[2]["Actor"]["Attributes"]["exitCode"] == "3"
    times = [e["timeNano"] for e in events]
    assert times == sorted(times)


def test_stop_and_kill(engine, since):
    container = engine.start_container(["probe", "signals"])
    container.wait_log("ready")
    container.kill(signal="USR1")
    container.stop(t=0)
    found = actions(history(engine.api, since, container=[container.id]))
    assert found[:3] == ["create", "start", "kill"]
    assert found[3:] == ["kill", "kill", "die", "stop"]


def test_restart_rename_attach_exec(engine, since):
    container = engine.start_container(["sleep", "1000"], name=engine.name())
    container.exec("true")
    container.api.post(f"{container.path}/rename", name=engine.name("renamed"), expect=204)
    container.api.post(f"{container.path}/restart", t=0, expect=204)
    container.api.post(f"{container.path}/attach", logs=True, expect=200, stdout=True)
    events = history(engine.api, since, container=[container.id])
    found = actions(events)
    assert "exec_create: sh -c true" in found
    assert "exec_start: sh -c true" in found
    assert "exec_die" in found
    assert "rename" in found and "restart" in found and "attach" in found
    rename = next(e for e in events if e["Action"] == "rename")
    assert rename["Actor"]["Attributes"]["oldName"].startswith("/c-")
    die = next(e for e in events if e["Action"] == "exec_die")
    assert die["Actor"]["Attributes"]["exitCode"] == "0"
    assert len(die["Actor"]["Attributes"]["execID"]) == 64


def test_images(engine, since):
    api = engine.api
    api.post("/images/busybox:e2e/tag", repo="events", tag="one", expect=201)
    api.delete("/images/events:one", expect=200)
    found = history(api, since, type=["image"])
    assert actions(found) == ["tag", "untag"]
    assert found[0]["Actor"]["Attributes"]["name"] == "events:one"


def test_import_and_delete(engine, since):
    from harness.rootfs import TarBuilder
    data = TarBuilder().add("a", "b").bytes()
    engine.api.post("/images/create", body=data, fromSrc="-", repo="events-import", expect=200)
    engine.api.delete("/images/events-import", expect=200)
    assert actions(history(engine.api, since, type=["image"]))[-2:] == ["untag", "delete"]
    assert "import" in actions(history(engine.api, since, type=["image"]))


def test_networks_and_volumes(engine, since):
    container = engine.start_container(network="bridge", host={"Binds": ["events-vol:/v"]})
    container.kill()
    container.wait()
    container.remove(v=True)
    engine.api.delete("/volumes/events-vol", expect=204)
    events = history(engine.api, since)
    assert [a for a in actions(events, "network")] == ["connect", "disconnect"]
    network = next(e for e in events if e["Type"] == "network")
    assert network["Actor"]["Attributes"]["name"] == "bridge"
    assert network["Actor"]["Attributes"]["container"] == container.id
    volumes = actions(events, "volume")
    assert volumes[0] == "create" and volumes[-1] == "destroy"
    assert "mount" in volumes and "unmount" in volumes


@pytest.mark.parametrize("filters, expected", [
    ({"event": ["start"]}, ["start"]),
    ({"event": ["start", "die"]}, ["start", "die"]),
    ({"type": ["container"], "event": ["create"]}, ["create"]),
    ({"image": ["busybox:e2e"], "event": ["die"]}, ["die"]),
    ({"image": ["busybox"], "event": ["die"]}, ["die"]),
    ({"label": ["shape=round"], "event": ["destroy"]}, ["destroy"]),
    ({"label": ["shape"], "event": ["destroy"]}, ["destroy"]),
    ({"label": ["shape=square"]}, []),
    ({"container": ["events-filter"], "event": ["create"]}, ["create"]),
    ({"type": ["volume"]}, []),
    ({"scope": ["local"], "event": ["create"]}, ["create"]),
    ({"event": ["nothing"]}, []),
])
def test_filters(engine, since, filters, expected):
    container = engine.start_container("true", name="events-filter", Labels={"shape": "round"})
    container.wait()
    container.remove()
    assert actions(history(engine.api, since, **filters)) == expected


def test_follow(engine):
    answer = engine.api.get("/events", filters={"type": ["container"]}, stream=True, expect=200)
    assert answer.headers["content-type"] == "application/json"
    container = engine.create(name="events-follow")
    event = json.loads(next(answer.lines()))
    assert (event["Action"], event["Actor"]["ID"]) == ("create", container.id)
    answer.close()


def test_follow_ends_at_until(engine):
    answer = engine.api.get("/events", until=f"{time.time() + 1:.3f}", stream=True, expect=200)
    start = time.monotonic()
    answer.read()
    assert time.monotonic() - start < 30


def test_history_then_follow(engine, since):
    first = engine.create()
    answer = engine.api.get("/events", since=since, filters={"event": ["create"], "type": ["container"]}, stream=True)
    lines = answer.lines()
    assert json.loads(next(lines))["Actor"]["ID"] == first.id
    second = engine.create()
    assert json.loads(next(lines))["Actor"]["ID"] == second.id
    answer.close()


@pytest.mark.parametrize("query", [{"since": "yesterday-ish"}, {"until": "x"}, {"filters": "{"}])
def test_refused(engine, query):
    answer = engine.api.get("/events", **query, **({} if "until" in query else {"until": "1"}))
    assert answer.status in ((400, 500) if engine.is_reference else (400,))


def test_unknown_filter(engine):
    answer = engine.api.get("/events", filters={"nonsense": ["1"]}, until="1", since="0")
    assert answer.status == (200 if engine.is_reference else answer.status)


def test_many_clients_see_the_same(engine):
    answers = [engine.api.get("/events", filters={"type": ["container"]}, stream=True, expect=200) for _ in range(8)]
    container = engine.start_container("true")
    container.wait()
    for answer in answers:
        lines = answer.lines()
        assert [json.loads(next(lines))["Action"] for _ in range(3)] == ["create", "start", "die"]
        answer.close()
