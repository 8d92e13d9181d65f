"""Containers on networks: connect and disconnect, fixed addresses, names, the way out, ports that follow it."""

import socket

import pytest

from harness.engine import wait_until
from harness.http import Client

MISTAKE = (400, 403, 404, 409, 500)
gantry_only = pytest.mark.differs(reference="newer Docker has it (1.44 to 1.49), 20.10 has not")


def pool(engine, name, subnet, **more):
    config = {"Subnet": subnet, **more.pop("pool", {})}
    return engine.network(name, IPAM={"Config": [config]}, **more)


def newest(engine):
    return Client(engine.socket, "1.41" if engine.is_reference else "1.51", engine.recorder)


def address(container, network):
    return container.networks[network]["IPAddress"]


def route(container):
    """Interface and gateway of the default route."""
    lines = container.exec(["ip", "route"])[1].splitlines()
    words = next((line.split() for line in lines if line.startswith("default")), None)
    return words and (words[4], words[2])


def listening(engine, port=80, network="bridge", kind="tcp", **options):
    container = engine.start_container(["probe", "echo", kind, str(port)], network=network, **options)
    container.wait_log("listening")
    return container


def answers(engine, address, port, where="outside"):
    with engine.sandbox.socket(where) as sock:
        sock.settimeout(20)
        try:
            sock.connect((address, port))
            sock.sendall(b"hi")
            return sock.recv(100).startswith(b"echo:hi")
        except OSError:
            return False


def test_a_container_on_a_network(engine):
    id = engine.network("home")
    container = engine.start_container(network="home", name="tenant", Hostname="hh", Domainname="dd.x")
    settings = container.inspect()["NetworkSettings"]
    end = settings["Networks"]["home"]
    assert end["NetworkID"] == id and len(end["EndpointID"]) == 64 and end["Gateway"].endswith(".0.1")
    assert settings["SandboxID"] and settings["SandboxKey"]
    # The deprecated copy is the default bridge's alone.
    assert (settings["IPAddress"], settings["EndpointID"], settings["Gateway"]) == ("", "", "")
    assert container.inspect()["HostConfig"]["NetworkMode"] == "home"
    assert set(end["Aliases"]) == {container.id[:12], "hh"}
    hosts = container.exec(["cat", "/etc/hosts"])[1].splitlines()
    assert hosts[-1] == f"{end['IPAddress']}\thh.dd.x hh"
    conf = container.exec(["cat", "/etc/resolv.conf"])[1].splitlines()
    assert "nameserver 127.0.0.11" in conf and "options ndots:0" in conf
    assert route(container) == ("eth0", end["Gateway"])


def test_by_id_and_by_prefix(engine):
    id = engine.network("home")
    for mode in (id, id[:12]):
        container = engine.start_container(network=mode)
        assert set(container.networks) == {"home"} and container.inspect()["HostConfig"]["NetworkMode"] == mode


def test_members_reach_each_other(engine):
    engine.network("home")
    server = listening(engine, network="home")
    client = engine.start_container(network="home")
    assert client.exec(f"echo hi | nc {address(server, 'home')} 80")[1].startswith("echo:hi")


def test_connect_and_disconnect_of_a_running_container(engine):
    engine.network("one")
    pool(engine, "two", "10.77.0.0/24")
    container = engine.start_container(network="one", name="mover", Hostname="hh")
    container.connect("two", Aliases=["al1", "al2"], IPAMConfig={"IPv4Address": "10.77.0.9"})
    end = container.networks["two"]
    assert end["IPAddress"] == "10.77.0.9" and end["IPAMConfig"] == {"IPv4Address": "10.77.0.9"}
    assert end["Aliases"] == ["al1", "al2", container.id[:12], "hh"]
    text = container.exec(["ip", "-o", "addr"])[1]
    assert "eth1" in text and "10.77.0.9/24" in text
    assert "10.77.0.9\thh" in container.exec(["cat", "/etc/hosts"])[1]
    assert container.exec("ping -c 1 -w 30 10.77.0.1")[0] == 0
    assert container.id in engine.api.get("/networks/two").json["Containers"]
    container.disconnect("two")
    assert "two" not in container.networks and "eth1" not in container.exec(["ip", "-o", "link"])[1]
    assert container.id not in engine.api.get("/networks/two").json["Containers"]
    engine.api.delete("/networks/two", expect=204)
    if not engine.is_reference:
        assert "10.77.0.9" not in container.exec(["cat", "/etc/hosts"])[1]


