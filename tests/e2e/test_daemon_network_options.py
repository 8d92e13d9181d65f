"""Options of the daemon that are about networks, and came after 20.10 or have changed since."""

import socket
import subprocess

import pytest

from harness.engine import wait_until
from harness.sandbox import ENGINE_ADDRESS


def hosts(container, name):
    lines = [line.split() for line in container.exec(["cat", "/etc/hosts"])[1].splitlines()]
    return [line[0] for line in lines if name in line[1:]]


def server(engine, network):
    container = engine.start_container("nc -ll -p 80 -e echo open & nc -ll -p 81 -e echo open & echo listening; wait", network=network,
                                       ExposedPorts={"80/tcp": {}}, host={"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}})
    container.wait_log("listening")
    return container


def route_outside(engine, subnet):
    subprocess.run(["nsenter", "-t", str(engine.sandbox.outside_pid), "-n", "ip", "route", "replace", subnet, "via", ENGINE_ADDRESS], check=True)


def from_outside(engine, address, port):
    with engine.sandbox.socket("outside", socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        try:
            sock.connect((address, port))
            return sock.recv(10) == b"open\n"
        except OSError:
            return False


def eventually_from_outside(engine, address, port):
    """Netcat listens a moment after it says so."""
    wait_until(lambda: from_outside(engine, address, port), what=f"{address} port {port}")
    return True


def test_host_gateway(own_engine):
    engine = own_engine("--host-gateway-ip", "10.9.8.7")
    for network in ("bridge", "host"):
        container = engine.start_container(network=network, host={"ExtraHosts": ["gate:host-gateway", "other:10.1.1.1"]})
        assert hosts(container, "gate") == ["10.9.8.7"] and hosts(container, "other") == ["10.1.1.1"]


@pytest.mark.differs(reference="one address, before 28")
def test_host_gateway_of_both_families(own_engine):
    engine = own_engine("--host-gateway-ip", "10.9.8.7", "--host-gateway-ip", "fd00:9::7")
    container = engine.start_container(network="bridge", host={"ExtraHosts": ["gate:host-gateway"]})
    assert hosts(container, "gate") == ["10.9.8.7", "fd00:9::7"]


@pytest.mark.differs(reference="one of IPv4 alone, before 28")
def test_host_gateway_of_a_bridge_with_ipv6(own_engine):
    engine = own_engine("--ipv6", "--fixed-cidr-v6", "fd00:77::/64")
    container = engine.start_container(network="bridge", host={"ExtraHosts": ["gate:host-gateway"]})
    gateways = [config["Gateway"] for config in engine.api.get("/networks/bridge").json["IPAM"]["Config"]]
    assert hosts(container, "gate") == gateways and len(gateways) == 2
    assert container.exec("ping -c 1 -W 30 fd00:77::1 > /dev/null && echo there")[1] == "there\n"


@pytest.mark.differs(reference="since 28")
def test_an_ipv6_address_for_the_bridge(own_engine):
    engine = own_engine("--ipv6", "--bip6", "fd00:77::9/64", "--fixed-cidr-v6", "fd00:77:0:0:1::/80")
    container = engine.start_container(network="bridge")
    (config,) = [c for c in engine.api.get("/networks/bridge").json["IPAM"]["Config"] if ":" in c["Subnet"]]
    assert config == {"Subnet": "fd00:77::/64", "Gateway": "fd00:77::9", "IPRange": "fd00:77:0:0:1::/80"}
    assert container.inspect()["NetworkSettings"]["GlobalIPv6Address"].startswith("fd00:77:0:0:1:")
    assert "default via fd00:77::9" in container.exec("ip -6 route")[1]
    assert container.exec("ping -c 1 -W 30 fd00:77::9 > /dev/null && echo there")[1] == "there\n"
    container.remove(force=True)
    # Another one takes its place.
    engine.stop()
    engine.arguments = ["--ipv6", "--bip6", "fd00:78::1/64"]
    engine.start()
    container = engine.start_container(network="bridge")
    assert container.inspect()["NetworkSettings"]["GlobalIPv6Address"].startswith("fd00:78:")
    addresses = engine.sandbox.run(["ip", "-6", "-o", "addr", "show", "scope", "global"]).stdout
    assert "fd00:78::1/64" in addresses and "fd00:77:" not in addresses


def test_direct_routing(own_engine, engine_kind):
    """Published ports on containers' own addresses, as before 28. What is not published stays closed."""
    engine = own_engine(*(["--allow-direct-routing"] if engine_kind == "gantry" else []))
    engine.api.post("/networks/create", {"Name": "mine", "IPAM": {"Config": [{"Subnet": "10.201.1.0/24"}]}}, expect=201)
    route_outside(engine, "10.201.1.0/24")
    route_outside(engine, "172.17.0.0/16")
    for network in ("bridge", "mine"):
        container = server(engine, network)
        address = container.networks[network]["IPAddress"]
        assert eventually_from_outside(engine, address, 80), network
        assert not from_outside(engine, address, 81), network
        assert not from_outside(engine, ENGINE_ADDRESS, 80), network
    if not engine.is_reference:
        # And no more without it, although the container has been there all the time.
        engine.stop()
        engine.arguments = []
        engine.start()
        assert not from_outside(engine, address, 80)


def test_a_trusted_interface(own_engine):
    """Who comes by it reaches published ports at containers' own addresses, as everybody did before 28."""
    engine = own_engine()
    for name, subnet, trusted in (("near", "10.201.1.0/24", "eth0"), ("far", "10.201.2.0/24", "eth9")):
        engine.api.post("/networks/create", {"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}, "Options": {
            "com.docker.network.bridge.trusted_host_interfaces": trusted}}, expect=201)
        route_outside(engine, subnet)
    near, far = server(engine, "near"), server(engine, "far")
    assert eventually_from_outside(engine, near.networks["near"]["IPAddress"], 80)
    assert not from_outside(engine, near.networks["near"]["IPAddress"], 81)
    assert engine.is_reference or not from_outside(engine, far.networks["far"]["IPAddress"], 80)
