"""Published ports of a daemon that must not touch the firewall (`iptables=false`): connections are carried."""

import functools
import socket

import pytest

from harness import published
from harness.engine import wait_until
from harness.published import HOST, ask, echo, give_addresses
from harness.sandbox import ENGINE_ADDRESS

answers = functools.partial(published.answers, begin="echo:hello")
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
KINDS = pytest.mark.parametrize("kind, type", [("tcp", TCP), ("udp", UDP)])


@pytest.fixture
def engine(own_engine):
    engine = own_engine("--iptables=false")
    give_addresses(engine.sandbox)
    return engine


EVERYWHERE = (("outside", ENGINE_ADDRESS), ("host", ENGINE_ADDRESS), ("host", "127.0.0.1"), ("outside", HOST), ("host", "::1"))


@KINDS
def test_from_everywhere(engine, kind, type):
    rules = engine.sandbox.ruleset()
    server = echo(engine, [{"HostPort": "8080"}], kind, "bridge")
    assert server.inspect()["NetworkSettings"]["Ports"][f"80/{kind}"] == [
        {"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    for where, address in EVERYWHERE:
        assert answers(engine, where, address, 8080, type), (where, address)
    # It is the host that asks, for there is nothing else that could.
    gateway = server.inspect()["NetworkSettings"]["Gateway"]
    assert ask(engine, "outside", ENGINE_ADDRESS, 8080, type) == f"echo:hello from {gateway}"
    assert engine.sandbox.ruleset() == rules == []
    server.remove(force=True)
    assert not answers(engine, "outside", ENGINE_ADDRESS, 8080, type)


@KINDS
def test_a_certain_address_and_any_port(engine, kind, type):
    echo(engine, [{"HostIp": "127.0.0.1", "HostPort": "8080"}], kind, "bridge")
    reached = [answers(engine, where, address, 8080, type) for where, address in EVERYWHERE]
    assert reached == [False, False, True, False, False]
    any_port = echo(engine, [{"HostPort": ""}], kind, "bridge")
    for binding in any_port.inspect()["NetworkSettings"]["Ports"][f"80/{kind}"]:
        address = HOST if ":" in binding["HostIp"] else ENGINE_ADDRESS
        assert answers(engine, "outside", address, int(binding["HostPort"]), type)


@pytest.mark.differs(reference="its proxy answers from the address that the kernel prefers")
def test_datagrams_come_from_the_address_that_was_asked(engine):
    echo(engine, [{"HostPort": "8080"}], "udp", "bridge")
    prefix = ENGINE_ADDRESS.rsplit(".", 1)[0]
    second = f"{prefix}.222"
    engine.sandbox.run(["ip", "addr", "add", f"{second}/24", "dev", "eth0"])
    assert [answers(engine, "outside", address, 8080, UDP) for address in (ENGINE_ADDRESS, second)] == [True, True]


def test_a_port_of_another_program(engine):
    with engine.sandbox.socket("host", UDP) as other:
        other.bind(("0.0.0.0", 8080))
        container = engine.create(["sleep", "1000"], network="bridge", ExposedPorts={"80/udp": {}},
                                  host={"PortBindings": {"80/udp": [{"HostPort": "8080"}]}})
        assert "address already in use" in container.start(expect=500).message
    container.start()
    with engine.sandbox.socket("host", UDP) as other, pytest.raises(OSError):
        other.bind(("0.0.0.0", 8080))


@KINDS
def test_networks_are_left_and_joined(engine, kind, type):
    engine.api.post("/networks/create", {"Name": "other"}, expect=201)
    server = echo(engine, [{"HostPort": "8080"}], kind, "bridge")
    server.disconnect("bridge")
    for where, address in EVERYWHERE:
        with pytest.raises(ConnectionRefusedError):
            ask(engine, where, address, 8080, type)
    server.connect("other")
    for where, address in EVERYWHERE:
        wait_until(lambda: answers(engine, where, address, 8080, type), what=f"{where} {address}")


@pytest.mark.differs(reference="the containers end with the daemon, unless it was told to leave them alone")
@KINDS
def test_the_daemon_is_not_needed(engine, kind, type):
    server = echo(engine, [{"HostPort": "8080"}], kind, "bridge")
    engine.kill()
    for where, address in EVERYWHERE:
        assert answers(engine, where, address, 8080, type), (where, address)
    engine.start()
    for where, address in EVERYWHERE:
        assert answers(engine, where, address, 8080, type), (where, address)
    server.remove(force=True)
    assert not answers(engine, "outside", ENGINE_ADDRESS, 8080, type)


@pytest.mark.differs(reference="ports that lead nowhere are published in silence")
def test_what_needs_the_firewall_is_refused(own_engine):
    engine = own_engine("--iptables=false", "--userland-proxy=false")
    container = engine.create(["sleep", "1000"], network="bridge", ExposedPorts={"80/tcp": {}},
                              host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    assert "iptables=false" in container.start(expect=403).message
