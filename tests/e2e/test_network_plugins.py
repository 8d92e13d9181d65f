"""Network and IPAM plugins by Docker's protocol, with a plugin in Python that makes bridges and veth pairs."""

import json
import socket

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
    assert one.exec(["ping", "-c", "1", "-W", "30", "10.77.1.1"])[0] == 0
    if not engine.is_reference:
        # The reference's firewall looks at what passes a bridge, and drops it.
        assert one.exec(["ping", "-c", "1", "-W", "30", addresses[1]["IPAddress"]])[0] == 0
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


PORTS = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostPort": "9000-9010"}]}
EXPOSED = {"80/tcp": {}, "53/udp": {}, "99/sctp": {}}


def by_port(found):
    return sorted(found, key=lambda port: port["Port"])


def test_what_a_plugin_is_told(engine, plugin, network):
    """Of the ports, the client's options and the hardware address, in libnetwork's words."""
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.6.0/24", "10.77.6.1"))
    container = engine.create(["sleep", "1000"], network=name, MacAddress="02:00:00:00:00:77", ExposedPorts=EXPOSED, host={"PortBindings": PORTS},
                              NetworkingConfig={"EndpointsConfig": {name: {"DriverOpts": {"opt": "value", "com.docker.network.x": "y"}}}})
    container.start()
    (_, made), = driver.calls("NetworkDriver.CreateEndpoint")
    (_, joined), = driver.calls("NetworkDriver.Join")
    (_, programmed), = driver.calls("NetworkDriver.ProgramExternalConnectivity")
    assert made["Interface"]["MacAddress"] == "02:00:00:00:00:77" and made["Options"]["com.docker.network.endpoint.macaddress"] == "AgAAAAB3"
    assert made["Options"]["opt"] == "value" and made["Options"]["com.docker.network.x"] == "y"
    for options in (made["Options"], joined["Options"], programmed["Options"]):
        assert by_port(options["com.docker.network.portmap"]) == [
            {"Proto": 17, "IP": "", "Port": 53, "HostIP": "", "HostPort": 9000, "HostPortEnd": 9010},
            {"Proto": 6, "IP": "", "Port": 80, "HostIP": "127.0.0.1", "HostPort": 8080, "HostPortEnd": 8080}]
        assert by_port(options["com.docker.network.endpoint.exposedports"]) == [
            {"Proto": 17, "Port": 53}, {"Proto": 6, "Port": 80}, {"Proto": 132, "Port": 99}]
    assert "opt" not in joined["Options"]
    order = [method.split(".")[1] for method, _ in driver.calls() if method.startswith("NetworkDriver.") and "Endpoint" not in method.split(".")[1]]
    assert order[order.index("Join"):] == ["Join", "ProgramExternalConnectivity"]
    container.stop(t=0)
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoint")
    ended = [method.split(".")[1] for method, _ in driver.calls()]
    assert ended[-3:] == ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"]


def test_ports_of_a_plugin(engine, plugin, network):
    """The plugin publishes them, and says which; 20.10 does not show what it says."""
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.7.0/24", "10.77.7.1"))
    container = engine.start_container(network=name, ExposedPorts=EXPOSED, host={"PortBindings": PORTS})
    shown = container.inspect()["NetworkSettings"]["Ports"]
    if engine.is_reference:
        assert shown == {}
    else:
        assert shown == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "53/udp": [{"HostIp": "0.0.0.0", "HostPort": "9000"}], "99/sctp": None}
        (listed,) = engine.api.get("/containers/json", filters={"id": [container.id]}, expect=200).json
        assert {(p["PrivatePort"], p.get("PublicPort")) for p in listed["Ports"]} == {(80, 8080), (53, 9000), (99, None)}
    # Nobody else has them.
    with engine.sandbox.socket("host") as listener:
        # Connections of earlier tests may linger there, so it takes what servers do.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 8080))
        listener.listen()


