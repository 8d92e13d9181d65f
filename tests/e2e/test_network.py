"""The default bridge: addresses, reachability, published ports from everywhere, and what a failed start leaves."""

import socket
import threading

import pytest

from harness.engine import wait_until
from harness.published import ask


def refused(engine, where, address, port):
    """Whether nobody answers there."""
    with engine.sandbox.socket(where) as sock:
        sock.settimeout(2)
        try:
            sock.connect((address, port))
            # A user-land proxy accepts before it knows that nobody is behind it.
            sock.sendall(b"x")
            return sock.recv(100) == b""
        except OSError:
            return True


def echo(engine, port=80, kind="tcp", network="bridge", **options):
    container = engine.start_container(["probe", "echo", kind, str(port)], network=network, **options)
    container.wait_log("listening")
    return container


def published(engine, bindings, kind="tcp", port=80, **host):
    key = f"{port}/{kind}"
    return echo(engine, port, kind, ExposedPorts={key: {}}, host={"PortBindings": {key: bindings}, **host})


def ports(container):
    return container.inspect()["NetworkSettings"]["Ports"]


@pytest.fixture(autouse=True)
def stop_at_the_end(engine):
    yield
    for container in engine.api.get("/containers/json").json:
        engine.api.post(f"/containers/{container['Id']}/kill")


def test_addresses(engine):
    first, second = echo(engine), echo(engine)
    settings = first.inspect()["NetworkSettings"]
    bridge = settings["Networks"]["bridge"]
    assert settings["IPAddress"] == bridge["IPAddress"] and bridge["IPAddress"].startswith("172.17.0.")
    assert bridge["Gateway"] == settings["Gateway"] == "172.17.0.1" and bridge["IPPrefixLen"] == 16
    assert bridge["MacAddress"].startswith("02:42:ac:11:") or not engine.is_reference
    assert first.ip != second.ip
    text = first.exec(["ip", "addr", "show", "eth0"])[1]
    assert f"inet {first.ip}/16" in text and bridge["MacAddress"] in text and "mtu 1500" in text
    assert "default via 172.17.0.1 dev eth0" in first.exec(["ip", "route"])[1]
    assert bridge["NetworkID"] == engine.api.get("/networks/bridge", expect=200).json["Id"]
    assert first.id in engine.api.get("/networks/bridge").json["Containers"]


def test_addresses_are_given_back(engine):
    first = echo(engine)
    address = first.ip
    first.kill()
    first.wait()
    assert first.inspect()["NetworkSettings"]["IPAddress"] == ""
    assert echo(engine).ip.startswith("172.17.0.")
    assert address


def test_container_to_container(engine):
    server, client = echo(engine), engine.start_container(network="bridge")
    out = client.exec(f"echo hi | nc {server.ip} 80")[1]
    assert out == f"echo:hi\n from {client.ip}"


def test_container_to_the_world(engine):
    """With the engine's address: masqueraded."""
    got = []
    with engine.sandbox.socket("outside") as listener:
        listener.bind((engine.outside_address, 7000))
        listener.listen(1)

        def serve():
            sock, peer = listener.accept()
            got.append(peer[0])
            sock.sendall(b"world\n")
            sock.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert engine.output(f"nc {engine.outside_address} 7000 < /dev/null", network="bridge") == "world\n"
        thread.join()
    assert got == [engine.address]


def test_host_to_container(engine):
    server = echo(engine)
    assert ask(engine, "host", server.ip, 80).startswith("echo:hello")


def test_container_to_host(engine):
    with engine.sandbox.socket("host") as listener:
        listener.bind(("172.17.0.1", 0))
        listener.listen(1)
        client = engine.start_container(f"echo x | nc 172.17.0.1 {listener.getsockname()[1]}", network="bridge")
        sock, _ = listener.accept()
        assert sock.recv(10) == b"x\n"
        sock.close()
        client.wait()


@pytest.mark.parametrize("where, address", [("outside", None), ("host", None), ("host", "127.0.0.1"), ("host", "172.17.0.1")])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_published(engine, kind, where, address):
    published(engine, [{"HostPort": "8080"}], kind)
    protocol = socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM
    assert ask(engine, where, address or engine.address, 8080, kind=protocol).startswith("echo:hello")


def test_published_from_another_container(engine):
    published(engine, [{"HostPort": "8080"}])
    out = engine.output(f"echo hi | nc {engine.address} 8080", network="bridge")
    assert out.startswith("echo:hi")


def test_published_from_itself(engine):
    """Hairpin: a container that uses its own published port."""
    server = published(engine, [{"HostPort": "8080"}])
    assert server.exec(f"echo hi | nc {engine.address} 8080")[1].startswith("echo:hi")


