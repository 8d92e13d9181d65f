"""Networks as a resource: create, list, inspect, remove, prune, and what is wrong with a request."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.engine import quickest
from harness.http import Client

MISTAKE = (400, 403, 404, 409, 500)


def create(engine, name=None, expect=201, api=None, **options):
    return (api or engine.api).post("/networks/create", {"Name": engine.name("n") if name is None else name, **options}, expect=expect)


def inspect(engine, name, **query):
    return engine.api.get(f"/networks/{name}", expect=200, **query).json


def names(engine, api=None, **filters):
    return {n["Name"] for n in (api or engine.api).get("/networks", filters=filters, expect=200).json}


def pools(*configs, **more):
    return {"Config": list(configs), **more}


def test_defaults(engine):
    answer = create(engine, "plain")
    assert answer.json["Warning"] == "" and len(answer.json["Id"]) == 64
    found = inspect(engine, "plain")
    assert found["Id"] == answer.json["Id"] and found["Name"] == "plain"
    assert (found["Driver"], found["Scope"], found["EnableIPv6"]) == ("bridge", "local", False)
    assert [found[k] for k in ("Internal", "Attachable", "Ingress", "ConfigOnly")] == [False] * 4
    assert found["ConfigFrom"] == {"Network": ""} and found["Containers"] == {} and found["Labels"] == {}
    assert found["IPAM"]["Driver"] == "default" and found["IPAM"]["Options"] is None
    (pool,) = found["IPAM"]["Config"]
    assert pool["Subnet"].startswith(("172.", "192.168.")) and pool["Gateway"] == pool["Subnet"].rsplit(".", 1)[0] + ".1"
    assert found["Created"][:4] == time.strftime("%Y")


def test_every_field(engine):
    create(engine, "full", Internal=True, Attachable=True, Labels={"a": "b"}, CheckDuplicate=True,
           Options={"com.docker.network.bridge.name": "br-full", "com.docker.network.driver.mtu": "1400", "made.up": "x"},
           IPAM=pools({"Subnet": "10.79.0.0/24", "IPRange": "10.79.0.128/25", "Gateway": "10.79.0.254", "AuxiliaryAddresses": {"printer": "10.79.0.130"}},
                      Driver="default", Options={"o": "p"}))
    found = inspect(engine, "full")
    assert found["Internal"] and found["Attachable"] and found["Labels"] == {"a": "b"}
    assert found["Options"] == {"com.docker.network.bridge.name": "br-full", "com.docker.network.driver.mtu": "1400", "made.up": "x"}
    assert found["IPAM"] == {"Driver": "default", "Options": {"o": "p"}, "Config": [
        {"Subnet": "10.79.0.0/24", "IPRange": "10.79.0.128/25", "Gateway": "10.79.0.254", "AuxiliaryAddresses": {"printer": "10.79.0.130"}}]}
    text = engine.sandbox.run(["ip", "-o", "addr", "show", "br-full"]).stdout
    assert "10.79.0.254/24" in text
    assert engine.api.delete("/networks/full", expect=204) and "br-full" not in engine.sandbox.links()


def test_the_bridge_is_named_after_the_network(engine):
    id = engine.network()
    assert f"br-{id[:12]}" in engine.sandbox.links()
    engine.api.delete(f"/networks/{id}", expect=204)
    assert f"br-{id[:12]}" not in engine.sandbox.links()


def test_found_by_name_id_and_prefix(engine):
    id = engine.network("findme")
    for text in ("findme", id, id[:12], id[:4]):
        assert inspect(engine, text)["Id"] == id
    assert engine.api.get("/networks/nope", expect=404).message == "network nope not found"
    # A full name wins over a prefix of an id.
    other = engine.network(id[:6])
    assert inspect(engine, id[:6])["Id"] == other


def test_verbose_and_scope(engine):
    id = engine.network("scoped")
    assert inspect(engine, "scoped", verbose="true")["Id"] == id
    assert inspect(engine, "scoped", scope="local")["Id"] == id
    assert engine.api.get("/networks/scoped", scope="swarm", expect=404).message == "network scoped not found"
    assert "invalid value for verbose: xx" in engine.api.get("/networks/scoped", verbose="xx", expect=400).message


def test_subnets_are_chosen_without_overlap(engine):
    import ipaddress
    made = [engine.network() for _ in range(5)]
    found = [ipaddress.ip_network(inspect(engine, id)["IPAM"]["Config"][0]["Subnet"]) for id in made]
    for i, one in enumerate(found):
        assert not any(one.overlaps(other) for other in found[:i])
        assert not one.overlaps(ipaddress.ip_network("10.99.0.0/24")) and not one.overlaps(ipaddress.ip_network("172.17.0.0/16"))


def test_chosen_subnets_avoid_the_hosts_routes(engine):
    engine.sandbox.run(["ip", "route", "add", "172.18.0.0/16", "via", engine.outside_address])
    try:
        assert inspect(engine, engine.network())["IPAM"]["Config"][0]["Subnet"] != "172.18.0.0/16"
    finally:
        engine.sandbox.run(["ip", "route", "del", "172.18.0.0/16"])


def test_a_subnet_without_a_gateway_gets_the_first_address(engine):
    create(engine, "given", IPAM=pools({"Subnet": "10.77.0.0/24"}))
    container = engine.start_container(network="given")
    assert container.networks["given"]["Gateway"] == "10.77.0.1" and container.networks["given"]["IPAddress"] == "10.77.0.2"


def test_addresses_come_from_the_range(engine):
    create(engine, "ranged", IPAM=pools({"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.64/30", "Gateway": "10.77.0.1",
                                         "AuxiliaryAddresses": {"x": "10.77.0.65"}}))
    found = {engine.start_container(network="ranged").networks["ranged"]["IPAddress"] for _ in range(3)}
    assert found == {"10.77.0.64", "10.77.0.66", "10.77.0.67"}
    full = engine.create(network="ranged")
    assert "no available IPv4 addresses on this network's address pools: ranged" in full.start(expect=MISTAKE).message


def test_ipv6(engine):
    create(engine, "six", EnableIPv6=True, IPAM=pools({"Subnet": "fd78::/64", "Gateway": "fd78::1"}))
    found = inspect(engine, "six")
    assert found["EnableIPv6"] and {"Subnet": "fd78::/64", "Gateway": "fd78::1"} in found["IPAM"]["Config"]
    a, b = engine.start_container(network="six"), engine.start_container(network="six")
    end = a.networks["six"]
    assert end["GlobalIPv6Address"].startswith("fd78::") and end["GlobalIPv6PrefixLen"] == 64 and end["IPv6Gateway"] == "fd78::1"
    assert inspect(engine, "six")["Containers"][a.id]["IPv6Address"] == end["GlobalIPv6Address"] + "/64"
    assert b.exec(f"ping -6 -c 1 -w 30 {end['GlobalIPv6Address']}")[0] == 0
    assert b.exec("ping -6 -c 1 -w 30 fd78::1")[0] == 0
    assert "default via fd78::1" in b.exec("ip -6 route")[1]


def test_ipv6_pools_without_ipv6_are_kept_and_unused(engine):
    create(engine, "four", IPAM=pools({"Subnet": "10.77.0.0/24"}, {"Subnet": "fd77::/64"}))
    assert len(inspect(engine, "four")["IPAM"]["Config"]) == 2
    assert engine.start_container(network="four").networks["four"]["GlobalIPv6Address"] == ""


@pytest.mark.parametrize("request_, statuses, message", [
    ({"Name": ""}, (400, 500), "invalid name"),
    ({"Name": "  "}, (400, 500), "invalid name"),
    ({"Name": "bridge"}, (403,), "operation is not permitted on predefined bridge network"),
    ({"Name": "host"}, (403,), "operation is not permitted on predefined host network"),
    ({"Name": "none"}, (403,), "operation is not permitted on predefined none network"),
    ({"Driver": "host"}, (403,), 'only one instance of "host" network is allowed'),
    ({"Driver": "null"}, (403,), 'only one instance of "null" network is allowed'),
    ({"Driver": "no-such-driver"}, (404,), 'plugin "no-such-driver" not found'),
    ({"Driver": "overlay"}, (500, 503), "This node is not a swarm manager."),
    ({"Ingress": True}, (403,), ""),
    ({"Scope": "swarm"}, (403,), "cannot create a swarm scoped network when swarm is not active"),
    ({"IPAM": {"Driver": "no-such-ipam"}}, (404,), 'plugin "no-such-ipam" not found'),
    ({"IPAM": pools({"Subnet": "x"})}, (400, 500), "nvalid subnet x"),
    ({"IPAM": pools({"Gateway": "10.0.0.1"})}, (400, 500), "nvalid subnet"),
    ({"IPAM": pools({})}, (400, 500), "nvalid subnet"),
    ({"IPAM": pools({"Subnet": "10.79.0.0/24", "Gateway": "x"})}, (400, 500), "nvalid gateway"),
    ({"IPAM": pools({"Subnet": "10.79.0.0/24", "Gateway": "10.80.0.1"})}, (400, 500), "10.80.0.1"),
    ({"IPAM": pools({"Subnet": "10.79.0.0/24", "IPRange": "zz"})}, (400, 500), "zz"),
    ({"IPAM": pools({"Subnet": "10.79.0.0/24", "AuxiliaryAddresses": {"a": "zz"}})}, (400, 500), ""),
    ({"IPAM": pools({"Subnet": "10.83.0.0/24"}, {"Subnet": "10.84.0.0/24"})}, (403,), "bridge driver doesn't support multiple subnets"),
    ({"Options": {"com.docker.network.bridge.enable_icc": "maybe"}}, (400, 500), "com.docker.network.bridge.enable_icc"),
    ({"Options": {"com.docker.network.driver.mtu": "x"}}, (400, 500), "com.docker.network.driver.mtu"),
    ({"Options": {"com.docker.network.bridge.host_binding_ipv4": "x"}}, (400, 500), "com.docker.network.bridge.host_binding_ipv4"),
    ({"Options": {"com.docker.network.bridge.name": "much-too-long-a-name"}}, (400, 500), ""),
    ({"ConfigFrom": {"Network": "nope"}}, (404,), 'configuration network "nope" does not exist'),
    ({"ConfigFrom": {"Network": "bridge"}}, (404,), 'configuration network "bridge" does not exist'),
    ({"ConfigOnly": True, "ConfigFrom": {"Network": "x"}}, (403,), "a configuration network cannot depend on another configuration network"),
])
def test_mistakes(engine, request_, statuses, message):
    before = {n["Id"] for n in engine.api.get("/networks").json}
    links = engine.sandbox.links()
    answer = engine.api.post("/networks/create", {"Name": engine.name("bad"), **request_})
    assert answer.status in statuses, answer.body
    assert message in answer.message
    assert {n["Id"] for n in engine.api.get("/networks").json} == before
    # The kernel may only now take away those of containers that an earlier test removed.
    assert set(engine.sandbox.links()) <= set(links)


@pytest.mark.parametrize("body, status", [(b"", 400), (b"{", 400), (b"[]", 400)])
def test_bodies_that_are_no_request(engine, body, status):
    engine.api.request("POST", "/networks/create", body=body, headers={"Content-Type": "application/json"}, expect=status)


def test_overlap(engine):
    create(engine, "first", IPAM=pools({"Subnet": "10.77.0.0/24"}))
    assert create(engine, IPAM=pools({"Subnet": "10.77.0.0/25"}), expect=403).message == "Pool overlaps with other one on this address space"


def test_two_networks_cannot_have_one_bridge(engine):
    create(engine, "first", Options={"com.docker.network.bridge.name": "shared0"})
    answer = create(engine, Options={"com.docker.network.bridge.name": "shared0"}, expect=403)
    assert "networks have same bridge name" in answer.message


def test_check_duplicate(engine):
    create(engine, "twin")
    assert create(engine, "twin", CheckDuplicate=True, expect=409).message == "network with name twin already exists"


@pytest.mark.differs(reference="makes a second network of the same name, which can then only be told apart by its id; newer Docker refuses")
def test_names_are_unique(engine):
    create(engine, "twin")
    create(engine, "twin", expect=409)


@pytest.mark.differs(reference="took what newer Docker refuses")
@pytest.mark.parametrize("pool, message", [
    # Subnets that no other test uses: 20.10 does not forget all that it takes.
    ({"Subnet": "10.67.0.0/24", "IPRange": "10.82.0.128/25"}, "parent subnet 10.67.0.0/24 doesn't contain ip-range"),
    ({"Subnet": "10.67.1.0/24", "AuxiliaryAddresses": {"a": "10.99.0.1"}}, "doesn't contain this address"),
    ({"Subnet": "10.67.2.0/24", "IPRange": "10.67.0.0/16"}, "CIDR block is bigger than its parent subnet 10.67.2.0/24"),
])
def test_pools_that_contradict_themselves(engine, pool, message):
    assert message in create(engine, IPAM=pools(pool), expect=400).message


def test_subnet_with_host_bits(engine):
    """Clients up to 1.43 may send them."""
    create(engine, "sloppy", IPAM=pools({"Subnet": "10.66.0.7/24"}))
    if not engine.is_reference:  # It cannot start a container there.
        assert engine.start_container(network="sloppy").networks["sloppy"]["IPPrefixLen"] == 24
        newest = Client(engine.socket, "1.51", engine.recorder)
        assert "it should be 10.76.0.0/24" in create(engine, api=newest, expect=400, IPAM=pools({"Subnet": "10.76.0.7/24"})).message


def test_configuration_only(engine):
    create(engine, "cfg", ConfigOnly=True, IPAM=pools({"Subnet": "10.90.0.0/24"}), Options={"com.docker.network.driver.mtu": "1300"}, Labels={"l": "m"})
    found = inspect(engine, "cfg")
    assert found["ConfigOnly"] and found["Driver"] == "null" and found["IPAM"]["Config"] == [{"Subnet": "10.90.0.0/24"}]
    for extra, message in (
        ({"Options": {"a": "b"}}, "network driver options are not supported if the network depends on a configuration network"),
        ({"IPAM": pools({"Subnet": "10.91.0.0/24"})}, "user specified configurations are not supported if the network depends on a configuration network"),
        ({"Labels": {"a": "b"}}, "user specified configurations are not supported if the network depends on a configuration network"),
    ):
        assert create(engine, ConfigFrom={"Network": "cfg"}, expect=403, **extra).message == message
    create(engine, "real", ConfigFrom={"Network": "cfg"})
    found = inspect(engine, "real")
    assert found["ConfigFrom"] == {"Network": "cfg"} and found["Driver"] == "bridge" and not found["ConfigOnly"]
    assert found["IPAM"]["Config"] == [{"Subnet": "10.90.0.0/24"}] and found["Labels"] == {"l": "m"}
    assert engine.start_container("cat /sys/class/net/eth0/mtu", network="real").wait() == 0
    assert engine.api.delete("/networks/cfg", expect=403).message == 'error while removing network: configuration network "cfg" is in use'
    container = engine.create(network="cfg")
    assert "configuration-only network" in container.start(expect=403).message


def test_list_filters(engine):
    id = engine.network("alpha", Labels={"a": "b", "c": "d"})
    create(engine, "beta", Labels={"a": "x"})
    builtin = {"bridge", "host", "none"}
    assert names(engine) == builtin | {"alpha", "beta"}
    assert names(engine, name=["alp"]) == {"alpha"} and names(engine, name=["^lpha$"]) == set() and names(engine, name=["^alpha$"]) == {"alpha"}
    assert names(engine, name=["alp", "bet"]) == {"alpha", "beta"}
    assert names(engine, id=[id[:10]]) == {"alpha"}
    assert names(engine, driver=["bridge"]) == {"bridge", "alpha", "beta"} and names(engine, driver=["null"]) == {"none"}
    assert names(engine, label=["a"]) == {"alpha", "beta"} and names(engine, label=["a=b"]) == {"alpha"}
    assert names(engine, label=["a=b", "c=nope"]) == set()
    assert names(engine, scope=["local"]) == builtin | {"alpha", "beta"} and names(engine, scope=["swarm"]) == set()
    assert names(engine, type=["custom"]) == {"alpha", "beta"} and names(engine, type=["builtin"]) == builtin
    assert names(engine, type=["custom"], name=["alpha"]) == {"alpha"}
    engine.start_container(network="alpha")
    if not engine.is_reference:  # 20.10 looks at members that it has not filled in, so that every network dangles.
        assert names(engine, dangling=["true"]) == {"beta"} and names(engine, dangling=["false"]) == builtin | {"alpha"}
    assert "dangling" in engine.api.get("/networks", filters={"dangling": ["x"]}, expect=400).message
    assert "type" in engine.api.get("/networks", filters={"type": ["x"]}, expect=(400, 500)).message
    assert "nvalid filter 'nope'" in engine.api.get("/networks", filters={"nope": ["x"]}, expect=400).message
    # The form that old clients send.
    assert {n["Name"] for n in engine.api.get("/networks", filters=json.dumps({"name": {"alpha": True}}), expect=200).json} == {"alpha"}


def test_list_has_no_containers(engine):
    """They are inspect's business since 1.28; older clients get them with the list."""
    engine.network("busy")
    container = engine.start_container(network="busy")
    (found,) = engine.api.get("/networks", filters={"name": ["busy"]}, expect=200).json
    assert found["Containers"] == {}
    old = Client(engine.socket, "1.25", engine.recorder)
    (found,) = old.get("/networks", filters={"name": ["busy"]}, expect=200).json
    assert list(found["Containers"]) == [container.id]