def test_the_last_network_and_back(engine):
    engine.network("one")
    container = engine.start_container(network="one")
    container.disconnect("one")
    assert container.networks == {} and route(container) is None
    assert "eth" not in container.exec(["ip", "-o", "link"])[1]
    container.connect("one")
    assert set(container.networks) == {"one"} and route(container) is not None
    container.stop(t=0)
    container.disconnect("one")
    container.start()
    assert container.networks == {} and route(container) is None
    container.connect("one")
    assert route(container) is not None


def test_from_the_default_bridge(engine):
    engine.network("one")
    container = engine.start_container(network="bridge")
    assert "127.0.0.11" not in container.exec(["cat", "/etc/resolv.conf"])[1]
    container.connect("one")
    assert "nameserver 127.0.0.11" in container.exec(["cat", "/etc/resolv.conf"])[1]
    # `bridge` comes before `one`.
    assert route(container) == ("eth0", "172.17.0.1")
    container.disconnect("bridge")
    assert set(container.networks) == {"one"} and container.ip == ""
    assert route(container)[0] == "eth1"
    container.stop(t=0)
    container.start()
    assert set(container.networks) == {"one"} and route(container)[0] == "eth0"


def test_the_way_out_follows_the_names(engine):
    pool(engine, "bbb", "10.77.0.0/24")
    pool(engine, "aaa", "10.78.0.0/24")
    engine.network("inner", Internal=True)
    container = engine.start_container(network="inner")
    # 20.10 has a way out here that leads nowhere.
    assert engine.is_reference or route(container) is None
    container.connect("bbb")
    assert route(container)[1] == "10.77.0.1"
    container.connect("aaa")
    assert route(container)[1] == "10.78.0.1"
    container.disconnect("aaa")
    assert route(container)[1] == "10.77.0.1"
    container.connect("aaa")
    container.stop(t=0)
    container.start()
    assert route(container)[1] == "10.78.0.1"
    container.disconnect("aaa")
    container.disconnect("bbb")
    assert engine.is_reference or route(container) is None


@gantry_only
def test_gateway_priority(engine):
    pool(engine, "aaa", "10.77.0.0/24")
    pool(engine, "bbb", "10.78.0.0/24")
    container = engine.start_container(network="aaa")
    container.connect("bbb", api=newest(engine), GwPriority=5)
    assert route(container)[1] == "10.78.0.1"
    assert newest(engine).get(f"{container.path}/json").json["NetworkSettings"]["Networks"]["bbb"]["GwPriority"] == 5
    container.stop(t=0)
    container.start()
    assert route(container)[1] == "10.78.0.1"


@gantry_only
def test_several_networks_at_creation(engine):
    pool(engine, "aaa", "10.77.0.0/24")
    pool(engine, "bbb", "10.78.0.0/24")
    container = engine.create(["sleep", "1000"], api=newest(engine), network="bbb", NetworkingConfig={"EndpointsConfig": {
        "aaa": {"IPAMConfig": {"IPv4Address": "10.77.0.33"}, "Aliases": ["x"], "MacAddress": "02:11:22:33:44:55",
                "DriverOpts": {"com.docker.network.endpoint.ifname": "lan0",
                               "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1"}},
        "bbb": {}}})
    container.start()
    assert set(container.networks) == {"aaa", "bbb"}
    end = container.networks["aaa"]
    assert end["IPAddress"] == "10.77.0.33" and end["MacAddress"] == "02:11:22:33:44:55"
    text = container.exec(["ip", "-o", "addr"])[1]
    assert "lan0    inet 10.77.0.33/24" in text and "eth0    inet 10.78.0." in text
    assert container.exec(["cat", "/proc/sys/net/ipv4/conf/lan0/log_martians"])[1] == "1\n"


