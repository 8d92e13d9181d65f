"""Fields of networks and endpoints that no other test has a reason to send: links between members, hardware addresses, names
that come back from an answer, the way out, families."""

import pytest

from harness import images
from harness.http import Client

gantry_only = pytest.mark.differs(reference="newer Docker has it (1.44 to 1.49), 20.10 has not")


def newest(engine):
    return Client(engine.socket, "1.41" if engine.is_reference else "1.51", engine.recorder)


def resolves(container, name):
    """The address that a name has for a container, or None."""
    code, out, _ = container.exec(f"getent hosts {name} || nslookup {name} 2>/dev/null | tail -n +3")
    words = [word for line in out.splitlines() for word in line.split() if word[0].isdigit() and word.count(".") == 3]
    return words[-1] if code == 0 and words else None


def endpoint(container, network):
    return newest(container.engine).get(f"{container.path}/json", expect=200).json["NetworkSettings"]["Networks"][network]


@pytest.mark.parametrize("when", ["create", "connect"])
def test_links_between_members(engine, when):
    """An alias for the target that only the linking container knows."""
    engine.network("home")
    target = engine.start_container(network="home", name="target")
    links = ["target:db", "target"]
    if when == "create":
        linked = engine.start_container(network="home", NetworkingConfig={"EndpointsConfig": {"home": {"Links": links}}})
    else:
        linked = engine.start_container(network="bridge")
        linked.connect("home", Links=links)
    other = engine.start_container(network="home")
    address = target.networks["home"]["IPAddress"]
    assert resolves(linked, "db") == resolves(linked, "target") == address
    assert resolves(other, "db") is None and resolves(other, "target") == address
    assert linked.networks["home"]["Links"] == links
    assert linked.exec("ping -c 1 -w 30 db")[0] == 0
    # They follow the target.
    target.remove(force=True)
    engine.start_container(network="home")
    again = engine.start_container(network="home", name="target")
    assert resolves(linked, "target") == again.networks["home"]["IPAddress"]


@pytest.mark.parametrize("links", [[""], ["a:b:c"]])
@gantry_only
def test_links_that_are_none(engine, links):
    """20.10 takes them, and says so at the start, if at all."""
    engine.network("home")
    container = engine.start_container(network="bridge")
    assert "link" in container.connect("home", expect=400, Links=links).message
    assert set(container.networks) == {"bridge"}


@gantry_only
def test_the_hardware_address(engine):
    engine.network("home")
    container = engine.start_container(network="bridge")
    container.connect("home", api=newest(engine), MacAddress="02:42:00:00:be:ef")
    assert endpoint(container, "home")["MacAddress"] == "02:42:00:00:be:ef"
    assert "02:42:00:00:be:ef" in container.exec(["ip", "link", "show", "eth1"])[1]
    container.disconnect("home")
    answer = container.connect("home", api=newest(engine), expect=400, MacAddress="02:42")
    assert "invalid MAC address: 02:42" in answer.message


@gantry_only
@pytest.mark.parametrize("when", ["create", "connect"])
def test_names_that_come_back(engine, when):
    """What inspect shows is no wish: the names are the engine's to give."""
    engine.network("home")
    shown = {"DNSNames": ["somebody-else"], "GwPriority": 3}
    if when == "create":
        container = engine.start_container(network="home", api=newest(engine), name="own", NetworkingConfig={"EndpointsConfig": {"home": shown}})
    else:
        container = engine.start_container(network="bridge", name="own")
        container.connect("home", api=newest(engine), **shown)
    found = endpoint(container, "home")
    assert "own" in found["DNSNames"] and "somebody-else" not in found["DNSNames"] and found["GwPriority"] == 3
    asker = engine.start_container(network="home")
    assert resolves(asker, "somebody-else") is None and resolves(asker, "own") == found["IPAddress"]


@gantry_only
def test_the_way_out_by_priority(engine):
    """Against the order of the names, from the first start."""
    for name, subnet in (("aaa", "10.77.0.0/24"), ("bbb", "10.78.0.0/24")):
        engine.network(name, IPAM={"Config": [{"Subnet": subnet}]})
    container = engine.start_container(network="aaa", api=newest(engine), NetworkingConfig={"EndpointsConfig": {"aaa": {}, "bbb": {"GwPriority": 7}}})
    assert "default via 10.78.0.1" in container.exec(["ip", "route"])[1]
    assert endpoint(container, "bbb")["GwPriority"] == 7


@gantry_only
def test_families(engine):
    """A network of IPv6 alone, and one of neither."""
    api = newest(engine)
    api.post("/networks/create", {"Name": "six", "EnableIPv4": False, "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd77::/64"}]}}, expect=201)
    shown = api.get("/networks/six", expect=200).json
    assert (shown["EnableIPv4"], shown["EnableIPv6"]) == (False, True) and [c["Subnet"] for c in shown["IPAM"]["Config"]] == ["fd77::/64"]
    container = engine.start_container(network="six")
    found = endpoint(container, "six")
    assert found["IPAddress"] == "" and found["GlobalIPv6Address"] == "fd77::2"
    assert "inet " not in container.exec(["ip", "addr", "show", "eth0"])[1]
    api.post("/networks/create", {"Name": "both", "EnableIPv4": True, "EnableIPv6": True}, expect=201)
    assert len(api.get("/networks/both").json["IPAM"]["Config"]) == 2
    api.post("/networks/create", {"Name": "neither", "EnableIPv4": False}, expect=201)
    container = engine.start_container(network="neither")
    assert "inet " not in container.exec(["ip", "addr", "show", "eth0"])[1] and endpoint(container, "neither")["MacAddress"]


def test_scope(engine):
    """`local` is the only one without a swarm."""
    engine.network("here", Scope="local")
    assert engine.api.get("/networks/here", scope="local", expect=200).json["Scope"] == "local"
    message = engine.api.post("/networks/create", {"Name": "swarm", "Scope": "swarm"}, expect=403).message
    assert message == "cannot create a swarm scoped network when swarm is not active"


def test_an_ingress_network(engine):
    """A swarm's alone."""
    message = engine.api.post("/networks/create", {"Name": "in", "Ingress": True, "Driver": "bridge"}, expect=403).message
    assert message == "Ingress network can only be global scope network"


def test_email_of_a_login(engine, closing):
    """Of old; registries do not hear it any more."""
    from harness.registry import PASSWORD, USER, FakeRegistry
    from harness.tokens import Basic
    registry = closing(FakeRegistry(engine.sandbox, auth=Basic()))
    registry.put(images.small("email"), "email", "v")
    body = {"username": USER, "password": PASSWORD, "email": "somebody@example.org", "serveraddress": registry.host}
    assert engine.api.post("/auth", body, expect=200).json == {"IdentityToken": "", "Status": "Login Succeeded"}
    assert not any("example.org" in str(seen.headers) for seen in registry.log)