def test_inspect_shows_containers(engine):
    engine.network("busy")
    a = engine.start_container(network="busy", name="member-a")
    end = a.networks["busy"]
    assert inspect(engine, "busy")["Containers"] == {a.id: {
        "Name": "member-a", "EndpointID": end["EndpointID"], "MacAddress": end["MacAddress"],
        "IPv4Address": f"{end['IPAddress']}/{end['IPPrefixLen']}", "IPv6Address": ""}}
    a.stop(t=0)
    assert inspect(engine, "busy")["Containers"] == {}


def test_remove(engine):
    id = engine.network("gone")
    engine.api.delete("/networks/gone", expect=204)
    assert engine.api.get("/networks/gone", expect=404) and engine.api.delete(f"/networks/{id}", expect=404).message == f"network {id} not found"
    for name in ("bridge", "host", "none"):
        assert engine.api.delete(f"/networks/{name}", expect=403).message == f"{name} is a pre-defined network and cannot be removed"


def test_remove_of_a_network_in_use(engine):
    id = engine.network("used")
    container = engine.start_container(network="used", name="user")
    message = engine.api.delete("/networks/used", expect=403).message
    assert message.startswith(f"error while removing network: network used id {id} has active endpoints")
    container.stop(t=0)
    engine.api.delete("/networks/used", expect=204)
    assert "not found" in container.start(expect=404).message