def test_several_networks_at_creation_before_1_44(engine):
    engine.network("aaa")
    engine.network("bbb")
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "NetworkingConfig": {"EndpointsConfig": {"aaa": {}, "bbb": {}}}}
    message = engine.api.post("/containers/create", body, expect=400).message
    assert message.startswith("Container cannot be connected to network endpoints: ")


def test_one_network_beside_the_mode(engine):
    """What old clients do with `--network x --ip ...`."""
    pool(engine, "aaa", "10.77.0.0/24")
    container = engine.start_container(network="aaa", NetworkingConfig={"EndpointsConfig": {"aaa": {
        "IPAMConfig": {"IPv4Address": "10.77.0.40"}, "Aliases": ["friend"]}}})
    assert address(container, "aaa") == "10.77.0.40" and "friend" in container.networks["aaa"]["Aliases"]


def test_settings_for_one_network_alone(engine):
    """Without a mode they are what the container joins, and the default bridge is not."""
    engine.network("aaa")
    body = {"Image": "busybox:e2e", "Cmd": ["sleep", "1000"], "NetworkingConfig": {"EndpointsConfig": {"aaa": {}}}}
    id = engine.api.post("/containers/create", body, expect=201).json["Id"]
    engine.api.post(f"/containers/{id}/start", expect=204)
    assert set(engine.api.get(f"/containers/{id}/json").json["NetworkSettings"]["Networks"]) == {"aaa"}


def test_network_disabled(engine):
    container = engine.start_container(network="bridge", NetworkDisabled=True)
    assert "eth0" not in container.exec(["ip", "-o", "link"])[1]


@gantry_only
def test_dns_names(engine):
    engine.network("home")
    container = engine.start_container(network="home", name="named", Hostname="hh")
    api = newest(engine)
    container.connect("bridge")
    found = api.get(f"{container.path}/json", expect=200).json["NetworkSettings"]["Networks"]
    assert found["home"]["DNSNames"] == ["named", container.id[:12], "hh"] and found["home"]["Aliases"] is None
    assert found["bridge"]["DNSNames"] is None
    api.post(f"{container.path}/rename", name="renamed", expect=204)
    assert api.get(f"{container.path}/json").json["NetworkSettings"]["Networks"]["home"]["DNSNames"][0] == "renamed"


@pytest.mark.parametrize("network, endpoint, statuses, message", [
    ("nope", {}, (404,), "network nope not found"),
    ("host", {}, (400,), "container cannot be disconnected from host network or connected to host network"),
    ("none", {}, (400,), "container cannot be connected to multiple networks with one of the networks in private (none) mode"),
    ("here", {}, (403,), "endpoint with name mover already exists in network here"),
    ("settings", {}, (403,), "cannot create endpoint on configuration-only network"),
    ("fixed", {"IPAMConfig": {"IPv4Address": "10.99.9.9"}}, (400, 500), "10.99.9.9"),
    ("fixed", {"IPAMConfig": {"IPv4Address": "x"}}, (400, 500), "IPv4 address: x"),
    ("fixed", {"IPAMConfig": {"IPv4Address": "10.77.0.1"}}, (403,), "Address already in use"),
    ("auto", {"IPAMConfig": {"IPv4Address": "172.30.0.9"}}, (400,),
     "user specified IP address is supported only when connecting to networks with user configured subnets"),
    ("bridge", {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}, (400,), "user specified IP address is supported on user defined networks only"),
    ("bridge", {"Aliases": ["x"]}, (400,), "network-scoped alias is supported only for containers in user defined networks"),
])
def test_mistakes_of_connect(engine, network, endpoint, statuses, message):
    engine.network("here")
    engine.network("auto")
    engine.network("settings", ConfigOnly=True)
    pool(engine, "fixed", "10.77.0.0/24")
    container = engine.start_container(network="here", name="mover")
    answer = container.connect(network, expect=statuses, **endpoint)
    assert message in answer.message
    if not engine.is_reference:  # 20.10 keeps some of what it has refused.
        assert set(container.networks) == {"here"}
        assert "eth1" not in container.exec(["ip", "-o", "link"])[1]


