"""A plugin of the tests' own: volumes, networks and addresses by Docker's plugin protocol.

usage: plugin_program.py LISTEN DIRECTORY KIND...   LISTEN is a socket's path or a port of 127.0.0.1

Everything it keeps is in DIRECTORY: `calls`, a JSON line for each call; `state.json`; `answers.json`, which tests write
to have a method answered by {"status": .., "body": .., "delay": ..} instead.
"""

import http.server
import ipaddress
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

LISTEN, DIRECTORY, KINDS = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
LOCK = threading.Lock()


class Refused(Exception):
    pass


def load(name):
    try:
        return json.loads((DIRECTORY / name).read_text())
    except FileNotFoundError:
        return {}


def store(state):
    new = DIRECTORY / "state.new"
    new.write_text(json.dumps(state))
    new.rename(DIRECTORY / "state.json")


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


def shown(name, volume):
    mounted = volume["users"] and str(DIRECTORY / "mnt" / name) or ""
    return {"Name": name, "Mountpoint": mounted, "CreatedAt": volume["created"], "Status": {"opts": volume["opts"]}}


def volume(state, name):
    try:
        return state.setdefault("volumes", {})[name]
    except KeyError:
        raise Refused("no such volume") from None


class VolumeDriver:
    def Create(state, a):
        state.setdefault("volumes", {})[a["Name"]] = {
            "opts": a.get("Opts") or {}, "users": [], "created": "2020-02-03T04:05:06Z"}
        (DIRECTORY / "mnt" / a["Name"]).mkdir(parents=True, exist_ok=True)
        return {}

    def Remove(state, a):
        volume(state, a["Name"])
        del state["volumes"][a["Name"]]
        return {}

    def Mount(state, a):
        volume(state, a["Name"])["users"].append(a["ID"])
        return {"Mountpoint": str(DIRECTORY / "mnt" / a["Name"])}

    def Unmount(state, a):
        users = volume(state, a["Name"])["users"]
        if a["ID"] not in users:
            raise Refused("not mounted")
        users.remove(a["ID"])
        return {}

    def Path(state, a):
        return {"Mountpoint": shown(a["Name"], volume(state, a["Name"]))["Mountpoint"]}

    def Get(state, a):
        return {"Volume": shown(a["Name"], volume(state, a["Name"]))}

    def List(state, a):
        return {"Volumes": [shown(n, v) for n, v in state.get("volumes", {}).items()]}

    def Capabilities(state, a):
        return {"Capabilities": {"Scope": "global" if "global" in KINDS else "local"}}


class NetworkDriver:
    """Bridges `tp<5 hex>`, with a veth pair for each endpoint."""

    def GetCapabilities(state, a):
        scope = "global" if "global" in KINDS else "local"
        return {"Scope": scope, "ConnectivityScope": scope}

    def CreateNetwork(state, a):
        bridge = "tp" + a["NetworkID"][:8]
        ip("link", "add", bridge, "type", "bridge")
        for data in a["IPv4Data"] or []:
            if data.get("Gateway"):
                ip("addr", "add", data["Gateway"], "dev", bridge)
        ip("link", "set", bridge, "up")
        state.setdefault("networks", {})[a["NetworkID"]] = {"bridge": bridge, "ipv4": a["IPv4Data"]}
        return {}

    def DeleteNetwork(state, a):
        network = state.get("networks", {}).pop(a["NetworkID"], None)
        if network is None:
            raise Refused("no such network")
        ip("link", "del", network["bridge"])
        return {}

    def CreateEndpoint(state, a):
        mac = "02:fe" + "".join(":" + a["EndpointID"][n:n + 2] for n in range(0, 8, 2))
        given = a.get("Interface") or {}
        state.setdefault("endpoints", {})[a["EndpointID"]] = {"mac": given.get("MacAddress") or mac}
        return {"Interface": {} if given.get("MacAddress") else {"MacAddress": mac}}

    def EndpointOperInfo(state, a):
        endpoint = state.get("endpoints", {}).get(a["EndpointID"], {})
        return {"Value": {"tests": "yes", "com.docker.network.portmap": endpoint.get("ports")}}

    def DeleteEndpoint(state, a):
        state.get("endpoints", {}).pop(a["EndpointID"], None)
        return {}

    def Join(state, a):
        network = state["networks"][a["NetworkID"]]
        ours, theirs = "tv" + a["EndpointID"][:8], "tc" + a["EndpointID"][:8]
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        ip("link", "set", theirs, "address", state["endpoints"][a["EndpointID"]]["mac"])
        ip("link", "set", ours, "master", network["bridge"])
        ip("link", "set", ours, "up")
        gateways = [d["Gateway"].split("/")[0] for d in network["ipv4"] or [] if d.get("Gateway")]
        routes = [{"Destination": "198.51.100.0/24", "RouteType": 0, "NextHop": gateways[0]}] if gateways and "noroutes" not in KINDS else []
        return {"InterfaceName": {"SrcName": theirs, "DstPrefix": "lan" if "lan" in KINDS else "eth"}, "Gateway": (gateways or [""])[0],
                "StaticRoutes": routes, "DisableGatewayService": True}

    def Leave(state, a):
        subprocess.run(["ip", "link", "del", "tv" + a["EndpointID"][:8]], check=False, capture_output=True)
        return {}

    def ProgramExternalConnectivity(state, a):
        """Publishes nothing, and says that it has taken the first port of each range."""
        wanted = a["Options"].get("com.docker.network.portmap") or []
        state["endpoints"][a["EndpointID"]]["ports"] = [{**port, "HostIP": port["HostIP"] or "0.0.0.0"} for port in wanted]
        return {}

    def RevokeExternalConnectivity(state, a):
        if state["endpoints"][a["EndpointID"]].pop("ports", None) is None:
            raise Refused("nothing is published")
        return {}


