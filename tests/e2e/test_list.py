"""GET /containers/json: fields, order, limit, size and every filter."""

import re
import time

import pytest

from harness.engine import IMAGE


def listed(engine, all=True, **filters):
    found = engine.api.get("/containers/json", all=all, filters=filters or None, expect=200).json
    return [c["Names"][0].lstrip("/") for c in found]


def test_fields(engine):
    container = engine.start_container(
        ["sleep", "1000"], name="listed", network="bridge", Labels={"a": "1"}, ExposedPorts={"80/tcp": {}, "53/udp": {}},
        host={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18080"}]}, "Binds": ["listed-vol:/v:ro"]})
    found = engine.api.get("/containers/json", expect=200).json
    assert len(found) == 1
    item = found[0]
    assert item["Id"] == container.id and item["Names"] == ["/listed"]
    assert item["Image"] == IMAGE and item["ImageID"].startswith("sha256:")
    assert item["Command"] == "sleep 1000"
    assert abs(item["Created"] - time.time()) < 60
    assert item["State"] == "running" and re.fullmatch(r"Up (Less than a second|\d+ seconds?|About a minute)", item["Status"])
    assert item["Labels"] == {"a": "1"}
    ports = sorted(item["Ports"], key=lambda p: p["PrivatePort"])
    assert ports == [{"PrivatePort": 53, "Type": "udp"},
                     {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 18080, "Type": "tcp"}]
    assert item["HostConfig"]["NetworkMode"] == "bridge"
    network = item["NetworkSettings"]["Networks"]["bridge"]
    assert network["IPAddress"].startswith("172.17.") and network["Gateway"] == "172.17.0.1" and network["MacAddress"]
    mount = item["Mounts"][0]
    assert (mount["Type"], mount["Name"], mount["Destination"], mount["RW"]) == ("volume", "listed-vol", "/v", False)
    container.kill()


def test_long_commands_are_whole(engine):
    engine.create(["sh", "-c", "echo 'a b'; " + "x" * 50])
    command = engine.api.get("/containers/json", all=True).json[0]["Command"]
    assert command == "sh -c 'echo 'a b'; " + "x" * 50 + "'"


def test_only_running_by_default(engine):
    engine.create(name="idle")
    engine.start_container(name="busy")
    assert listed(engine, all=False) == ["busy"]
    assert listed(engine) == ["busy", "idle"]


def test_newest_first_and_limit(engine):
    for name in ("first", "second", "third"):
        engine.create(name=name)
    assert listed(engine) == ["third", "second", "first"]
    limited = engine.api.get("/containers/json", limit=2, expect=200).json
    assert [c["Names"][0] for c in limited] == ["/third", "/second"]
    assert len(engine.api.get("/containers/json", limit=-1, all=True).json) == 3


def test_size(engine):
    engine.create()
    with_size = engine.api.get("/containers/json", all=True, size=True, expect=200).json[0]
    assert with_size["SizeRootFs"] > 500_000
    assert "SizeRootFs" not in engine.api.get("/containers/json", all=True).json[0]


def test_status_texts(engine):
    engine.create(name="created")
    engine.start_container("exit 3", name="exited").wait()
    found = {c["Names"][0]: (c["State"], c["Status"]) for c in engine.api.get("/containers/json", all=True).json}
    assert found["/created"] == ("created", "Created")
    state, status = found["/exited"]
    assert state == "exited" and status.startswith("Exited (3) ") and status.endswith(" ago")


@pytest.fixture
def zoo(engine):
    """Containers of all kinds."""
    api = engine.api
    api.post(f"/images/{IMAGE}/tag", repo="zoo", expect=201)
    engine.create(name="zoo-created", Labels={"kind": "cat", "size": "small"}, host={"Binds": ["zoo-vol:/vol"]})
    engine.start_container("exit 3", name="zoo-three", image="zoo", Labels={"kind": "dog"}).wait()
    engine.start_container("exit 0", name="zoo-zero").wait()
    engine.start_container(name="zoo-running", network="bridge", ExposedPorts={"80/tcp": {}, "81/tcp": {}}, host={
        "PortBindings": {"80/tcp": [{"HostPort": "18081"}]}, "Binds": ["/tmp:/host-tmp"]}, Labels={"kind": "cat"})
    yield
    api.post("/containers/zoo-running/kill")


@pytest.mark.parametrize("filters, expected", [
    ({"status": ["created"]}, ["zoo-created"]),
    ({"status": ["exited"]}, ["zoo-zero", "zoo-three"]),
    ({"status": ["running"]}, ["zoo-running"]),
    ({"status": ["created", "running"]}, ["zoo-running", "zoo-created"]),
    ({"status": ["paused"]}, []),
    ({"exited": ["3"]}, ["zoo-three"]),
    ({"exited": ["0"]}, ["zoo-zero"]),
    ({"exited": ["3", "0"]}, ["zoo-zero", "zoo-three"]),
    ({"label": ["kind"]}, ["zoo-running", "zoo-three", "zoo-created"]),
    ({"label": ["kind=cat"]}, ["zoo-running", "zoo-created"]),
    ({"label": ["kind=cat", "size=small"]}, ["zoo-created"]),
    ({"label": ["kind=fish"]}, []),
    ({"name": ["zoo-three"]}, ["zoo-three"]),
    ({"name": ["zoo"]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"name": ["^/?zoo-.*o$"]}, ["zoo-zero"]),
    ({"name": ["zoo-zero", "zoo-three"]}, ["zoo-zero", "zoo-three"]),
    ({"ancestor": ["zoo"]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"ancestor": [IMAGE]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"ancestor": ["no-such"]}, []),
    ({"volume": ["zoo-vol"]}, ["zoo-created"]),
    ({"volume": ["/vol"]}, ["zoo-created"]),
    ({"volume": ["/host-tmp"]}, ["zoo-running"]),
    ({"volume": ["none"]}, []),
    ({"network": ["bridge"]}, ["zoo-running"]),
    ({"network": ["none"]}, ["zoo-zero", "zoo-three", "zoo-created"]),
    ({"publish": ["18081"]}, ["zoo-running"]),
    ({"publish": ["18081/tcp"]}, ["zoo-running"]),
    ({"publish": ["18081/udp"]}, []),
    ({"publish": ["18080-18090"]}, ["zoo-running"]),
    ({"publish": ["80"]}, []),
    ({"expose": ["81"]}, ["zoo-running"]),
    ({"expose": ["81/tcp"]}, ["zoo-running"]),
    ({"expose": ["82"]}, []),
    ({"since": ["zoo-three"]}, ["zoo-running", "zoo-zero"]),
    ({"before": ["zoo-zero"]}, ["zoo-three", "zoo-created"]),
    ({"isolation": ["default"]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"health": ["none"]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"health": ["healthy"]}, []),
    ({"is-task": ["true"]}, []),
    ({"is-task": ["false"]}, ["zoo-running", "zoo-zero", "zoo-three", "zoo-created"]),
    ({"id": ["0123456789abcdef" * 4]}, []),
    ({"status": ["exited"], "exited": ["0"]}, ["zoo-zero"]),
])
def test_filters(engine, zoo, filters, expected):
    found = listed(engine, **filters)
    if expected is not None:
        assert found == expected


def test_filter_by_id(engine):
    first, second = engine.create(name="id-1"), engine.create(name="id-2")
    assert listed(engine, id=[first.id]) == ["id-1"]
    assert listed(engine, id=[first.id[:12]]) == ["id-1"]
    assert listed(engine, id=[first.id, second.id]) == ["id-2", "id-1"]


def test_filters_in_the_old_form(engine):
    """{"name": {"x": true}} is what Go clients send."""
    engine.create(name="old-form")
    assert listed(engine, name={"old-form": True}) == ["old-form"]


@pytest.mark.parametrize("filters", ['{"status":["nonsense"]}', '{"nonsense":["1"]}', "{", '{"exited":["x"]}',
                                     '{"before":["no-such"]}', '{"since":["no-such"]}', '{"is-task":["maybe"]}',
                                     '{"health":["x"]}', '{"publish":["x"]}', '{"name":5}'])
def test_bad_filters(engine, filters):
    from urllib.parse import quote
    engine.create(name="present")
    answer = engine.api.request("GET", "", raw_target=f"/v1.41/containers/json?all=1&filters={quote(filters)}")
    assert answer.status in ((400, 404, 500, 200) if engine.is_reference else (400, 404)), answer.text


def test_unescaped_filters(engine):
    container = engine.create(name="unescaped")
    answer = engine.api.request("GET", "", raw_target=f'/v1.35/containers/json?all=true&filters={{"id":["{container.id[:3]}"]}}',
                                expect=200)
    assert "unescaped" in [c["Names"][0].lstrip("/") for c in answer.json]
    answer = engine.api.request("GET", "", raw_target='/containers/json?all=true&filters={"name":["<>\\\\^`|"]}')
    assert answer.status in (200, 400)