def test_mistakes_about_the_container(engine):
    engine.network("home")
    assert engine.api.post("/networks/home/connect", {"Container": "nope"}, expect=404).message == "No such container: nope"
    assert engine.api.post("/networks/home/connect", {}, expect=400)
    assert engine.api.post("/networks/home/disconnect", {"Container": "nope"}, expect=404).message == "No such container: nope"
    assert engine.api.post("/networks/home/disconnect", {"Container": "nope", "Force": True}, expect=404).message == "endpoint nope not found"
    container = engine.start_container(network="bridge")
    assert f"container {container.id} is not connected to " in container.disconnect("home", expect=(403, 500)).message
    assert container.disconnect("nope", expect=404)


def test_modes_without_networks_of_their_own(engine):
    shared = "container sharing network namespace with another container or host cannot be connected to any other network"
    engine.network("home")
    host = engine.start_container(network="host")
    assert host.connect("home", expect=400).message == shared
    assert host.disconnect("host", expect=400).message == "container cannot be disconnected from host network or connected to host network"
    none = engine.start_container(network="none")
    assert "private (none) mode" in none.connect("home", expect=400).message
    none.disconnect("none")
    none.connect("home")
    assert route(none) is not None
    peer = engine.start_container(network=f"container:{none.id}")
    assert peer.connect("home", expect=400).message == shared
    assert peer.exec(["ip", "-o", "addr"])[1] == none.exec(["ip", "-o", "addr"])[1]
    assert peer.exec(["cat", "/etc/hosts"])[1] == none.exec(["cat", "/etc/hosts"])[1]


def test_connect_of_a_stopped_container(engine):
    pool(engine, "one", "10.77.0.0/24")
    engine.network("two")
    container = engine.create(["sleep", "1000"], network="two")
    container.connect("one", IPAMConfig={"IPv4Address": "10.77.0.9"})
    # Twice is no mistake, and the first one counts.
    container.connect("one", IPAMConfig={"IPv4Address": "10.77.0.10"})
    assert container.networks["one"]["IPAMConfig"] == {"IPv4Address": "10.77.0.9"} and address(container, "one") == ""
    assert engine.api.get("/networks/one").json["Containers"] == {}
    container.start()
    assert address(container, "one") == "10.77.0.9" and address(container, "two") != ""
    container.stop(t=0)
    container.disconnect("one")
    assert set(container.networks) == {"two"}
    assert "is not connected to" in container.disconnect("one", expect=(403, 500)).message
    container.start()
    assert set(container.networks) == {"two"}


def test_connect_of_a_paused_container(engine):
    engine.network("one")
    container = engine.start_container(network="bridge")
    engine.api.post(f"{container.path}/pause", expect=204)
    container.connect("one")
    assert address(container, "one")
    container.disconnect("bridge")
    engine.api.post(f"{container.path}/unpause", expect=204)
    assert route(container)[1] == container.networks["one"]["Gateway"]