class IpamDriver:
    """Pools are what was asked for, or the next of 10.201.0.0/16 cut into /24s."""

    def GetCapabilities(state, a):
        return {"RequiresMACAddress": "mac" in KINDS, "RequiresRequestReplay": "replay" in KINDS}

    def GetDefaultAddressSpaces(state, a):
        return {"LocalDefaultAddressSpace": "testlocal", "GlobalDefaultAddressSpace": "testglobal"}

    def RequestPool(state, a):
        pools = state.setdefault("pools", {})
        number = state["next_pool"] = state.get("next_pool", 0) + 1
        pool = a.get("Pool") or (f"fd20:{number:x}::/64" if a.get("V6") else f"10.201.{number}.0/24")
        pools[f"pool-{number}"] = {"pool": pool, "taken": []}
        return {"PoolID": f"pool-{number}", "Pool": pool, "Data": {}}

    def ReleasePool(state, a):
        if state.get("pools", {}).pop(a["PoolID"], None) is None:
            raise Refused("no such pool")
        return {}

    def RequestAddress(state, a):
        pool = state["pools"][a["PoolID"]]
        net = ipaddress.ip_network(pool["pool"])
        free = (str(host) for host in net.hosts() if str(host) not in pool["taken"])
        address = a.get("Address") or next(free)
        if address in pool["taken"]:
            raise Refused(f"address {address} is taken")
        pool["taken"].append(address)
        return {"Address": f"{address}/{net.prefixlen}", "Data": {}}

    def ReleaseAddress(state, a):
        taken = state["pools"][a["PoolID"]]["taken"]
        if a["Address"] not in taken:
            raise Refused(f"address {a['Address']} is not taken")
        taken.remove(a["Address"])
        return {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = self.path.lstrip("/")
        arguments = json.loads(body or b"{}")
        with LOCK:
            with open(DIRECTORY / "calls", "a") as calls:
                calls.write(json.dumps([method, arguments]) + "\n")
        other = load("answers.json").get(method)
        if other is not None:
            time.sleep(other.get("delay", 0))
            if "body" in other:
                return self.answer(other.get("status", 200), other["body"])
        if method == "Plugin.Activate":
            implemented = [k for k in KINDS if k.endswith("Driver")]
            return self.answer(200, json.dumps({"Implements": implemented}))
        kind, _, name = method.partition(".")
        function = getattr(globals().get(kind), name, None)
        if function is None or kind not in KINDS:
            return self.answer(404, "404 page not found\n")
        with LOCK:
            state = load("state.json")
            try:
                answer = function(state, arguments)
            except Refused as e:
                return self.answer(500, json.dumps({"Err": str(e)}))
            store(state)
        return self.answer(200, json.dumps({**answer, "Err": ""}))

    def answer(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def address_string(self):
        return "engine"

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


DIRECTORY.mkdir(parents=True, exist_ok=True)
if LISTEN.isdigit():
    server = TcpServer(("127.0.0.1", int(LISTEN)), Handler)
    if "tls" in KINDS:
        import ssl
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(DIRECTORY / "cert.pem", DIRECTORY / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
else:
    if os.path.exists(LISTEN):
        os.unlink(LISTEN)
    server = Server(LISTEN, Handler)
print("ready", flush=True)
server.serve_forever()
