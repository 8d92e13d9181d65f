"""Who reaches whom on networks of the user's: each network for itself, the host's firewall before everything."""

import socket
import subprocess

import pytest

from harness.engine import wait_until

FIRST, SECOND = "10.201.1.0/24", "10.201.2.0/24"


@pytest.fixture(autouse=True)
def nothing_is_left(engine):
    yield
    engine.remove_everything()
    for network in engine.api.get("/networks").json:
        if network["Name"] not in ("bridge", "host", "none"):
            engine.api.delete(f"/networks/{network['Id']}", expect=204)
    engine.sandbox.run(["nft", "delete table inet filter"], check=False)
    outside(engine, "ip", "route", "flush", "root", "10.201.0.0/16")


def outside(engine, *command):
    return subprocess.run(["nsenter", "-t", str(engine.sandbox.outside_pid), "-n", *command], capture_output=True, text=True)


def network(engine, name, subnet, **options):
    config = [{"Subnet": subnet}, *options.pop("more", [])]
    engine.api.post("/networks/create", {"Name": name, "IPAM": {"Config": config}, **options}, expect=201)
    return name


def address(container, name, key="IPAddress"):
    return container.inspect()["NetworkSettings"]["Networks"][name][key]


def server(engine, name, port=None):
    """A container that answers on port 80, which may be published, and on 81, which is not."""
    host = {"PortBindings": {"80/tcp": [{"HostPort": str(port)}]}} if port else {}
    serve = "nc -ll -p 81 -e echo hidden & exec nc -ll -p 80 -e echo open"
    container = engine.start_container(serve, network=name, ExposedPorts={"80/tcp": {}}, host=host)
    wait_until(lambda: container.exec("netstat -ltn | grep -c ':8[01] '")[1].strip() == "2")
    return container


def reaches(container, target, port, seconds=30):
    """Whether a container gets an answer: it comes at once, but on a machine that is busy."""
    out = container.exec(f"nc -w {seconds} {target} {port} < /dev/null")[1]
    return out.strip() in ("open", "hidden", "host")


def cut_off(container, target, port):
    """Whether it gets none, for a second."""
    return not reaches(container, target, port, 1)


def fetch(target, port, seconds):
    return ["timeout", str(seconds), "bash", "-c", f"cat < /dev/tcp/{target}/{port}"]


def from_host(engine, target, port):
    return engine.sandbox.run(fetch(target, port, 30), check=False).stdout.strip() != ""


def from_outside(engine, target, port, seconds=30):
    return outside(engine, *fetch(target, port, seconds)).stdout.strip() != ""


def kept_out(engine, target, port):
    """Whether the other machine gets no answer, for a second."""
    return not from_outside(engine, target, port, 1)


def test_networks_are_apart(engine):
    network(engine, "first", FIRST)
    network(engine, "second", SECOND)
    there = server(engine, "second", port=8082)
    here, default = server(engine, "first"), server(engine, "bridge")
    target = address(there, "second")
    for asker in (here, default):
        assert cut_off(asker, target, 80)
        assert reaches(asker, engine.address, 8082), "what is published is published"
    assert cut_off(here, target, 81)
    assert cut_off(here, "10.201.2.1", 81), "by the other network's gateway"
    assert cut_off(there, default.ip, 80)
    assert from_host(engine, target, 80) and from_host(engine, target, 81)


def test_members_reach_each_other(engine):
    network(engine, "second", SECOND)
    there, peer = server(engine, "second"), engine.start_container(network="second")
    target = address(there, "second")
    assert reaches(peer, target, 80) and reaches(peer, target, 81)


def test_from_other_hosts_only_what_is_published(engine):
    network(engine, "first", FIRST)
    there = server(engine, "first", port=8081)
    target = address(there, "first")
    outside(engine, "ip", "route", "add", FIRST, "via", engine.address)
    assert from_outside(engine, engine.address, 8081)
    assert kept_out(engine, target, 81)
    # Old versions of Docker let a published port's own address be routed to.
    assert engine.is_reference or kept_out(engine, target, 80)


def test_internal(engine):
    network(engine, "inner", FIRST, Internal=True)
    a, b = server(engine, "inner"), server(engine, "inner")
    assert reaches(a, address(b, "inner"), 80)
    assert from_host(engine, address(b, "inner"), 80)
    # Old versions of Docker give it a route that leads nowhere.
    assert engine.is_reference or "default" not in a.exec("ip route")[1]
    outside(engine, "ip", "route", "add", FIRST, "via", engine.address)
    assert kept_out(engine, address(b, "inner"), 80)
    other = server(engine, "bridge", port=8081)
    assert cut_off(a, other.ip, 80) and cut_off(a, engine.address, 8081)
    assert cut_off(other, address(a, "inner"), 80)


def test_members_that_do_not_talk(engine):
    network(engine, "mute", FIRST, Options={"com.docker.network.bridge.enable_icc": "false"})
    a, b = server(engine, "mute"), server(engine, "mute", port=8081)
    if not engine.is_reference or engine.sandbox.run(["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"], check=False).stdout.strip() == "1":
        assert cut_off(a, address(b, "mute"), 80)
    assert from_outside(engine, engine.address, 8081)