def test_the_source_address_from_outside_is_kept(engine):
    published(engine, [{"HostPort": "8080"}])
    assert ask(engine, "outside", engine.address, 8080) == f"echo:hello from {engine.outside_address}"


def test_one_host_address(engine):
    published(engine, [{"HostIp": "127.0.0.1", "HostPort": "8080"}])
    assert ask(engine, "host", "127.0.0.1", 8080).startswith("echo:")
    assert refused(engine, "outside", engine.address, 8080)
    assert refused(engine, "host", engine.address, 8080)


def test_loopback_publication_is_not_reachable_by_route(engine):
    """Another machine that routes 127.0.0.1 or the container's address to us gets nowhere it should not."""
    server = published(engine, [{"HostIp": "127.0.0.1", "HostPort": "8080"}])
    import subprocess
    subprocess.run(["nsenter", "-t", str(engine.sandbox.outside_pid), "-n", "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"], check=True)
    route = ["nsenter", "-t", str(engine.sandbox.outside_pid), "-n", "ip", "route"]
    subprocess.run([*route, "add", "172.17.0.0/16", "via", engine.address], check=True)
    try:
        assert engine.is_reference or refused(engine, "outside", server.ip, 80)
    finally:
        subprocess.run([*route, "del", "172.17.0.0/16"], check=True)


def test_ephemeral_port(engine):
    container = published(engine, [{"HostPort": ""}])
    bindings = ports(container)["80/tcp"]
    number = int(bindings[0]["HostPort"])
    assert number >= 32768 and {b["HostPort"] for b in bindings} == {str(number)}
    assert ask(engine, "outside", engine.address, number).startswith("echo:")
    assert container.inspect()["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": ""}]}


def test_publish_all(engine):
    container = echo(engine, ExposedPorts={"80/tcp": {}, "81/udp": {}}, host={"PublishAllPorts": True})
    found = ports(container)
    assert set(found) == {"80/tcp", "81/udp"}
    assert ask(engine, "outside", engine.address, int(found["80/tcp"][0]["HostPort"])).startswith("echo:")


def test_a_binding_of_a_port_that_is_not_exposed(engine):
    """It is kept and means nothing, until Docker 29; clients expose what they publish."""
    bindings = {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "81/tcp": [{"HostIp": "", "HostPort": "8081"}]}
    container = echo(engine, ExposedPorts={"81/tcp": {}}, host={"PortBindings": bindings})
    assert set(ports(container)) == {"81/tcp"} and container.inspect()["HostConfig"]["PortBindings"] == bindings
    assert refused(engine, "outside", engine.address, 8080)
    (listed,) = engine.api.get("/containers/json", filters={"id": [container.id]}, expect=200).json
    assert {port["PrivatePort"] for port in listed["Ports"]} == {81}
    assert engine.create(network="bridge", host={"PortBindings": bindings}).start()


def test_range(engine):
    """A free port of a range is taken."""
    first = published(engine, [{"HostPort": "9000-9002"}])
    second = published(engine, [{"HostPort": "9000-9002"}])
    taken = {ports(c)["80/tcp"][0]["HostPort"] for c in (first, second)}
    assert len(taken) == 2 and taken <= {"9000", "9001", "9002"}
    for port in taken:
        assert ask(engine, "outside", engine.address, int(port)).startswith("echo:")


def test_several_bindings(engine):
    published(engine, [{"HostPort": "8080"}, {"HostPort": "8081"}])
    assert ask(engine, "outside", engine.address, 8080) and ask(engine, "outside", engine.address, 8081)


def test_ports_end_with_the_container(engine):
    container = published(engine, [{"HostPort": "8080"}])
    assert ask(engine, "outside", engine.address, 8080)
    container.kill()
    container.wait()
    wait_until(lambda: refused(engine, "outside", engine.address, 8080))
    assert ports(container) == {}
    container.start()
    container.wait_log("listening")
    wait_until(lambda: not refused(engine, "outside", engine.address, 8080))


def test_conflict_leaves_nothing(engine):
    first = published(engine, [{"HostPort": "8080"}])
    links, rules, mounts, cgroups = engine.sandbox.links(), engine.sandbox.ruleset(), engine.sandbox.mounts(), engine.sandbox.cgroups()
    addresses = engine.api.get("/networks/bridge").json["Containers"]
    second = engine.create(["sleep", "1000"], network="bridge", ExposedPorts={"80/tcp": {}, "81/tcp": {}}, host={
        "PortBindings": {"81/tcp": [{"HostPort": "8081"}], "80/tcp": [{"HostPort": "8080"}]}})
    message = second.start(expect=500).message
    assert "driver failed programming external connectivity on endpoint" in message
    assert "8080 failed: port is already allocated" in message
    assert second.state["Status"] == "created" and second.state["Error"] != ""
    # The kernel may only now take away what earlier tests have left.
    assert set(engine.sandbox.links()) <= set(links)
    assert sorted(engine.sandbox.ruleset()) == sorted(rules)
    assert set(engine.sandbox.mounts()) <= set(mounts)
    wait_until(lambda: set(engine.sandbox.cgroups()) <= set(cgroups), what="the cgroups as they were")
    assert engine.api.get("/networks/bridge").json["Containers"] == addresses
    first.kill()
    first.wait()
    second.start()