def test_addresses_are_never_given_twice(engine):
    pool(engine, "small", "10.77.0.0/29")
    first = engine.start_container(network="small", NetworkingConfig={"EndpointsConfig": {"small": {"IPAMConfig": {"IPv4Address": "10.77.0.3"}}}})
    others = [engine.start_container(network="small") for _ in range(4)]
    assert sorted([address(c, "small") for c in [first, *others]]) == [f"10.77.0.{n}" for n in range(2, 7)]
    late = engine.create(network="small")
    assert "no available IPv4 addresses" in late.start(expect=MISTAKE).message
    first.stop(t=0)
    late.start()
    thief = engine.start_container(network="bridge")
    late.wait()
    thief.connect("small", IPAMConfig={"IPv4Address": "10.77.0.3"})
    # The pool is full, too.
    message = first.start(expect=MISTAKE).message
    assert "Address already in use" in message or "No available addresses on this pool" in message
    assert first.state["Status"] == "exited"


def test_internal_network(engine):
    engine.network("inner", Internal=True)
    a, b = listening(engine, network="inner"), engine.start_container(network="inner")
    assert b.exec(f"echo hi | nc {address(a, 'inner')} 80")[1].startswith("echo:hi")
    assert engine.is_reference or route(b) is None
    assert b.exec(f"nc -w 1 {engine.address} 1 < /dev/null")[0] != 0


def published(engine, network, number="8080"):
    return listening(engine, network=network, ExposedPorts={"80/tcp": {}}, host={"PortBindings": {"80/tcp": [{"HostPort": number}]}})


def bindings(container):
    return container.inspect()["NetworkSettings"]["Ports"]