def test_ipv6_networks_are_apart(engine):
    """Docker has rules for IPv6 since 27."""
    network(engine, "six-a", FIRST, EnableIPv6=True, more=[{"Subnet": "fd00:201:1::/64"}])
    network(engine, "six-b", SECOND, EnableIPv6=True, more=[{"Subnet": "fd00:201:2::/64"}])
    a, b, c = server(engine, "six-a"), server(engine, "six-a"), server(engine, "six-b")
    near, far = address(b, "six-a", "GlobalIPv6Address"), address(c, "six-b", "GlobalIPv6Address")
    assert near.startswith("fd00:201:1::") and far.startswith("fd00:201:2::")
    assert address(a, "six-a", "IPv6Gateway") == "fd00:201:1::1" and address(a, "six-a", "GlobalIPv6PrefixLen") == 64
    assert "default via fd00:201:1::1" in a.exec("ip -6 route")[1]
    assert reaches(a, near, 80)
    if not engine.is_reference:
        assert cut_off(a, far, 80)


FORGE = """
import socket, struct, sys
source, target, port = sys.argv[1:4]
data = b"forged"
udp = struct.pack("!HHHH", 53, int(port), 8 + len(data), 0) + data
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW).sendto(ip + udp, (target, 0))
"""


ASK = """
import socket
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.bind(("0.0.0.0", 1099))
asking.settimeout(50)
asking.sendto(b"question", ("10.99.0.1", 53))
print(asking.recv(100).decode())
"""


def test_a_forged_answer_from_another_network(engine):
    """Raw packets, which every container may send: as if they were answers of whom a container of another network asks."""
    network(engine, "first", FIRST)
    network(engine, "second", SECOND)
    forger = engine.start_container(network="first")
    asker = engine.start_container(network="second")
    answers = engine.sandbox.socket("outside", socket.SOCK_DGRAM)
    answers.bind(("10.99.0.1", 53))
    asking = subprocess.Popen(engine.sandbox.enter(["nsenter", "-t", str(asker.pid), "-n", "python3", "-c", ASK]), stdout=subprocess.PIPE, text=True)
    question, sender = answers.recvfrom(100)
    assert question == b"question"

    def send(pid, source, target, port):
        engine.sandbox.run(["nsenter", "-t", str(pid), "-n", "python3", "-c", FORGE, source, target, str(port)])

    for target, port in [(sender[0], sender[1]), (address(asker, "second"), 1099)]:
        send(forger.pid, "10.99.0.1", target, port)
    answers.sendto(b"real", sender)
    assert asking.communicate(timeout=60)[0] == "real\n"
    answers.close()


def test_the_hosts_firewall_decides_first(engine):
    network(engine, "first", FIRST)
    there = server(engine, "first", port=8081)
    assert from_outside(engine, engine.address, 8081)
    engine.sandbox.run(["nft", "table inet filter { chain forward { type filter hook forward priority 10; tcp dport 80 ip saddr "
                               f"{engine.outside_address} drop; }}; }}"])
    assert kept_out(engine, engine.address, 8081)
    assert from_host(engine, engine.address, 8081)
    engine.sandbox.run(["nft", "delete table inet filter"])
    assert from_outside(engine, engine.address, 8081)
    assert there.state["Running"]


@pytest.mark.differs(reference="Docker does not notice that its rules are gone")
def test_a_flushed_firewall_comes_back(own_engine):
    engine = own_engine()
    network(engine, "first", FIRST)
    server(engine, "first", port=8081)
    before = sorted(engine.sandbox.ruleset())
    engine.sandbox.run(["nft", "flush ruleset"])
    wait_until(lambda: sorted(engine.sandbox.ruleset()) == before, what="the rules as they were")
    assert from_outside(engine, engine.address, 8081)


def test_links_where_members_do_not_talk(own_engine):
    """`--icc=false`: whoever has a link reaches what its target exposes, for as long as both run."""
    engine = own_engine("--icc=false")
    there = server(engine, "bridge")
    engine.api.post(f"/containers/{there.id}/rename", name="there", expect=204)
    stranger = engine.start_container(network="bridge")
    friend = engine.start_container(network="bridge", host={"Links": ["there:there"]})
    assert reaches(friend, "there", 80)
    filtered = not engine.is_reference or engine.sandbox.run(
        ["cat", "/proc/sys/net/bridge/bridge-nf-call-iptables"], check=False).stdout.strip() == "1"
    if filtered:
        assert cut_off(friend, there.ip, 81) and cut_off(stranger, there.ip, 80)
    if engine.is_reference:
        return  # Its rules go with the target's first end, and do not come back.
    engine.kill()
    engine.start()
    assert reaches(friend, "there", 80) and cut_off(stranger, there.ip, 80)
    before = there.ip
    there.stop(t=0)
    engine.start_container(network="bridge")
    there.start()
    wait_until(lambda: there.exec("netstat -ltn | grep -c ':8[01] '")[1].strip() == "2")
    assert there.ip != before
    wait_until(lambda: reaches(friend, "there", 80))