def test_a_plugin_that_cannot_publish(engine, plugin, network):
    """Nobody does in Docker; here the engine does it instead."""
    driver = plugin("NetworkDriver")
    driver.answer("NetworkDriver.ProgramExternalConnectivity", status=404, body="404 page not found\n")
    name = network(driver.name, IPAM=pool("10.77.8.0/24", "10.77.8.1"))
    container = engine.start_container(["probe", "echo", "tcp", "80"], network=name, ExposedPorts={"80/tcp": {}},
                                       host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    container.wait_log("listening")
    with engine.sandbox.socket("host") as client:
        client.settimeout(30)
        assert (client.connect_ex((engine.address, 8080)) == 0) == (not engine.is_reference)
    container.stop(t=0)
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoint")
    if not engine.is_reference:
        assert not driver.calls("NetworkDriver.RevokeExternalConnectivity")


def test_the_way_out_moves(engine, plugin, network):
    """The plugin hears of it when its network becomes the way out, and when it is none any more."""
    driver = plugin("NetworkDriver", "noroutes")
    first, second = (network(driver.name, IPAM=pool(f"10.77.{n}.0/24", f"10.77.{n}.1")) for n in (20, 21))
    ids = {name: engine.api.get(f"/networks/{name}", expect=200).json["Id"] for name in (first, second)}
    upper, lower = sorted((first, second))
    calls = lambda: [(method.split(".")[1][0], a["NetworkID"]) for method, a in driver.calls(
        "NetworkDriver.ProgramExternalConnectivity", "NetworkDriver.RevokeExternalConnectivity")]
    container = engine.start_container(network=lower)
    container.connect(upper)
    assert calls() == [("P", ids[lower]), ("R", ids[lower]), ("P", ids[upper])]
    container.disconnect(upper)
    assert calls()[3:] == [("R", ids[upper]), ("P", ids[lower])]
    container.connect(upper)
    container.remove(force=True)
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoints")
    assert [c for c, _ in calls()].count("P") == [c for c, _ in calls()].count("R")


@pytest.fixture
def bridge(engine, network):
    """A network of the engine's own; by its name it becomes the way out of who joins it."""
    engine.api.post("/networks/create", {"Name": "a-bridge", "IPAM": {"Config": [{"Subnet": "10.77.23.0/24"}]}}, expect=201)
    yield "a-bridge"
    for container in engine.api.get("/containers/json", all=True).json:
        engine.api.delete(f"/containers/{container['Id']}", force=True)
    engine.api.delete("/networks/a-bridge", expect=204)


EVERYWHERE = (("10.99.0.2", socket.AF_INET), ("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6))


def answers(engine, address, family):
    with engine.sandbox.socket("host", socket.SOCK_STREAM, family) as client:
        client.settimeout(5)
        try:
            client.connect((address, 8080))
            client.sendall(b"hello")
            return client.recv(100).startswith(b"echo:hello")
        except OSError:
            return False


def start_echo(engine, network, more=0):
    ports = {"80/tcp": [{"HostPort": "8080"}], **{f"{9000 + n}/udp": [{"HostPort": str(9000 + n)}] for n in range(more)}}
    container = engine.start_container(["probe", "echo", "tcp", "80"], network=network, ExposedPorts={port: {} for port in ports},
                                       host={"PortBindings": ports})
    container.wait_log("listening")
    return container


def told(driver):
    """What the plugin has heard of its being the way out: P for yes, R for no."""
    return "".join(method.split(".")[1][0] for method, _ in driver.calls(
        "NetworkDriver.ProgramExternalConnectivity", "NetworkDriver.RevokeExternalConnectivity"))


@pytest.mark.parametrize("more", [0, 6])
def test_ports_move_from_a_plugin_to_a_bridge(engine, plugin, network, bridge, more):
    """Who published them is told so; from then on the engine does, at once and in both families."""
    driver = plugin("NetworkDriver")
    container = start_echo(engine, network(driver.name, IPAM=pool("10.77.22.0/24", "10.77.22.1")), more)
    assert not any(answers(engine, *at) for at in EVERYWHERE)
    container.connect(bridge)
    for at in EVERYWHERE:
        wait_until(lambda: answers(engine, *at), what=f"an answer at {at[0]}")
    assert told(driver) == "PR"
    shown = container.inspect()["NetworkSettings"]["Ports"]
    assert {binding["HostIp"] for binding in shown["80/tcp"]} == {"0.0.0.0", "::"} and len(shown) == 1 + more
    with engine.sandbox.socket("host") as other, pytest.raises(OSError):
        other.bind(("0.0.0.0", 8080))
    container.remove(force=True)
    assert not any(answers(engine, *at) for at in EVERYWHERE)


@pytest.mark.differs(reference="a connect that fails leaves the network in the container's record")
def test_ports_that_cannot_move_to_a_bridge(engine, plugin, network, bridge):
    """They stay the plugin's, and so does everything else."""
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.24.0/24", "10.77.24.1"))
    container = start_echo(engine, name)
    with engine.sandbox.socket("host") as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("0.0.0.0", 8080))
        other.listen()
        assert "address already in use" in container.connect(bridge, expect=500).message
    assert list(container.networks) == [name] and told(driver) == "PRP"
    container.connect(bridge)
    wait_until(lambda: answers(engine, "::1", socket.AF_INET6), what="an answer at ::1")
    assert told(driver) == "PRPR"


def test_ports_move_with_the_end_of_a_plugins_network(engine, plugin, network):
    """The bridge has been there all along, and is the way out when the plugin's network is left."""
    driver = plugin("NetworkDriver")
    name = network(driver.name, IPAM=pool("10.77.25.0/24", "10.77.25.1"))
    engine.api.post("/networks/create", {"Name": "z-bridge", "IPAM": {"Config": [{"Subnet": "10.77.26.0/24"}]}}, expect=201)
    try:
        container = start_echo(engine, name)
        container.connect("z-bridge")
        assert told(driver) == "P"
        container.disconnect(name)
        for at in EVERYWHERE:
            wait_until(lambda: answers(engine, *at), what=f"an answer at {at[0]}")
        assert told(driver) == "PR"
        container.remove(force=True)
    finally:
        engine.api.delete("/networks/z-bridge", expect=204)


def test_ports_that_cannot_be_published(engine, plugin, network):
    driver = plugin("NetworkDriver")
    driver.answer("NetworkDriver.ProgramExternalConnectivity", body=json.dumps({"Err": "no more ports"}))
    name = network(driver.name, IPAM=pool("10.77.9.0/24", "10.77.9.1"))
    container = engine.create(network=name)
    message = container.start(expect=(400, 500)).message
    assert "driver failed programming external connectivity on endpoint" in message and "no more ports" in message
    wait_until(lambda: driver.state["endpoints"] == {}, what="the end of the endpoint")


def test_names_of_interfaces(engine, plugin, network):
    driver = plugin("NetworkDriver", "lan")
    name = network(driver.name, IPAM=pool("10.77.10.0/24", "10.77.10.1"))
    container = engine.start_container(network=name)
    assert "default via 10.77.10.1 dev lan0" in container.exec(["ip", "route"])[1]
    container.connect("bridge")
    assert "eth" in container.exec(["ip", "-o", "link"])[1]


def test_a_driver_of_many_hosts(engine, plugin):
    """Its networks are a swarm's."""
    driver = plugin("NetworkDriver", "global")
    answer = engine.api.post("/networks/create", {"Name": engine.name("n"), "Driver": driver.name}, expect=(500, 503))
    assert answer.message.startswith("This node is not a swarm manager.")


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


def test_an_ipam_plugin_that_wants_to_know_whose_address_it_is(engine, plugin, network):
    driver = plugin("IpamDriver", "mac")
    name = network("bridge", IPAM={"Driver": driver.name})
    container = engine.start_container(network=name)
    mac = container.networks[name]["MacAddress"]
    asked = [a["Options"] for _, a in driver.calls("IpamDriver.RequestAddress")]
    assert asked == [{"RequestAddressType": "com.docker.network.gateway"}, {"com.docker.network.endpoint.macaddress": mac}]
    assert len(driver.calls("IpamDriver.GetCapabilities")) == 1


def test_an_ipam_plugin_that_does_not(engine, plugin, network):
    driver = plugin("IpamDriver")
    name = network("bridge", IPAM={"Driver": driver.name, "Config": [{"Subnet": "10.77.11.0/24", "AuxiliaryAddresses": {"router": "10.77.11.7"}}]})
    engine.start_container(network=name, MacAddress="02:00:00:00:00:77")
    assert [(a["Address"], a["Options"] or {}) for _, a in driver.calls("IpamDriver.RequestAddress")] == [
        ("", {"RequestAddressType": "com.docker.network.gateway"}), ("10.77.11.7", {}), ("", {})]


def test_ipv6_of_an_ipam_plugin(engine, plugin, network):
    """The client says nothing of pools: one of each family."""
    driver = plugin("IpamDriver")
    name = network("bridge", EnableIPv6=True, IPAM={"Driver": driver.name})
    pools = [(a["V6"], a["Pool"]) for _, a in driver.calls("IpamDriver.RequestPool")]
    assert pools == [(False, ""), (True, "")]
    found = engine.start_container(network=name).networks[name]
    assert found["IPAddress"].startswith("10.201.") and found["GlobalIPv6Address"].startswith("fd20:")
    taken = [address for pool in driver.state["pools"].values() for address in pool["taken"]]
    assert {found["IPAddress"], found["GlobalIPv6Address"], found["Gateway"], found["IPv6Gateway"]} <= set(taken)


def test_a_plugin_that_forgets(own_engine, closing):
    """It is told again of its pools, and of the addresses of those who live on."""
    engine = own_engine()
    driver = closing(Plugin(engine, "IpamDriver", "replay")).start()
    engine.api.post("/networks/create", {"Name": "kept", "Driver": "bridge", "IPAM": {
        "Driver": driver.name, "Config": [{"Subnet": "10.77.12.0/24", "AuxiliaryAddresses": {"router": "10.77.12.7"}}]}}, expect=201)
    lives = engine.start_container(network="kept")
    address = lives.networks["kept"]["IPAddress"]
    gone = engine.start_container(network="kept")
    gone.remove(force=True)
    before = len(driver.calls())
    if engine.is_reference:
        engine.stop()
    else:
        engine.kill()
    driver.stop()
    (driver.directory / "state.json").write_text(json.dumps({"next_pool": 40}))
    driver.start()
    engine.start()
    state = wait_until(lambda: driver.state.get("pools"), what="the pool")
    (found,) = state.values()
    assert found["pool"] == "10.77.12.0/24"
    assert set(found["taken"]) == {"10.77.12.1", "10.77.12.7"} | (set() if engine.is_reference else {address})
    options = [a["Options"] or {} for m, a in driver.calls()[before:] if m == "IpamDriver.RequestAddress"]
    assert options[0] == {"RequestAddressType": "com.docker.network.gateway"}
    # By the pool's new name from now on.
    other = engine.start_container(network="kept")
    # There the first one ended with the daemon.
    assert (other.networks["kept"]["IPAddress"] == address) == engine.is_reference
    for container in (other, lives):
        container.remove(force=True)
    engine.api.delete("/networks/kept", expect=204)
    assert driver.state["pools"] == {}


def test_both_of_plugins(engine, plugin, network):
    networks, addresses = plugin("NetworkDriver"), plugin("IpamDriver")
    name = network(networks.name, IPAM={"Driver": addresses.name, "Config": [{"Subnet": "10.77.4.0/24"}]})
    container = engine.start_container(network=name)
    gateway = container.inspect()["NetworkSettings"]["Networks"][name]["Gateway"]
    assert gateway.startswith("10.77.4.") and container.exec(["ping", "-c", "1", "-W", "30", gateway])[0] == 0


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
    assert one.exec(["ping", "-c", "1", "-W", "30", ip])[0] == 0
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