def test_conflict_with_a_program_of_the_host(engine):
    with engine.sandbox.socket("host") as listener:
        listener.bind(("0.0.0.0", 8877))
        listener.listen(1)
        container = engine.create(network="bridge", ExposedPorts={"80/tcp": {}}, host={"PortBindings": {"80/tcp": [{"HostPort": "8877"}]}})
        message = container.start(expect=500).message
        assert "8877" in message and "address already in use" in message
    assert container.state["Status"] == "created"


def test_rules_go_with_the_container(engine):
    """What firewall and interfaces looked like before is what they look like after."""
    warm = published(engine, [{"HostPort": "8079"}])
    warm.remove(force=True)
    # Links of containers that are gone may still be on their way out: only this one's own is looked at.
    before, rules = set(engine.sandbox.links()), engine.sandbox.ruleset()
    container = published(engine, [{"HostPort": "8080"}])
    own = set(engine.sandbox.links()) - before
    assert own and engine.sandbox.ruleset() != rules
    container.remove(force=True)
    wait_until(lambda: not own & set(engine.sandbox.links()))
    wait_until(lambda: sorted(engine.sandbox.ruleset()) == sorted(rules))


def test_expose_alone_publishes_nothing(engine):
    container = echo(engine, ExposedPorts={"80/tcp": {}})
    assert ports(container) == {"80/tcp": None}


def test_mac_address(engine):
    container = echo(engine, MacAddress="02:42:ac:11:00:99")
    assert "02:42:ac:11:00:99" in container.exec(["ip", "link", "show", "eth0"])[1]


def test_no_network_to_none(engine):
    container = engine.start_container()
    assert set(container.inspect()["NetworkSettings"]["Networks"]) == {"none"}
    assert container.exec(f"nc -w 1 {engine.address} 1 < /dev/null")[0] != 0


def test_host_network_shares_ports(engine):
    echo(engine, 8085, network="host")
    assert ask(engine, "outside", engine.address, 8085).startswith("echo:")


def linked(engine, *links, name=None, cmd=("sleep", "1000"), **options):
    return engine.start_container(cmd, network="bridge", name=name, host={"Links": list(links)}, **options)


def test_links(engine):
    """The old way to names on the default bridge."""
    ports = {"80/tcp": {}, "53/udp": {}, "90/tcp": {}, "91/tcp": {}, "92/tcp": {}}
    server = engine.start_container(name="link-server", network="bridge", Hostname="served", ExposedPorts=ports,
                                    Env=["SECRET=1", "PATH=/bin:/usr/bin", "EMPTY="])
    client = linked(engine, "link-server:data-base", name="link-client", Env=["DATA_BASE_ENV_SECRET=mine"])
    assert f"{server.ip}\tdata-base served link-server\n" in client.exec(["cat", "/etc/hosts"])[1]
    expected = {"NAME": "/link-client/data-base", "ENV_EMPTY": "", "ENV_SECRET": "mine", "PORT": f"udp://{server.ip}:53",
                "PORT_90_TCP_START": f"tcp://{server.ip}:90", "PORT_90_TCP_PORT_START": "90",
                "PORT_90_TCP_END": f"tcp://{server.ip}:92", "PORT_90_TCP_PORT_END": "92"}
    for port, proto in ((80, "tcp"), (53, "udp"), (90, "tcp"), (91, "tcp"), (92, "tcp")):
        stem = f"PORT_{port}_{proto.upper()}"
        expected |= {stem: f"{proto}://{server.ip}:{port}", f"{stem}_ADDR": server.ip, f"{stem}_PORT": str(port),
                     f"{stem}_PROTO": proto}
    found = dict(line.split("=", 1) for line in client.exec(["env"])[1].splitlines())
    assert {key: value for key, value in found.items() if key.startswith("DATA_BASE_")} == {
        f"DATA_BASE_{key}": value for key, value in expected.items()}
    assert client.inspect()["HostConfig"]["Links"] == ["/link-server:/link-client/data-base"]
    names = {tuple(sorted(c["Names"])) for c in engine.api.get("/containers/json").json}
    assert names == {("/link-client",), ("/link-client/data-base", "/link-server")}
    assert engine.api.get("/containers/link-client/data-base/json", expect=200).json["Id"] == server.id
    assert client.exec("ping -c 1 -w 30 data-base || nc -z data-base 1 || true")[0] == 0


