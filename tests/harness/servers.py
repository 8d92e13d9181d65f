"""HTTP servers of the tests' own, listening inside the network of a sandbox and running in the test's process.

A server answers by its own rules unless a test has put another one before them with `on`. Everything that arrived
is in `log`.
"""

import re
import socket
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.sandbox import OUTSIDE_ADDRESS

PIECE = 64 * 1024


@dataclass
class Seen:
    """One request and what was sent for it."""

    method: str
    target: str
    path: str
    query: dict
    headers: object
    status: int = 0
    start: int = 0  # of the range that was asked for
    end: int | None = None
    sent: int = 0  # bytes of the body
    body: bytes = b""
    extra: dict = field(default_factory=dict)


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the server's rules."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.owner.connections.add(self.connection)

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ssl.SSLError):
            self.close_connection = True

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self):
        parts = urlsplit(self.path)
        self.seen = Seen(self.command, self.path, unquote(parts.path), dict(parse_qsl(parts.query, True)), self.headers)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found:
            self.seen.start, self.seen.end = int(found[1]), int(found[2]) + 1 if found[2] else None
        with self.owner.lock:
            self.owner.log.append(self.seen)
            self.owner.arrived.notify_all()
        for rule in self.owner.matching(self.seen):
            if rule.action(self) is not False:
                return
        self.owner.answer(self)

    def body(self):
        """The request's body, whatever its form."""
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.body = data
        return data

    def reply(self, status, body=b"", headers=None, length=None):
        """A whole answer; `length` is what Content-Length says if not the truth."""
        self.head(status, len(body) if length is None else length, headers)
        if self.command != "HEAD":
            self.send(body)

    def head(self, status, length, headers=None):
        self.seen.status = status
        self.send_response_only(status)
        headers = {"Content-Length": length, "Docker-Distribution-Api-Version": "registry/2.0", **(headers or {})}
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, str(value))
        self.end_headers()

    def send(self, data):
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            self.wfile.write(view[at:at + PIECE])
            self.seen.sent += len(view[at:at + PIECE])

    def cut(self):
        """End the connection here and now."""
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def log_message(self, *_):
        pass


class Rule:
    """An action for the requests that match, `times` of them if that is given, after the first `skip`."""

    def __init__(self, method, pattern, action, times, skip):
        self.method, self.pattern, self.action, self.times, self.skip = method, re.compile(pattern), action, times, skip

    def take(self, seen):
        if self.times == 0 or seen.method not in self.method.split("|") or not self.pattern.search(seen.path):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Server:
    """A server on a free port (or `port`) of the engine's own host, or of the other machine ("outside")."""

    def __init__(self, sandbox, where="host", address=None, port=0, tls=None):
        self.sandbox = sandbox
        self.address = address or ("127.0.0.1" if where == "host" else OUTSIDE_ADDRESS)
        self.log, self.rules, self.connections = [], [], set()
        self.lock = threading.RLock()
        self.arrived = threading.Condition(self.lock)
        handler = type("BoundHandler", (Handler,), {"owner": self})
        self.server = ThreadingHTTPServer((self.address, port), handler, bind_and_activate=False)
        self.server.socket.close()
        self.server.socket = sandbox.socket(where)
        self.server.socket.settimeout(None)
        self.server.request_queue_size = 64
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.server.handle_error = lambda *_: None
        self.server.server_bind()
        self.server.server_activate()
        self.tls = tls
        if tls is not None:
            # The handshake belongs to the connection's own thread: a client that says nothing must stop nobody.
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def host(self):
        """host:port, as it stands in a reference."""
        return f"{self.address}:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def on(self, method, pattern, action, times=None, skip=0):
        """`action(handler)` answers requests of `method` (a|b) whose path matches; returning False it lets them pass."""
        rule = Rule(method, pattern, action, times, skip)
        with self.lock:
            self.rules.insert(0, rule)
        return rule

    def matching(self, seen):
        with self.lock:
            return [rule for rule in self.rules if rule.take(seen)]

    def answer(self, handler):
        """What the server is for."""
        handler.reply(404)

    def requests(self, method=".*", pattern=""):
        """What was asked so far."""
        with self.lock:
            return [s for s in self.log if re.fullmatch(method, s.method) and re.search(pattern, s.path)]

    def forget(self):
        with self.lock:
            self.log.clear()
            self.rules.clear()

    def wait_for(self, method, pattern, count=1, timeout=20):
        """Until so many such requests have arrived."""
        with self.lock:
            done = self.arrived.wait_for(lambda: len(self.requests(method, pattern)) >= count, timeout)
        assert done, f"{method} {pattern} did not arrive {count} times: {[(s.method, s.path) for s in self.log]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# Actions for `on`.

def status(code, headers=None, body=b""):
    """Answer with this."""
    return lambda handler: (handler.body(), handler.reply(code, body, headers))[0] and None


def redirect(url):
    """Elsewhere, with what was asked for if `url` has {path}."""
    return lambda handler: handler.reply(307, b"", {"Location": url.format(path=handler.seen.path)})


class ForwardProxy(Server):
    """An HTTP proxy: CONNECT tunnels, and plain requests passed on. `log` has the targets."""

    def answer(self, handler):
        if handler.command == "CONNECT":
            host, _, port = handler.path.rpartition(":")
            return self.tunnel(handler, (host, int(port)))
        parts = urlsplit(handler.path)
        there = self.connect((parts.hostname, parts.port or 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{handler.command} {target} HTTP/1.1", "Connection: close"]
        lines += [f"{key}: {value}" for key, value in handler.headers.items()
                  if key.lower() not in ("connection", "proxy-authorization", "proxy-connection")]
        there.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + handler.body())
        handler.close_connection = True
        while data := there.recv(PIECE):
            handler.wfile.write(data)
        there.close()
        handler.cut()

    def tunnel(self, handler, target):
        there = self.connect(target)
        handler.send_response_only(200)
        handler.end_headers()
        self.relay(handler, there)

    @staticmethod
    def relay(handler, there):
        """Bytes in both directions until both have said everything."""
        handler.close_connection = True

        def back():
            try:
                while data := there.recv(PIECE):
                    handler.connection.sendall(data)
            except OSError:
                pass
            handler.cut()

        threading.Thread(target=back, daemon=True).start()
        try:
            while data := handler.connection.recv(PIECE):
                there.sendall(data)
        except OSError:
            pass
        there.close()

    def connect(self, target):
        there = self.sandbox.socket("outside")
        there.connect((OUTSIDE_ADDRESS if target[0].endswith(".test") else target[0], target[1]))
        return there
