"""Network and IPAM plugins by Docker's protocol, with a plugin in Python that makes bridges and veth pairs."""

import json

import pytest

from harness.engine import IMAGE, wait_until
from harness.plugin import Plugin


@pytest.fixture
def network(engine):
    """network(driver, **body): makes a network; removed before its plugin goes."""
    made = []

    def make(driver, expect=201, **body):
        name = engine.name("net")
        answer = engine.api.post("/networks/create", {"Name": name, "Driver": driver, "CheckDuplicate": True, **body}, expect=expect)
        if expect == 201:
            made.append(name)
            return name
        return answer.json["message"]

    yield make
    for container in engine.api.get("/containers/json", all=True).json:
        engine.api.delete(f"/containers/{container['Id']}", force=True, v=True)
    for name in made:
        engine.api.delete(f"/networks/{name}")


def pool(subnet, gateway):
    return {"Config": [{"Subnet": subnet, "Gateway": gateway}]}


def test_a_network_of_a_plugin(engine, plugin, network):
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.1.0/24", "10.77.1.1"), Options={"color": "red"})
    shown = engine.api.get(f"/networks/{name}", expect=200).json
    assert shown["Driver"] == driver.name and shown["Scope"] == "local" and shown["Options"] == {"color": "red"}
    request = driver.calls("NetworkDriver.CreateNetwork")[0][1]
    assert request["NetworkID"] == shown["Id"] and request["Options"]["com.docker.network.generic"] == {"color": "red"}
    assert request["IPv4Data"][0]["Pool"] == "10.77.1.0/24" and request["IPv4Data"][0]["Gateway"] == "10.77.1.1/24"

    one, two = (engine.start_container(network=name) for _ in range(2))
    addresses = [c.inspect()["NetworkSettings"]["Networks"][name] for c in (one, two)]
    assert all(a["IPAddress"].startswith("10.77.1.") and a["Gateway"] == "10.77.1.1" for a in addresses)
    # Real traffic over the plugin's cable; its gateway, its hardware address and its route.
    assert one.exec(["ping", "-c", "1", "-W", "5", "10.77.1.1"])[0] == 0
    if not engine.is_reference:
        # The reference's firewall looks at what passes a bridge, and drops it.
        assert one.exec(["ping", "-c", "1", "-W", "5", addresses[1]["IPAddress"]])[0] == 0
    routes = one.exec(["ip", "route"])[1]
    assert "default via 10.77.1.1 dev eth0" in routes and "198.51.100.0/24 via 10.77.1.1 dev eth0" in routes
    assert "link/ether 02:fe:" in one.exec(["ip", "link", "show", "eth0"])[1]
    one.remove(force=True)
    two.remove(force=True)
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoints")
    joined = {a["EndpointID"] for _, a in driver.calls("NetworkDriver.Join")}
    assert len(joined) == 2
    assert joined == {a["EndpointID"] for _, a in driver.calls("NetworkDriver.Leave")}
    assert joined == {a["EndpointID"] for _, a in driver.calls("NetworkDriver.DeleteEndpoint")}
    engine.api.delete(f"/networks/{name}", expect=204)
    assert driver.state["networks"] == {}


def test_connect_and_disconnect(engine, plugin, network):
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.2.0/24", "10.77.2.1"))
    container = engine.start_container(network="bridge")
    engine.api.post(f"/networks/{name}/connect", {"Container": container.id, "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.77.2.9"}}}, expect=200)
    assert "10.77.2.9/24" in container.exec(["ip", "addr"])[1]
    assert driver.calls("NetworkDriver.CreateEndpoint")[0][1]["Interface"]["Address"] == "10.77.2.9/24"
    engine.api.post(f"/networks/{name}/disconnect", {"Container": container.id}, expect=200)
    assert "10.77.2.9" not in container.exec(["ip", "addr"])[1]
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoint")


