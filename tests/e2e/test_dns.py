"""The name server at 127.0.0.11, asked by dig, by the C library of a Debian and by busybox."""

import os
import re
from pathlib import Path

import pytest

from harness.engine import OUTSIDE_ADDRESS, wait_until
from harness.names import A, REFUSED, SERVFAIL, TXT, NameServer, a, txt


class Networks:
    """The networks of a test, and containers on them."""

    def __init__(self, engine):
        self.engine = engine
        self.made = []

    def create(self, **options):
        name = self.engine.name("net")
        id = self.engine.api.post("/networks/create", {"Name": name, **options}, expect=201).json["Id"]
        self.made.append(id)
        return name

    def start(self, network, cmd=("sleep", "1000"), *, aliases=(), links=(), endpoint=None, **options):
        settings = {**({"Aliases": list(aliases)} if aliases else {}), **({"Links": list(links)} if links else {}),
                    **(endpoint or {})}
        if settings:
            options["NetworkingConfig"] = {"EndpointsConfig": {network: settings}}
        options.setdefault("name", self.engine.name("c"))
        container = self.engine.start_container(cmd, network=network, **options)
        container.name = options["name"]
        return container

    def close(self):
        for container in self.engine.api.get("/containers/json", all=True).json:
            self.engine.api.delete(f"/containers/{container['Id']}", force=True)
        for id in self.made:
            self.engine.api.delete(f"/networks/{id}")


@pytest.fixture
def networks(engine):
    made = Networks(engine)
    yield made
    made.close()


@pytest.fixture
def host_resolv_conf(engine):
    """Writes the host's /etc/resolv.conf, which is as before for the tests that come after."""
    file = engine.sandbox.own_etc() / "resolv.conf"
    before = file.read_text()
    yield file.write_text
    file.write_text(before)


