"""Published ports of containers on networks of the user's: from everywhere, through changes of networks and daemons."""

import functools
import socket
import struct
import subprocess

import pytest

from harness import published
from harness.engine import wait_until
from harness.published import ask, echo, two_networks

answers = functools.partial(published.answers, begin="echo:")


@pytest.fixture(autouse=True)
def networks(engine):
    with two_networks(engine):
        yield


def ports(container, key="80/tcp"):
    return container.inspect()["NetworkSettings"]["Ports"].get(key)


@pytest.mark.parametrize("kind, type", [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_from_everywhere(engine, kind, type):
    server = echo(engine, [{"HostPort": "8080"}], kind)
    for where, address in (("outside", engine.address), ("host", engine.address), ("host", "127.0.0.1"), ("host", "10.202.1.1")):
        assert answers(engine, where, address, 8080, type), (where, address)
    if kind == "tcp":
        for network in ("front", "back", "bridge"):
            out = engine.output(f"echo hi | nc -w 20 {engine.address} 8080", network=network)
            assert out.startswith("echo:hi"), network
        assert server.exec(f"echo hi | nc -w 20 {engine.address} 8080")[1].startswith("echo:hi"), "itself"
    assert ask(engine, "outside", engine.address, 8080, type) == f"echo:hello from {engine.outside_address}"


def test_a_certain_address(engine):
    echo(engine, [{"HostIp": "127.0.0.1", "HostPort": "8080"}])
    assert answers(engine, "host", "127.0.0.1", 8080)
    assert not answers(engine, "outside", engine.address, 8080) and not answers(engine, "host", engine.address, 8080)


def test_twenty_ports(engine):
    bindings = {f"{port}/tcp": [{"HostPort": str(port)}] for port in range(9100, 9120)}
    bindings["9100/tcp"] = [{"HostPort": "9100-9105"}]
    container = engine.create(["probe", "echo", "tcp", "9119"], network="front", host={"PortBindings": {
        key: value for key, value in bindings.items() if key != "9100/tcp"}}, ExposedPorts={key: {} for key in bindings})
    container.start()
    container.wait_log("listening")
    found = container.inspect()["NetworkSettings"]["Ports"]
    assert {key for key, value in found.items() if value} == set(bindings) - {"9100/tcp"}
    assert answers(engine, "outside", engine.address, 9119)
    container.kill()
    container.wait()
    wait_until(lambda: not answers(engine, "outside", engine.address, 9119))


def test_sctp_is_published(engine):
    container = engine.create(["sleep", "1000"], network="front", ExposedPorts={"80/sctp": {}},
                              host={"PortBindings": {"80/sctp": [{"HostPort": "8080"}]}})
    if engine.is_reference and "protocol not supported" in container.start(expect=(204, 500)).body.decode():
        return  # Its proxy needs sockets of the protocol, which this kernel lacks.
    if not engine.is_reference:
        container.start()
    assert ports(container, "80/sctp")[0]["HostPort"] == "8080"


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def sctp(source, destination, tag, chunk):
    """A packet of SCTP; `chunk` is 1 for an INIT, 2 for an INIT ACK (which has a cookie)."""
    body = struct.pack("!IIHHI", 0x11223344, 65536, 10, 10, 1) + (struct.pack("!HH4s", 7, 8, b"cook") if chunk == 2 else b"")
    chunk = struct.pack("!BBH", chunk, 0, 4 + len(body)) + body
    head = struct.pack("!HHI", source, destination, tag)
    return head + struct.pack("<I", crc32c(head + bytes(4) + chunk)) + chunk


def received(sock, chunk):
    """The ports and the body of the next packet with such a chunk; its checksum is right."""
    while True:
        packet = sock.recv(4096)
        packet = packet[(packet[0] & 15) * 4:]
        if packet[12] == chunk:
            assert struct.unpack("<I", packet[8:12])[0] == crc32c(packet[:8] + bytes(4) + packet[12:])
            return struct.unpack("!HHI", packet[:8])


def test_sctp_packets(engine):
    """This kernel has no sockets of SCTP, but it tracks and translates its packets: the beginning of an association, by hand."""
    container = engine.create(["sleep", "1000"], network="front", ExposedPorts={"80/sctp": {}},
                              host={"PortBindings": {"80/sctp": [{"HostPort": "8080"}]}})
    if engine.is_reference and "protocol not supported" in container.start(expect=(204, 500)).body.decode():
        return  # As above.
    if not engine.is_reference:
        container.start()
    with engine.sandbox.socket("outside", socket.SOCK_RAW, proto=132) as client, \
            engine.sandbox.socket(container.pid, socket.SOCK_RAW, proto=132) as server:
        client.sendto(sctp(5555, 8080, 0, 1), (engine.address, 0))
        assert received(server, 1) == (5555, 80, 0)
        server.sendto(sctp(80, 5555, 0x11223344, 2), (engine.outside_address, 0))
        assert received(client, 2) == (8080, 5555, 0x11223344)
        # What is not published is not let in.
        client.sendto(sctp(5556, 8081, 0, 1), (engine.address, 0))
        client.sendto(sctp(5557, 8080, 0, 1), (engine.address, 0))
        assert received(server, 1) == (5557, 80, 0)


def test_ports_move_with_the_networks(engine):
    """They lead to the network that is the way out, and go on when that one is left."""
    server = echo(engine, [{"HostPort": "8080"}])
    assert answers(engine, "outside", engine.address, 8080)
    engine.api.post("/networks/back/connect", {"Container": server.id}, expect=200)
    assert answers(engine, "outside", engine.address, 8080)
    engine.api.post("/networks/front/disconnect", {"Container": server.id}, expect=200)
    wait_until(lambda: answers(engine, "outside", engine.address, 8080))
    assert ports(server)[0]["HostPort"] == "8080"
    engine.api.post("/networks/back/disconnect", {"Container": server.id}, expect=200)
    assert not answers(engine, "outside", engine.address, 8080)
    engine.api.post("/networks/front/connect", {"Container": server.id}, expect=200)
    wait_until(lambda: answers(engine, "outside", engine.address, 8080))


def test_a_port_of_another_network_is_taken(engine):
    echo(engine, [{"HostPort": "8080"}])
    second = engine.create(network="back", ExposedPorts={"80/tcp": {}}, host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    assert "8080 failed: port is already allocated" in second.start(expect=500).message


def test_senders_find_the_container_of_the_moment(engine):
    """A sender of datagrams that never pauses is not sent to a container that is gone."""
    with engine.sandbox.socket("outside", socket.SOCK_DGRAM) as sender:
        sender.settimeout(20)
        # Not connected: what was refused in between is nobody's error.
        at = (engine.address, 8080)
        for network in ("front", "back"):
            server = echo(engine, [{"HostPort": "8080"}], "udp", network)
            sender.sendto(b"hi", at)
            assert sender.recv(100).startswith(b"echo:hi"), network
            server.remove(force=True)
            sender.sendto(b"between", at)


@pytest.mark.differs(reference="the containers end with the daemon, unless it was told to leave them alone")
def test_connections_outlive_the_daemon(own_engine):
    engine = own_engine()
    server = engine.start_container("exec nc -ll -p 80 -e cat", network="bridge", ExposedPorts={"80/tcp": {}},
                                    host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    wait_until(lambda: server.exec("netstat -ltn | grep -c ':80 '")[1].strip() == "1")
    with engine.sandbox.socket("outside") as outside, engine.sandbox.socket("host") as local:
        for sock, address in ((outside, engine.address), (local, "127.0.0.1")):
            sock.settimeout(20)
            sock.connect((address, 8080))
            sock.sendall(b"one\n")
            assert sock.recv(100).startswith(b"one")
        engine.kill()
        outside.sendall(b"two\n")
        assert outside.recv(100).startswith(b"two")
        engine.start()
        for sock in (outside, local):
            sock.sendall(b"three\n")
            assert sock.recv(100).startswith(b"three")
    assert ask(engine, "outside", engine.address, 8080) == "hello"


def test_no_process_for_a_port(engine):
    # By their numbers: those of earlier tests may be on their way out.
    before = set(engine.sandbox.processes())
    echo(engine, [{"HostPort": "8080"}, {"HostPort": "8081"}, {"HostPort": "8082"}])
    if not engine.is_reference:
        wait_until(lambda: len(set(engine.sandbox.processes()) - before) == 2, what="the container and its parent alone")


def test_ipv6(engine):
    """On a network that has IPv6, with the host's IPv6 addresses."""
    engine.api.post("/networks/create", {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [
        {"Subnet": "10.202.6.0/24"}, {"Subnet": "fd00:202::/64"}]}}, expect=201)
    for pid, address in ((engine.sandbox.pid, "fd00:99::2/64"), (engine.sandbox.outside_pid, "fd00:99::1/64")):
        subprocess.run(["nsenter", "-t", str(pid), "-n", "ip", "addr", "replace", address, "dev", "eth0", "nodad"], check=True)
    serve = "exec nc -ll -p 80 -e echo open"
    container = engine.start_container(serve, network="six", ExposedPorts={"80/tcp": {}},
                                       host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    wait_until(lambda: container.exec("netstat -ltn | grep -c ':80 '")[1].strip() == "1")
    assert {binding["HostIp"] for binding in ports(container)} == {"0.0.0.0", "::"}
    fetch = ["timeout", "30", "bash", "-c", "cat < /dev/tcp/fd00:99::2/8080"]
    outside = ["nsenter", "-t", str(engine.sandbox.outside_pid), "-n", *fetch]
    assert subprocess.run(outside, capture_output=True, text=True).stdout.strip() == "open"
    assert engine.sandbox.run(fetch).stdout.strip() == "open"