@pytest.mark.differs(reference="it looks for the network of old by its id")
def test_a_network_that_was_made_anew_is_joined(engine):
    """By its name, which is what the container was created with."""
    engine.network("again")
    container = engine.start_container(network="again")
    container.stop(t=0)
    engine.api.delete("/networks/again", expect=204)
    id = engine.network("again")
    container.start()
    assert container.networks["again"]["NetworkID"] == id


def test_prune(engine):
    engine.network("kept", Labels={"keep": ""})
    engine.network("used")
    engine.network("unused")
    engine.start_container(network="used")
    assert engine.api.post("/networks/prune", filters={"until": ["1h"]}, expect=200).json == {"NetworksDeleted": None}
    assert engine.api.post("/networks/prune", filters={"label!": ["keep"]}, expect=200).json == {"NetworksDeleted": ["unused"]}
    assert engine.api.post("/networks/prune", filters={"label": ["keep"]}, expect=200).json == {"NetworksDeleted": ["kept"]}
    assert names(engine) == {"bridge", "host", "none", "used"}
    assert engine.api.post("/networks/prune", expect=200).json == {"NetworksDeleted": None}
    assert "nvalid filter 'nope'" in engine.api.post("/networks/prune", filters={"nope": ["x"]}, expect=400).message


def test_prune_leaves_networks_of_stopped_containers(engine):
    """What a container would miss at its next start is in use... for newer Docker; 20.10 looks at endpoints alone."""
    engine.network("idle")
    engine.create(network="idle")
    deleted = engine.api.post("/networks/prune", expect=200).json["NetworksDeleted"]
    assert deleted == ["idle"]