def test_link_without_an_alias(engine):
    server = engine.start_container(name="link-server", network="bridge", Hostname="served")
    client = linked(engine, "link-server")
    assert f"{server.ip}\tlink-server served\n" in client.exec(["cat", "/etc/hosts"])[1]


def test_links_follow_names(engine):
    engine.start_container(name="link-server", network="bridge")
    client = linked(engine, "link-server:db", name="link-client")
    engine.api.post("/containers/link-server/rename", name="other-name", expect=204)
    engine.api.post("/containers/link-client/rename", name="other-client", expect=204)
    assert client.inspect()["HostConfig"]["Links"] == ["/other-name:/other-client/db"]


def test_links_follow_the_address(engine):
    server = engine.start_container(name="link-server", network="bridge")
    client = linked(engine, "link-server:db")
    before = server.ip
    server.stop(t=0)
    engine.start_container(network="bridge")
    thief = engine.start_container(network="bridge")
    server.start()
    if before == server.ip:
        thief.remove(force=True)
    assert f"{server.ip}\tdb " in client.exec(["cat", "/etc/hosts"])[1]


def test_link_is_removed(engine):
    server = engine.start_container(name="link-server", network="bridge")
    client = linked(engine, "link-server:a", "link-server:b", name="link-client")
    engine.api.delete("/containers/link-client/a", link=True, expect=204)
    assert client.inspect()["HostConfig"]["Links"] == ["/link-server:/link-client/b"]
    hosts = client.exec(["cat", "/etc/hosts"])[1]
    assert f"{server.ip}\tb " in hosts and f"{server.ip}\ta " not in hosts
    assert engine.api.delete("/containers/link-client/a", link=True, expect=404).message == "No such container: link-client/a"
    answer = engine.api.delete("/containers/link-client", link=True)
    assert answer.status in (409, 500) and "cannot remove the default link name" in answer.message
    if not engine.is_reference:  # 20.10 goes on showing it.
        server.remove(force=True)
        assert client.inspect()["HostConfig"]["Links"] is None


def test_link_to_what_does_not_run(engine):
    engine.create(name="link-server", network="bridge")
    client = engine.create(name="link-client", network="bridge", host={"Links": ["link-server:db"]})
    answer = client.start(expect=500)
    assert "Cannot link to a non running container: /link-server AS /link-client/db" in answer.message


@pytest.mark.parametrize("link, message", [
    ("nope:x", "could not get container for nope: No such container: nope"),
    ("a:b:c", "bad format for links: a:b:c"),
    ("", "empty string specified for links"),
])
def test_bad_links(engine, link, message):
    answer = engine.api.post("/containers/create", {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"Links": [link]}})
    assert answer.status in (400, 500) and message in answer.message


def test_links_and_other_networks(engine):
    server = engine.start_container(network="bridge")
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"NetworkMode": "host", "Links": [f"{server.id}:db"]}}
    assert "host type networking can't be used with links" in engine.api.post("/containers/create", body, expect=400).message


@pytest.mark.differs(reference="its containers end with the daemon")
def test_links_over_a_restart_of_the_engine(own_engine):
    engine = own_engine()
    server = engine.start_container(name="link-server", network="bridge")
    client = linked(engine, "link-server:db", name="link-client")
    engine.kill()
    engine.start()
    assert client.inspect()["HostConfig"]["Links"] == ["/link-server:/link-client/db"]
    server.stop(t=0)
    server.start()
    assert f"{server.ip}\tdb " in client.exec(["cat", "/etc/hosts"])[1]


def test_networks_list(engine):
    found = {n["Name"]: n for n in engine.api.get("/networks", expect=200).json}
    assert {"bridge", "host", "none"} <= set(found)
    assert found["bridge"]["Driver"] == "bridge" and found["host"]["Driver"] == "host" and found["none"]["Driver"] == "null"
    assert found["bridge"]["IPAM"]["Config"][0]["Subnet"] == "172.17.0.0/16"
    assert found["bridge"]["Options"]["com.docker.network.bridge.name"]
    assert engine.api.get("/networks/nope", expect=404).message == "network nope not found"


def test_unknown_network(engine):
    container = engine.api.post("/containers/create", {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": {"NetworkMode": "no-such-net"}})
    answer = container if container.status != 201 else engine.api.post(f"/containers/{container.json['Id']}/start")
    assert answer.status == 404 and "network no-such-net not found" in answer.message