def test_errors_of_the_plugin(engine, plugin, network):
    driver = plugin("NetworkDriver")
    driver.answer("NetworkDriver.CreateNetwork", body=json.dumps({"Err": "no more networks"}))
    message = network(driver.name, expect=(400, 500), IPAM=pool("10.77.3.0/24", "10.77.3.1"))
    assert "no more networks" in message
    driver.answer("NetworkDriver.CreateNetwork")
    name = network(driver.name, IPAM=pool("10.77.3.0/24", "10.77.3.1"))
    driver.answer("NetworkDriver.Join", body=json.dumps({"Err": "no more joins"}))
    container = engine.create(network=name)
    message = container.start(expect=(400, 500)).json["message"]
    assert "no more joins" in message
    # Nothing is left of it, not even its address.
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoint")
    driver.answer("NetworkDriver.Join")
    container.start()
    container.remove(force=True)


def test_an_unknown_driver(engine, network):
    message = network("no-such-network-driver", expect=404)
    assert "plugin" in message and "not found" in message


def test_an_ipam_plugin(engine, plugin, network):
    driver = plugin("IpamDriver")
    name = network("bridge", IPAM={"Driver": driver.name, "Options": {"k": "v"}})
    shown = engine.api.get(f"/networks/{name}", expect=200).json
    subnet = shown["IPAM"]["Config"][0]["Subnet"]
    assert shown["IPAM"]["Driver"] == driver.name and subnet.startswith("10.201.")
    assert driver.calls("IpamDriver.RequestPool")[0][1]["AddressSpace"] == "testlocal"
    assert driver.calls("IpamDriver.RequestPool")[0][1]["Options"] == {"k": "v"}
    container = engine.start_container(network=name)
    address = container.inspect()["NetworkSettings"]["Networks"][name]["IPAddress"]
    taken = list(driver.state["pools"].values())[0]["taken"]
    assert address in taken and address.rsplit(".", 1)[0] == subnet.rsplit(".", 1)[0]
    container.remove(force=True)
    wait_until(lambda: address not in list(driver.state["pools"].values())[0]["taken"], what="the address' release")
    engine.api.delete(f"/networks/{name}", expect=204)
    assert driver.state["pools"] == {}


def test_both_of_plugins(engine, plugin, network):
    networks, addresses = plugin("NetworkDriver"), plugin("IpamDriver")
    name = network(networks.name, IPAM={"Driver": addresses.name, "Config": [{"Subnet": "10.77.4.0/24"}]})
    container = engine.start_container(network=name)
    gateway = container.inspect()["NetworkSettings"]["Networks"][name]["Gateway"]
    assert gateway.startswith("10.77.4.") and container.exec(["ping", "-c", "1", "-W", "5", gateway])[0] == 0


def test_a_daemon_that_is_killed(own_engine, closing):
    """Containers go on; what ended meanwhile is told to the plugin by the next daemon."""
    engine = own_engine()
    driver = closing(Plugin(engine, "NetworkDriver")).start()
    engine.api.post("/networks/create", {"Name": "kept", "Driver": driver.name, "IPAM": pool("10.77.5.0/24", "10.77.5.1")}, expect=201)
    if engine.is_reference:
        # Its containers end with it.
        return
    one, two = (engine.start_container(image=IMAGE, network="kept") for _ in range(2))
    ip = two.inspect()["NetworkSettings"]["Networks"]["kept"]["IPAddress"]
    engine.kill()
    engine.start()
    assert one.exec(["ping", "-c", "1", "-W", "5", ip])[0] == 0
    assert len(driver.state["endpoints"]) == 2
    engine.kill()
    shim = (engine.exec_root / "containers" / one.id / "shim.pid").read_text().split()[0]
    init = (engine.sandbox.proc(shim) / "task" / shim / "children").read_text().split()[0]
    engine.sandbox.run(["kill", "-9", init])
    engine.start()
    wait_until(lambda: len(driver.state["endpoints"]) == 1, what="the end of the endpoint")
    two.remove(force=True)
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the other")
    engine.api.delete("/networks/kept", expect=204)
    assert driver.state["networks"] == {}