def test_answers_of_every_version(engine, version):
    """The recorder compares each with its OpenAPI file."""
    api = Client(engine.socket, version, engine.recorder)
    made = api.post("/networks/create", {"Name": "versions", "IPAM": pools({"Subnet": "10.77.0.0/24"})}, expect=201).json
    container = engine.start_container(network="versions")
    api.get("/networks", expect=200)
    found = api.get(f"/networks/{made['Id']}", expect=200).json
    assert ("EnableIPv4" in found) == (tuple(map(int, version.split("."))) >= (1, 48))
    api.get(f"/containers/{container.id}/json", expect=200)
    api.get("/containers/json", expect=200)
    container.remove(force=True)
    if version != "1.24":
        assert api.post("/networks/prune", expect=200).json["NetworksDeleted"] == ["versions"]
    else:
        api.delete("/networks/versions", expect=204)


@pytest.mark.differs(reference="newer Docker has it (24)")
def test_default_options(own_engine):
    engine = own_engine("--default-network-opt", "bridge=com.docker.network.driver.mtu=1234")
    create(engine, "by-default")
    create(engine, "by-request", Options={"com.docker.network.driver.mtu": "1300"})
    assert inspect(engine, "by-default")["Options"] == {"com.docker.network.driver.mtu": "1234"}
    mtu = lambda network: engine.output("cat /sys/class/net/eth0/mtu", network=network)
    assert mtu("by-default") == "1234\n" and mtu("by-request") == "1300\n"