@pytest.fixture
def name_server(engine):
    """Makes name servers: `name_server("outside", zone)`, or on the host's 127.0.0.1."""
    made = []

    def make(where, zone, address=None, **options):
        address = address or (OUTSIDE_ADDRESS if where == "outside" else "127.0.0.1")
        made.append(NameServer(engine.sandbox, where, address, zone, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def debian(engine):
    """An image with glibc."""
    return engine.load_stack()


def address(container, network):
    return container.inspect()["NetworkSettings"]["Networks"][network]["IPAddress"]


def dig(container, *words):
    """What dig says inside the container's network: (status, flags, lines of the answer)."""
    # By the number that the process has in this machine's view of the engine's host.
    engine = container.engine
    line = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "dig", "@127.0.0.11", "+tries=1", "+time=15", "+nocookie", *words]
    out = engine.sandbox.run(line, check=False).stdout
    status = re.search(r"status: (\w+)", out)
    flags = re.search(r";; flags: ([\w ]*);", out)
    lines = [line for line in out.splitlines() if line and not line.startswith(";")]
    return status[1] if status else out, flags[1].split() if flags else [], lines


def found(container, name, rtype="A", *words):
    """The data of the records for a name, sorted."""
    return sorted(line.split(None, 4)[4] for line in dig(container, name, rtype, *words)[2])


def resolv_conf(container):
    return container.exec(["cat", "/etc/resolv.conf"])[1]


# Names of containers.


def test_names_aliases_and_ids(engine, networks):
    network = networks.create()
    web = networks.start(network, aliases=["app", "Shop"])
    client = networks.start(network)
    ip = address(web, network)
    for name in [web.name, web.name.upper(), "app", "shop", "SHOP", web.id[:12], f"{web.name}.{network}", f"app.{network}"]:
        assert found(client, name) == [ip], name
    assert found(client, client.name) == [address(client, network)], "itself"
    status, flags, answer = dig(client, web.name)
    assert status == "NOERROR" and {"qr", "rd", "ra"} <= set(flags) and "aa" not in flags
    assert answer[0].split()[:4] == [f"{web.name}.", "600", "IN", "A"]


def test_every_resolver_library(engine, networks, debian):
    network = networks.create()
    web = networks.start(network, aliases=["app"])
    ip = address(web, network)
    glibc = networks.start(network, ["sleep", "1000"], image=debian)
    assert glibc.exec(["getent", "hosts", "app"])[1].split() == [ip, "app"]
    assert glibc.exec(["getent", "ahostsv4", web.name])[1].split()[0] == ip
    assert glibc.exec(["getent", "hosts", ip])[1].split() == [ip, f"{web.name}.{network}"]
    busybox = networks.start(network)
    assert ip in busybox.exec(["nslookup", "app"])[1]
    assert busybox.exec(["ping", "-c", "1", "-W", "30", "app"])[0] == 0
    assert f"{web.name}.{network}" in busybox.exec(["nslookup", ip])[1]


def test_addresses_have_names(engine, networks):
    network = networks.create()
    web = networks.start(network, aliases=["app"])
    client = networks.start(network)
    ip = address(web, network)
    reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
    assert found(client, reverse, "PTR") == [f"{web.name}.{network}."]
    assert dig(client, "-x", ip)[0] == "NOERROR"


def test_a_name_without_an_address_of_the_family(engine, networks):
    network = networks.create()
    web = networks.start(network)
    client = networks.start(network)
    for rtype in ("AAAA", "MX"):
        assert dig(client, web.name, rtype)[::2] == ("NOERROR", []), rtype


def test_several_containers_share_an_alias(engine, networks):
    network = networks.create()
    webs = [networks.start(network, aliases=["web"]) for _ in range(3)]
    client = networks.start(network)
    ips = sorted(address(web, network) for web in webs)
    firsts = set()
    for _ in range(40):
        answer = [line.split()[4] for line in dig(client, "web")[2]]
        assert sorted(answer) == ips
        firsts.add(answer[0])
    assert firsts == set(ips)
    webs[0].kill()
    webs[0].wait()
    gone = wait_until(lambda: len(found(client, "web")) == 2 and found(client, "web"), what="two left")
    assert set(gone) < set(ips)


def test_large_answers(engine, networks):
    network = networks.create()
    # Long enough that neither engine's way to write it fits twenty addresses into 512 bytes.
    alias = ".".join([letter * 60 for letter in "abc"])
    webs = [networks.start(network, aliases=[alias]) for _ in range(20)]
    client = networks.start(network)
    ips = sorted(address(web, network) for web in webs)
    cut = dig(client, alias, "+noedns", "+ignore")
    assert "tc" in cut[1] and len(cut[2]) < 20
    assert found(client, alias, "A", "+noedns") == ips, "dig asks again by TCP"
    assert found(client, alias, "A", "+bufsize=8000", "+ignore") == ips
    assert found(client, alias, "A", "+tcp") == ips


def test_networks_do_not_know_each_other(engine, networks):
    here, there = networks.create(), networks.create()
    stranger = networks.start(there, aliases=["db"])
    friend = networks.start(here, aliases=["web"])
    client = networks.start(here, host={"Dns": ["127.0.0.1"]})
    assert found(client, "web") == [address(friend, here)]
    for name in ("db", stranger.name, f"db.{there}", f"web.{there}"):
        assert found(client, name) == [], name


def test_several_networks_of_one_container(engine, networks):
    front, back = networks.create(), networks.create()
    client = networks.start(front)
    db = networks.start(back, aliases=["db"])
    web = networks.start(front, aliases=["web"])
    assert found(client, "db") == []
    engine.api.post(f"/networks/{back}/connect", {"Container": client.id, "EndpointConfig": {"Aliases": ["joined"]}}, expect=200)
    assert found(client, "db") == [address(db, back)] and found(client, "web") == [address(web, front)]
    assert found(db, "joined") == found(db, client.name) == [address(client, back)]
    engine.api.post(f"/networks/{back}/disconnect", {"Container": client.id}, expect=200)
    assert found(client, "db") == [] and found(db, "joined") == []
    assert found(client, "web") == [address(web, front)]


def test_a_container_that_comes_later_to_a_network(engine, networks):
    """From the default bridge, where there is no such server."""
    network = networks.create()
    web = networks.start(network, aliases=["web"])
    late = networks.start("bridge")
    assert "127.0.0.11" not in resolv_conf(late)
    engine.api.post(f"/networks/{network}/connect", {"Container": late.id}, expect=200)
    assert found(late, "web") == [address(web, network)]
    assert "127.0.0.11" in resolv_conf(late)
    engine.api.post(f"/networks/{network}/disconnect", {"Container": late.id}, expect=200)


def test_links(engine, networks):
    network = networks.create()
    db = networks.start(network)
    client = networks.start(network, links=[f"{db.name}:store"])
    other = networks.start(network)
    assert found(client, "store") == found(client, f"store.{network}") == [address(db, network)]
    assert found(other, "store") == [], "an alias that one container has"


def test_renaming(engine, networks):
    network = networks.create()
    web, client = networks.start(network), networks.start(network)
    new = engine.name("new")
    engine.api.post(f"{web.path}/rename", name=new, expect=204)
    assert found(client, new) == [address(web, network)]
    assert found(client, web.name) == []


def test_stopping_and_starting(engine, networks):
    network = networks.create()
    web, client = networks.start(network, aliases=["web"]), networks.start(network, aliases=["client"])
    web.stop(t=0)
    assert found(client, "web") == []
    web.start()
    assert found(client, "web") == [address(web, network)]
    client.api.post(f"{client.path}/restart", t=0, expect=204)
    assert found(client, "web") == [address(web, network)]
    assert found(web, "client") == [address(client, network)]


def test_port_53_stays_free(engine, networks):
    network = networks.create()
    web = networks.start(network, aliases=["web"])
    server = networks.start(network, ["probe", "echo", "tcp", "53"])
    server.wait_log("listening")
    assert found(server, "web") == found(server, "web", "A", "+tcp") == [address(web, network)]
    assert "echo:hello" in server.exec("echo hello | nc -w 2 127.0.0.1 53")[1]


def test_nothing_is_held_of_containers_that_ended(engine, networks):
    """A socket that stays keeps a network namespace, and all that is in it."""
    def held():
        folder = Path(f"/proc/{engine.pid}/fd")
        count = 0
        for one in folder.iterdir():
            try:
                count += os.readlink(one).startswith("socket:")
            except FileNotFoundError:
                pass
        return count

    network = networks.create()
    networks.start(network, aliases=["first"])
    before = held()
    several = [networks.start(network) for _ in range(4)]
    assert found(several[0], "first")
    for container in several:
        container.remove(force=True)
    wait_until(lambda: held() <= before + 1, what="as many sockets as before")


# Other servers.


def test_the_containers_servers(engine, networks, name_server):
    zone = {("known.test", A): [a("192.0.2.7")], ("known.test", TXT): [txt("any type")]}
    server = name_server("outside", zone)
    network = networks.create()
    client = networks.start(network, host={"Dns": [OUTSIDE_ADDRESS]})
    assert found(client, "known.test") == ["192.0.2.7"]
    assert found(client, "known.test", "TXT") == ['"any type"']
    assert dig(client, "unknown.test")[0] == "NXDOMAIN"
    assert dig(client, "oneword", "TXT")[0] == "NXDOMAIN" and "oneword" in server.names()
    # It is the container that asks, so its packets come under the host's address.
    assert {question.client[0] for question in server.asked} == {"10.99.0.2"}


def test_questions_go_on_as_they_came(engine, networks, name_server):
    server = name_server("outside", {("known.test", A): [a("192.0.2.7")]})
    client = networks.start(networks.create(), host={"Dns": [OUTSIDE_ADDRESS]})
    assert dig(client, "KNOWN.test", "+bufsize=1400", "+dnssec", "+nsid")[0] == "NOERROR"
    asked = server.asked[-1]
    assert asked.name == "KNOWN.test"
    # Root, OPT, 1400, DNSSEC OK; then the option NSID, empty.
    assert asked.rest == b"\0" + bytes([0, 41, 5, 120, 0, 0, 0x80, 0, 0, 4]) + bytes([0, 3, 0, 0])


def test_large_answers_of_others(engine, networks, name_server):
    long = "x" * 3000
    server = name_server("outside", {("long.test", TXT): [txt(long)]})
    client = networks.start(networks.create(), host={"Dns": [OUTSIDE_ADDRESS]})
    status, flags, _ = dig(client, "long.test", "TXT", "+ignore")
    assert status == "NOERROR" and "tc" in flags
    answer = found(client, "long.test", "TXT")[0]
    assert answer.replace('" "', "").strip('"') == long
    assert server.asked[-1].tcp


def test_the_hosts_servers(engine, networks, name_server, host_resolv_conf):
    """On the host's loopback, where no container could reach it."""
    server = name_server("host", {("known.test", A): [a("192.0.2.8")]})
    host_resolv_conf("nameserver 127.0.0.1\nsearch host.test\n")
    network = networks.create()
    client = networks.start(network)
    assert found(client, "known.test") == found(client, "known.test", "A", "+tcp") == ["192.0.2.8"]
    assert server.asked
    text = resolv_conf(client)
    assert [line.split()[1] for line in text.splitlines() if line.startswith("nameserver")] == ["127.0.0.11"]
    assert "search host.test" in text and "ndots:0" in text


def test_the_next_server(engine, networks, name_server):
    refusing = name_server("outside", {("known.test", A): REFUSED, ("broken.test", A): SERVFAIL})
    engine.sandbox.run(["ip", "addr", "replace", "10.98.0.1/32", "dev", "lo"])
    good = name_server("host", {("known.test", A): [a("192.0.2.9")]}, address="10.98.0.1")
    client = networks.start(networks.create(), host={"Dns": [OUTSIDE_ADDRESS, "10.98.0.1"]})
    assert found(client, "known.test") == ["192.0.2.9"]
    assert refusing.asked and good.asked
    assert dig(client, "broken.test")[0] == "NXDOMAIN"


def test_search_domains_and_options(engine, networks, name_server, debian):
    server = name_server("outside", {("short.corp.test", A): [a("192.0.2.10")]})
    network = networks.create()
    own = {"Dns": [OUTSIDE_ADDRESS], "DnsSearch": ["corp.test", "test"], "DnsOptions": ["timeout:3", "attempts:1"]}
    client = networks.start(network, image=debian, host=own)
    lines = resolv_conf(client).splitlines()
    assert "nameserver 127.0.0.11" in lines and "search corp.test test" in lines
    options = next(line for line in lines if line.startswith("options")).split()
    assert {"timeout:3", "attempts:1", "ndots:0"} <= set(options)
    assert client.exec(["getent", "hosts", "short"])[1].split() == ["192.0.2.10", "short.corp.test"]
    # Asked with ndots:0, a name without a dot is one; with ndots it is for the search domains first.
    assert "short" in server.names()
    before = len(server.asked)
    own["DnsOptions"] = ["ndots:2"]
    client = networks.start(network, image=debian, host=own)
    assert "ndots:2" in resolv_conf(client) and "ndots:0" not in resolv_conf(client)
    assert client.exec(["getent", "hosts", "short"])[1].split()[0] == "192.0.2.10"
    assert dig(client, "short")[::2] == ("NOERROR", [])
    assert "short" not in server.names()[before:]


def test_the_daemons_servers(own_engine):
    engine = own_engine("--dns", OUTSIDE_ADDRESS, "--dns-search", "corp.test", "--dns-opt", "timeout:2")
    server = NameServer(engine.sandbox, "outside", OUTSIDE_ADDRESS, {("known.test", A): [a("192.0.2.11")]})
    networks = Networks(engine)
    try:
        client = networks.start(networks.create())
        assert found(client, "known.test") == ["192.0.2.11"]
        text = resolv_conf(client)
        assert "nameserver 127.0.0.11" in text and "search corp.test" in text and "timeout:2" in text
    finally:
        networks.close()
        server.close()


def test_an_internal_network(engine, networks, name_server, host_resolv_conf):
    """Nothing is forwarded that could not leave by itself: names are a way out, too."""
    server = name_server("host", {("known.test", A): [a("192.0.2.12")]})
    host_resolv_conf("nameserver 127.0.0.1\n")
    network = networks.create(Internal=True)
    web = networks.start(network, aliases=["web"])
    client = networks.start(network)
    assert found(client, "web") == [address(web, network)]
    status, _, answer = dig(client, "known.test")
    if engine.is_reference:
        # CVE-2024-29018 of later years.
        assert answer
    else:
        assert (status, answer) == ("NXDOMAIN", []) and not server.asked


def change(etc, run, how):
    """Has the host's file say 10.98.0.2, as other programs do it."""
    text = "nameserver 10.98.0.2\n"
    file = etc / "resolv.conf"
    if how == "in place":
        file.write_text(text)
    elif how == "renamed over it":
        (etc / "resolv.conf.new").write_text(text)
        os.rename(etc / "resolv.conf.new", file)
    elif how == "a link":
        (run / "resolv.conf").write_text(text)
        os.symlink("/run/dhcp/resolv.conf", etc / "link")
        os.rename(etc / "link", file)
    elif how == "what the link leads to":
        (run / "new").write_text(text)
        os.rename(run / "new", run / "resolv.conf")
    elif how == "what a stub stands for":
        # As systemd-resolved has it.
        (run / "new").write_text(text)
        os.rename(run / "new", run.parent / "systemd/resolve/resolv.conf")


@pytest.mark.parametrize("how", ["in place", "renamed over it", "a link", "what the link leads to", "what a stub stands for"])
@pytest.mark.differs(reference="containers that run go on asking the old ones")
def test_the_hosts_servers_change(own_engine, how):
    """Containers that run have the new ones asked at once."""
    first, second = "10.98.0.1", "10.98.0.2"

    def prepare(engine):
        etc = engine.sandbox.own_etc()
        engine.sandbox.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        run = engine.sandbox.root / "run"
        (run / "dhcp").mkdir()
        (run / "systemd/resolve").mkdir(parents=True)
        (etc / "resolv.conf").unlink(missing_ok=True)
        if how == "what the link leads to":
            (run / "dhcp/resolv.conf").write_text(f"nameserver {first}\n")
            os.symlink("/run/dhcp/resolv.conf", etc / "resolv.conf")
        elif how == "what a stub stands for":
            (run / "systemd/resolve/stub.conf").write_text("nameserver 127.0.0.53\n")
            (run / "systemd/resolve/resolv.conf").write_text(f"nameserver {first}\n")
            os.symlink("../run/systemd/resolve/stub.conf", etc / "resolv.conf")
        else:
            (etc / "resolv.conf").write_text(f"nameserver {first}\n")

    engine = own_engine(prepare=prepare)
    networks, servers = Networks(engine), []
    try:
        for address, answer in ((first, "192.0.2.1"), (second, "192.0.2.2")):
            engine.sandbox.run(["ip", "addr", "replace", f"{address}/32", "dev", "lo"])
            servers.append(NameServer(engine.sandbox, "host", address, {("known.test", A): [a(answer)]}))
        network = networks.create()
        client = networks.start(network)
        # Its own servers stay its own.
        other = networks.start(network, host={"Dns": [first]})
        assert found(client, "known.test") == found(other, "known.test") == ["192.0.2.1"]
        change(engine.sandbox.root / "etc", engine.sandbox.root / "run/dhcp", how)
        wait_until(lambda: found(client, "known.test") == ["192.0.2.2"], what="an answer of the new server")
        assert found(other, "known.test") == ["192.0.2.1"]
        assert found(networks.start(network), "known.test") == ["192.0.2.2"]
        assert found(client, client.name) == [client.networks[network]["IPAddress"]]
    finally:
        networks.close()
        for server in servers:
            server.close()


# The daemon's life.


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_daemon_that_comes_back(own_engine, engine_kind, end):
    engine = own_engine(*(["--live-restore"] if engine_kind == "reference" else []))
    networks = Networks(engine)
    network = networks.create()
    web = networks.start(network, aliases=["web"])
    client = networks.start(network)
    ip = address(web, network)
    assert found(client, "web") == [ip]
    pid = client.pid
    getattr(engine, end)()
    engine.start()
    assert client.pid == pid
    assert found(client, "web") == found(client, "web", "A", "+tcp") == [ip]
    later = networks.start(network, aliases=["later"])
    assert found(client, "later") == [address(later, network)]
    networks.close()
