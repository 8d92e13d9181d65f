"""Published ports on the host's IPv6 addresses, of containers that have IPv4 alone, and on `::1` of all."""

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from harness.engine import wait_until
from harness.published import HOST, OUTSIDE, SUBNETS, answers, ask, carriers, echo, give_addresses, two_networks
from harness.sandbox import ENGINE_ADDRESS

SECOND = "fd00:99::22"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.fixture(autouse=True)
def networks(request):
    if "own_engine" in request.fixturenames:
        yield
        return
    engine = request.getfixturevalue("engine")
    give_addresses(engine.sandbox)
    with two_networks(engine):
        yield


def connected(engine, where, address, port, kind=TCP):
    sock = engine.sandbox.socket(where, kind, socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.settimeout(10)
    try:
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def cat(engine, bindings=({"HostPort": "8080"},), network="front", **options):
    container = engine.start_container(["probe", "cat", "80"], network=network, ExposedPorts={"80/tcp": {}},
                                       host={"PortBindings": {"80/tcp": list(bindings)}, **options})
    container.wait_log("listening")
    return container


def ports(container, key="80/tcp"):
    return container.inspect()["NetworkSettings"]["Ports"].get(key)


def addresses(container, key="80/tcp"):
    return {binding["HostIp"] for binding in ports(container, key)}


@pytest.mark.parametrize("kind, type", [("tcp", TCP), ("udp", UDP)])
def test_from_everywhere(engine, kind, type):
    server = echo(engine, [{"HostPort": "8080"}], kind)
    assert ports(server, f"80/{kind}") == [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    listed = engine.api.get("/containers/json").json[0]["Ports"]
    assert {(port["IP"], port["PublicPort"]) for port in listed} == {("0.0.0.0", 8080), ("::", 8080)}
    for where, address in (("host", "::1"), ("host", HOST), ("outside", HOST), ("host", "127.0.0.1"), ("outside", ENGINE_ADDRESS)):
        assert answers(engine, where, address, 8080, type), (where, address)
    # It is the host that asks.
    assert ask(engine, "outside", HOST, 8080, type) == "echo:hello from 10.202.1.1"


def test_certain_addresses(engine):
    server = echo(engine, [{"HostIp": "::1", "HostPort": "8080"}, {"HostIp": HOST, "HostPort": "8081"}, {"HostIp": "::", "HostPort": "8082"}])
    assert {(b["HostIp"], b["HostPort"]) for b in ports(server)} == {("::1", "8080"), (HOST, "8081"), ("::", "8082")}
    reached = {(where, address, port): answers(engine, where, address, port)
               for where, address, port in (("host", "::1", 8080), ("outside", HOST, 8080), ("host", "127.0.0.1", 8080),
                                            ("outside", HOST, 8081), ("host", "::1", 8081),
                                            ("outside", HOST, 8082), ("host", "::1", 8082), ("outside", ENGINE_ADDRESS, 8082))}
    assert {key for key, value in reached.items() if value} == {
        ("host", "::1", 8080), ("outside", HOST, 8081), ("outside", HOST, 8082), ("host", "::1", 8082)}


def test_any_port_is_the_same_one(engine):
    container = engine.create(["sleep", "1000"], network="front", ExposedPorts={"80/tcp": {}, "81/udp": {}}, host={"PublishAllPorts": True})
    container.start()
    for key in ("80/tcp", "81/udp"):
        found = ports(container, key)
        assert [binding["HostIp"] for binding in found] == ["0.0.0.0", "::"]
        # Docker 20.10 takes any of each family; newer ones agree.
        assert engine.is_reference or found[0]["HostPort"] == found[1]["HostPort"]


@pytest.mark.differs(reference="of each family another port may be taken; newer Docker agrees")
def test_a_range_goes_past_what_is_taken_in_one_family(engine):
    with engine.sandbox.socket("host", TCP, socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 9100))
        other.listen()
        server = echo(engine, [{"HostPort": "9100-9102"}])
        assert [(b["HostIp"], b["HostPort"]) for b in ports(server)] == [("0.0.0.0", "9101"), ("::", "9101")]
    second = echo(engine, [{"HostPort": "9100-9102"}])
    assert [(b["HostIp"], b["HostPort"]) for b in ports(second)] == [("0.0.0.0", "9100"), ("::", "9100")]


def test_a_port_of_another_program(engine):
    with engine.sandbox.socket("host", TCP, socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("::", 8080))
        other.listen()
        container = engine.create(["sleep", "1000"], network="front", ExposedPorts={"80/tcp": {}},
                                  host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
        message = container.start(expect=500).message
        assert message.startswith("driver failed programming external connectivity on endpoint") and "address already in use" in message
    container.start()
    assert addresses(container) == {"0.0.0.0", "::"}


def test_half_closed(engine):
    """The end of the question is heard, and the answer comes after it."""
    engine.start_container("exec nc -ll -p 80 -e sh -c 'cat >/dev/null; echo late'", network="front", ExposedPorts={"80/tcp": {}},
                           host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})

    def late():
        with connected(engine, "host", "::1", 8080) as sock:
            sock.sendall(b"question")
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(100)

    wait_until(lambda: late() == b"late\n")


def round_trip(engine, where, address, size, failures):
    try:
        data = os.urandom(size)
        with connected(engine, where, address, 8080) as sock:
            sock.settimeout(120)

            def send():
                try:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                except OSError as error:
                    failures.append(f"sending: {error}")

            sender = threading.Thread(target=send)
            sender.start()
            back, length = hashlib.sha256(), 0
            while chunk := sock.recv(1 << 18):
                back.update(chunk)
                length += len(chunk)
            sender.join()
        if back.digest() != hashlib.sha256(data).digest():
            failures.append(f"{length} of {size} bytes came back, or others")
    except OSError as error:
        failures.append(error)


def test_much_and_many(engine):
    cat(engine)
    failures = []
    round_trip(engine, "host", "::1", 50_000_000, failures)
    round_trip(engine, "outside", HOST, 50_000_000, failures)
    assert not failures
    threads = [threading.Thread(target=round_trip, args=(engine, ("host", "outside")[n % 2], HOST, 200_000, failures)) for n in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert engine.is_reference or len(carriers(engine)) == 1


def test_nobody_is_there(engine):
    """A connection to a closed port of the container ends."""
    engine.start_container("exec sleep 1000", network="front", ExposedPorts={"80/tcp": {}},
                           host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    with pytest.raises(OSError):
        with connected(engine, "host", "::1", 8080) as sock:
            if not sock.recv(10):
                raise ConnectionResetError
    assert not answers(engine, "host", "127.0.0.1", 8080)


def test_stop_and_restart(engine):
    server = cat(engine, RestartPolicy={"Name": "always"})
    with connected(engine, "host", "::1", 8080) as old:
        old.sendall(b"one\n")
        assert old.recv(10) == b"one\n"
        server.stop(t=0)
        assert old.recv(10) == b""
        assert not answers(engine, "host", "::1", 8080)
        # The port is everybody's. Old connections may linger, so it takes what servers do.
        with engine.sandbox.socket("host", TCP, socket.AF_INET6) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("::", 8080))
            other.listen()
    for _ in range(3):
        engine.api.post(f"/containers/{server.id}/restart", t=0, expect=204)
        wait_until(lambda: answers(engine, "host", "::1", 8080))
    server.remove(force=True)
    assert not answers(engine, "host", "::1", 8080)
    wait_until(lambda: carriers(engine) == [])


def test_last_words(engine):
    """What a container says at its end arrives."""
    server = engine.start_container("exec nc -l -p 80 -e sh -c 'read x; seq 100000'", network="front", ExposedPorts={"80/tcp": {}},
                                    host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    wait_until(lambda: server.exec("netstat -ltn | grep -c ':80 '")[1].strip() == "1")
    with connected(engine, "host", "::1", 8080) as sock:
        sock.sendall(b"go\n")
        said = b""
        while chunk := sock.recv(1 << 16):
            said += chunk
    assert said.endswith(b"100000\n") and said.count(b"\n") == 100_000
    server.wait()


def test_pause(engine):
    server = cat(engine)
    engine.api.post(f"/containers/{server.id}/pause", expect=204)
    with connected(engine, "host", "::1", 8080) as sock:
        sock.sendall(b"x")
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        engine.api.post(f"/containers/{server.id}/unpause", expect=204)
        sock.settimeout(30)
        assert sock.recv(1) == b"x"


def test_ports_move_with_the_networks(engine):
    """Connections to where the container still is go on; new ones go where the way out is."""
    server = cat(engine)

    def connect(network, verb):
        engine.api.post(f"/networks/{network}/{verb}", {"Container": server.id}, expect=200)

    with connected(engine, "host", "::1", 8080) as first:
        first.sendall(b"one")
        assert first.recv(10) == b"one"
        # By its name it becomes the way out.
        connect("back", "connect")
        assert answers(engine, "host", "::1", 8080)
        if not engine.is_reference:
            first.sendall(b"two")
            assert first.recv(10) == b"two"
        connect("front", "disconnect")
        if not engine.is_reference:
            assert first.recv(10) == b""
    wait_until(lambda: answers(engine, "host", "::1", 8080))
    assert addresses(server) == {"0.0.0.0", "::"}
    connect("back", "disconnect")
    assert not answers(engine, "host", "::1", 8080)
    assert not ports(server)
    connect("front", "connect")
    wait_until(lambda: answers(engine, "host", "::1", 8080))


def test_datagrams_are_refused_on_no_network(engine):
    """Who sends to a container that is nowhere is told so, also where the kernel would have led the way."""
    server = echo(engine, [{"HostPort": "8080"}], "udp")
    places = (("host", "::1"), ("outside", HOST), ("outside", ENGINE_ADDRESS), ("host", "127.0.0.1"))
    for network, verb in (("front", "disconnect"), ("back", "connect"), ("back", "disconnect"), ("front", "connect")):
        engine.api.post(f"/networks/{network}/{verb}", {"Container": server.id}, expect=200)
        for where, address in places:
            if verb == "connect":
                wait_until(lambda: answers(engine, where, address, 8080, UDP), what=f"{where} {address}")
            else:
                with pytest.raises(ConnectionRefusedError):
                    ask(engine, where, address, 8080, UDP)
        if verb == "disconnect" and not engine.is_reference:
            # The port is the container's all the same.
            with engine.sandbox.socket("host", UDP) as other, pytest.raises(OSError):
                other.bind(("0.0.0.0", 8080))


def test_a_network_with_ipv6(engine):
    """The kernel does it, but for `::1`; and ports go on when the container moves to a network without, and back."""
    engine.api.post("/networks/create", {"Name": "six", "EnableIPv6": True, "IPAM": {"Config": [
        {"Subnet": "10.202.6.0/24"}, {"Subnet": "fd00:202::/64"}]}}, expect=201)
    server = engine.start_container("nc -ll -p 80 -e cat", network="six", ExposedPorts={"80/tcp": {}},
                                    host={"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}})
    wait_until(lambda: server.exec("netstat -ltn | grep -c ':80 '")[1].strip() == "1")
    assert addresses(server) == {"0.0.0.0", "::"}
    assert answers(engine, "outside", HOST, 8080) and answers(engine, "host", HOST, 8080)
    wait_until(lambda: carriers(engine) == [])
    assert answers(engine, "host", "::1", 8080)
    for network, verb in (("front", "connect"), ("six", "disconnect"), ("six", "connect"), ("front", "disconnect")):
        engine.api.post(f"/networks/{network}/{verb}", {"Container": server.id}, expect=200)
        for where, address in (("host", "::1"), ("outside", HOST), ("outside", ENGINE_ADDRESS)):
            wait_until(lambda: answers(engine, where, address, 8080))


@pytest.mark.differs(reference="its proxy answers from the address that the kernel prefers")
def test_datagrams_come_from_the_address_that_was_asked(engine):
    echo(engine, [{"HostPort": "8080"}], "udp")
    engine.sandbox.run(["ip", "addr", "add", f"{SECOND}/64", "dev", "eth0", "nodad"])
    try:
        assert [answers(engine, "outside", address, 8080, UDP) for address in (HOST, SECOND)] == [True, True]
    finally:
        engine.sandbox.run(["ip", "addr", "delete", f"{SECOND}/64", "dev", "eth0"])


def test_the_hosts_firewall_decides(engine):
    echo(engine, [{"HostPort": "8080"}, {"HostPort": "8081"}])
    assert answers(engine, "outside", HOST, 8080)
    engine.sandbox.run(["nft", "add table inet mine; add chain inet mine input { type filter hook input priority 0; };"
                        "add rule inet mine input tcp dport 8080 drop"])
    try:
        assert not answers(engine, "outside", HOST, 8080) and answers(engine, "outside", HOST, 8081)
    finally:
        engine.sandbox.run(["nft", "delete table inet mine"])
    assert answers(engine, "outside", HOST, 8080)


@pytest.mark.differs(reference="it has other chains, which do not see this")
def test_the_chain_for_users_sees_it(engine):
    echo(engine, [{"HostPort": "8080"}, {"HostPort": "8081"}, {"HostIp": HOST, "HostPort": "8082"}])
    table = next(line.split()[2] for line in engine.sandbox.ruleset() if line.startswith("table inet gantry"))
    for port in (8080, 8082):
        engine.sandbox.run(["nft", f"add rule inet {table} gantry-user ip6 saddr {OUTSIDE} meta l4proto tcp ct original proto-dst {port} drop"])
    try:
        assert [answers(engine, "outside", HOST, port) for port in (8080, 8081, 8082)] == [False, True, False]
        assert answers(engine, "host", "::1", 8080)
    finally:
        engine.sandbox.run(["nft", f"flush chain inet {table} gantry-user"])


@pytest.mark.differs(reference="it answers at the gateway's address")
def test_internal_is_internal(engine):
    engine.api.post("/networks/create", {"Name": "inside", "Internal": True, "EnableIPv6": True, "IPAM": {"Config": [
        {"Subnet": "10.202.7.0/24"}, {"Subnet": "fd00:207::/64", "Gateway": "fd00:207::1"}]}}, expect=201)
    cat(engine, [{"HostPort": "8080"}, {"HostIp": "fd00:207::1", "HostPort": "8081"}])
    assert answers(engine, "host", "fd00:207::1", 8080) and answers(engine, "host", "fd00:207::1", 8081)
    for port in (8080, 8081):
        assert engine.output(f"echo hi | nc -w 2 fd00:207::1 {port} 2>&1; true", network="inside").strip() != "hi"


@pytest.mark.differs(reference="the containers end with the daemon, unless it was told to leave them alone")
def test_the_daemon_is_not_needed(own_engine):
    engine = own_engine()
    give_addresses(engine.sandbox)
    engine.api.post("/networks/create", {"Name": "front", "IPAM": {"Config": [{"Subnet": SUBNETS["front"]}]}}, expect=201)
    server = cat(engine, network="bridge")
    with connected(engine, "outside", HOST, 8080) as outside, connected(engine, "host", "::1", 8080) as local:
        for sock in (outside, local):
            sock.sendall(b"one")
            assert sock.recv(10) == b"one"
        engine.kill()
        outside.sendall(b"two")
        assert outside.recv(10) == b"two"
        assert ask(engine, "host", "::1", 8080) == "hello"
        engine.start()
        for sock in (outside, local):
            sock.sendall(b"three")
            assert sock.recv(10) == b"three"
    assert ask(engine, "host", "::1", 8080) == "hello"
    # The next daemon knows what the last one has begun.
    assert addresses(server) == {"0.0.0.0", "::"}
    engine.api.post("/networks/front/connect", {"Container": server.id}, expect=200)
    engine.kill()
    engine.start()
    engine.api.post("/networks/bridge/disconnect", {"Container": server.id}, expect=200)
    wait_until(lambda: answers(engine, "host", "::1", 8080))
    server.remove(force=True)
    wait_until(lambda: carriers(engine) == [])


@pytest.mark.differs(reference="it has a process for each port, which nobody starts again")
def test_whoever_carries_may_be_killed(engine):
    before = set(engine.sandbox.processes())
    server = cat(engine, [{"HostPort": "8080"}, {"HostPort": "8081"}])
    wait_until(lambda: len(set(engine.sandbox.processes()) - before) == 2, what="the container and its parent alone")
    for _ in range(3):
        with connected(engine, "host", "::1", 8080) as sock:
            sock.sendall(b"x")
            assert sock.recv(10) == b"x"
            (pid,) = carriers(engine)
            os.kill(pid, 9)
            with pytest.raises(ConnectionResetError):
                if not sock.recv(10):
                    raise ConnectionResetError
        assert ask(engine, "host", "::1", 8081) == "hello"
    (pid,) = carriers(engine)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["CapEff"].strip() == "0" * 16 and status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert server.inspect()["State"]["Running"]
    server.kill()
    server.wait()
    wait_until(lambda: carriers(engine) == [])


@pytest.mark.differs(reference="its proxies are the daemon's children")
def test_the_parent_takes_it_along(engine):
    """A shim that is killed leaves nobody at its ports."""
    server = cat(engine)
    assert answers(engine, "host", "::1", 8080)
    (pid,) = carriers(engine)
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    os.kill(int(status["PPid"]), 9)
    wait_until(lambda: carriers(engine) == [])
    wait_until(lambda: not server.inspect()["State"]["Running"])
    server.start()
    wait_until(lambda: answers(engine, "host", "::1", 8080))


def test_without_the_proxy(own_engine):
    engine = own_engine("--userland-proxy=false")
    server = cat(engine, network="bridge")
    assert addresses(server) == {"0.0.0.0"}
    assert not answers(engine, "host", "::1", 8080) and answers(engine, "host", "127.0.0.1", 8080)


def test_a_default_address(own_engine):
    engine = own_engine("--ip", "127.0.0.1")
    engine.api.post("/networks/create", {"Name": "local", "Options": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.2"}}, expect=201)
    first, second = cat(engine, network="bridge"), cat(engine, [{"HostPort": "8081"}], network="local")
    assert (addresses(first), addresses(second)) == ({"127.0.0.1"}, {"127.0.0.2"})
    assert not answers(engine, "host", "::1", 8080) and answers(engine, "host", "127.0.0.1", 8080)


def test_a_host_without_ipv6(own_engine):
    engine = own_engine(prepare=lambda engine: engine.sandbox.run(["sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1"]))
    server = cat(engine, network="bridge")
    assert addresses(server) == {"0.0.0.0"}
    assert answers(engine, "host", "127.0.0.1", 8080)