def test_networks_survive_the_daemon(own_engine):
    engine = own_engine()
    id = engine.network("lasting", Labels={"a": "b"}, Options={"com.docker.network.bridge.name": "br-lasting"}, IPAM=pools({"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.9"}))
    before = inspect(engine, id)
    engine.kill()
    engine.sandbox.run(["ip", "link", "del", "br-lasting"])
    engine.start()
    assert inspect(engine, id) == before
    assert "10.77.0.9/24" in engine.sandbox.run(["ip", "-o", "addr", "show", "br-lasting"]).stdout
    container = engine.start_container(network="lasting")
    assert container.exec("ping -c 1 -w 30 10.77.0.9")[0] == 0
    assert create(engine, IPAM=pools({"Subnet": "10.77.0.0/25"}), expect=403)


@pytest.mark.timeout(400)
def test_five_hundred_networks(own_engine, engine_kind):
    """Twenty on 20.10, which takes a second for each."""
    count = 20 if engine_kind == "reference" else 500
    engine = own_engine("--default-address-pool", "base=10.128.0.0/9,size=24", images=False)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda n: engine.network(f"many-{n}"), range(count)))) == count
    subnets = {n["IPAM"]["Config"][0]["Subnet"] for n in engine.api.get("/networks", filters={"type": ["custom"]}).json}
    assert len(subnets) == count
    took, listed = quickest(lambda: engine.api.get("/networks", expect=200).json)
    assert len(listed) == count + 3 and took < 1
    engine.kill()
    started = time.monotonic()
    engine.start()
    assert time.monotonic() - started < 40
    assert len(engine.api.get("/networks", expect=200).json) == count + 3
    assert len(engine.api.post("/networks/prune", expect=200).json["NetworksDeleted"]) == count