def test_published_ports_of_a_network(engine):
    engine.network("home")
    container = published(engine, "home")
    assert bindings(container)["80/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "8080"}
    assert answers(engine, engine.address, 8080) and answers(engine, "127.0.0.1", 8080, "host")
    (listed,) = engine.api.get("/containers/json", filters={"network": ["home"]}, expect=200).json
    assert listed["Ports"][0]["PublicPort"] == 8080 and listed["NetworkSettings"]["Networks"]["home"]["IPAddress"]


def test_ports_follow_the_way_out(engine):
    engine.network("aaa")
    engine.network("bbb")
    container = published(engine, "bbb")
    assert answers(engine, engine.address, 8080)
    container.connect("aaa")
    assert answers(engine, engine.address, 8080)
    container.disconnect("bbb")
    assert answers(engine, engine.address, 8080)
    container.disconnect("aaa")
    assert not answers(engine, engine.address, 8080)
    assert not (bindings(container).get("80/tcp"))
    container.connect("bbb")
    wait_until(lambda: answers(engine, engine.address, 8080))
    assert bindings(container)["80/tcp"][0]["HostPort"] == "8080"


def test_an_internal_network_publishes_nothing(engine):
    engine.network("inner", Internal=True)
    container = published(engine, "inner")
    assert not bindings(container).get("80/tcp") and not answers(engine, engine.address, 8080)


def test_list_filter_network(engine):
    id = engine.network("home")
    a = engine.start_container(network="home")
    b = engine.start_container(network="bridge")
    ids = lambda value: {c["Id"] for c in engine.api.get("/containers/json", filters={"network": [value]}, expect=200).json}
    assert ids("home") == ids(id) == {a.id} and ids("bridge") == {b.id} and ids("nope") == set()
    b.connect("home")
    assert ids("home") == {a.id, b.id}


def test_hosts_entries_at_a_start_with_several_networks(engine):
    pool(engine, "one", "10.77.0.0/24")
    pool(engine, "two", "10.78.0.0/24")
    container = engine.create(["sleep", "1000"], network="one", Hostname="hh")
    container.connect("two")
    container.start()
    text = container.exec(["cat", "/etc/hosts"])[1]
    assert "10.77.0.2\thh" in text and "10.78.0.2\thh" in text


def test_restart_keeps_everything(engine):
    pool(engine, "one", "10.77.0.0/24")
    container = published(engine, "one")
    container.connect("bridge")
    before = set(container.networks)
    engine.api.post(f"{container.path}/restart", t=0, expect=204)
    assert set(container.networks) == before == {"one", "bridge"}
    container.wait_log("listening")
    wait_until(lambda: answers(engine, engine.address, 8080))


@pytest.mark.differs(reference="its containers end with the daemon")
def test_running_containers_and_their_networks_survive_the_daemon(own_engine):
    engine = own_engine()
    pool(engine, "one", "10.77.0.0/24")
    engine.network("two")
    container = published(engine, "two")
    container.connect("one", IPAMConfig={"IPv4Address": "10.77.0.9"})
    before = container.inspect()["NetworkSettings"]
    engine.kill()
    assert answers(engine, engine.address, 8080)
    engine.start()
    assert container.inspect()["NetworkSettings"] == before
    assert answers(engine, engine.address, 8080)
    assert container.exec("ping -c 1 -w 30 10.77.0.1")[0] == 0
    assert engine.start_container(network="one").networks["one"]["IPAddress"] == "10.77.0.2"
    message = engine.create(network="one", NetworkingConfig={"EndpointsConfig": {"one": {"IPAMConfig": {"IPv4Address": "10.77.0.9"}}}}).start(expect=403).message
    assert "Address already in use" in message
    container.disconnect("two")
    assert answers(engine, engine.address, 8080)
    assert route(container)[1] == "10.77.0.1"


def test_ipv6_gateway_and_addresses(engine):
    engine.network("six", EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.77.0.0/24"}, {"Subnet": "fd77::/64"}]})
    container = engine.start_container(network="bridge")
    container.connect("six", IPAMConfig={"IPv4Address": "10.77.0.7", "IPv6Address": "fd77::7", "LinkLocalIPs": ["169.254.34.68"]})
    end = container.networks["six"]
    assert (end["GlobalIPv6Address"], end["IPv6Gateway"]) == ("fd77::7", "fd77::1")
    text = container.exec(["ip", "-o", "addr"])[1]
    assert "fd77::7/64" in text and "169.254.34.68" in text
    assert container.exec("ping -6 -c 1 -w 30 fd77::1")[0] == 0
    assert "fd77::7" in container.exec(["cat", "/etc/hosts"])[1]


def test_published_udp_follows(engine):
    engine.network("aaa")
    container = listening(engine, 53, "bridge", "udp", ExposedPorts={"53/udp": {}}, host={"PortBindings": {"53/udp": [{"HostPort": "5353"}]}})

    def ask():
        with engine.sandbox.socket("outside", socket.SOCK_DGRAM) as sock:
            sock.settimeout(20)
            sock.connect((engine.address, 5353))
            sock.sendall(b"hi")
            try:
                return sock.recv(100).startswith(b"echo:hi")
            except OSError:
                return False

    assert ask()
    container.connect("aaa")
    container.disconnect("bridge")
    assert ask()


def test_links_with_icc_off(own_engine):
    """What a link's target exposes is let through, and nothing else."""
    engine = own_engine("--icc=false")
    server = engine.start_container("probe echo tcp 80 & probe echo tcp 81", name="link-server", network="bridge", ExposedPorts={"80/tcp": {}})
    server.wait_log("listening")
    stranger = engine.start_container(network="bridge")
    friend = engine.start_container(network="bridge", host={"Links": ["link-server:db"]})

    def reaches(client, port):
        return client.exec(f"echo hi | nc -w 1 {server.ip} {port}")[1].startswith("echo:hi")

    wait_until(lambda: reaches(friend, 80))
    assert not reaches(friend, 81) and not reaches(stranger, 80)
    if not engine.is_reference:
        engine.kill()
        engine.start()
        wait_until(lambda: reaches(friend, 80))
        assert not reaches(stranger, 80)
    friend.stop(t=0)
    engine.api.delete(server.path, force=True, expect=204)
    assert not any(server.id[:12] in line for line in engine.sandbox.ruleset())
