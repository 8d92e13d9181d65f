"""A small HTTP/1.1 client over a unix socket that does what ready-made ones refuse: unescaped targets, hijacked
connections with half-close, and early looks at streams. Every exchange is handed to a recorder."""

import json
import socket
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass
class Exchange:
    """One request and its answer, as far as it got."""

    method: str = ""
    target: str = ""
    request_headers: dict = field(default_factory=dict)
    request_body: bytes = b""
    status: int = 0
    headers: dict = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    hijacked: bool = False


class Headers(dict):
    """Header names without regard to case; the last of a repeated name wins."""

    def __setitem__(self, key, value):
        super().__setitem__(key.lower(), value)

    def __getitem__(self, key):
        return super().__getitem__(key.lower())

    def get(self, key, default=None):
        return super().get(key.lower(), default)

    def __contains__(self, key):
        return super().__contains__(key.lower())


def parse_head(data):
    """First line and headers of a message head (without the empty line)."""
    first, *lines = data.decode("latin-1").split("\r\n")
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    return first, headers


def encode_query(query):
    """Docker's conventions: booleans as 1 and 0, lists repeated, dicts as JSON."""
    parts = []
    for key, value in query.items():
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, bool):
                one = int(one)
            if isinstance(one, dict):
                one = json.dumps(one)
            parts.append(f"{quote(str(key))}={quote(str(one), safe='')}")
    return "&".join(parts)


class Connection:
    """One connection, one request."""

    def __init__(self, path, timeout=60):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        self.sock.connect(str(path))
        self.buffer = b""
        self.eof = False

    def _fill(self):
        data = self.sock.recv(65536)
        if not data:
            self.eof = True
        self.buffer += data
        return bool(data)

    def until(self, mark):
        """Bytes up to and without `mark`; None when the stream ends before it."""
        while mark not in self.buffer:
            if not self._fill():
                return None
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count):
        """`count` bytes, fewer only at the end of the stream."""
        while len(self.buffer) < count and self._fill():
            pass
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def some(self):
        """Whatever arrives next; empty at the end of the stream."""
        if not self.buffer and not self.eof:
            self._fill()
        found, self.buffer = self.buffer, b""
        return found

    def write(self, data):
        self.sock.sendall(data)

    def half_close(self):
        """No more from this side; the other side may go on."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()


class Response:
    """The answer. `body` is read at once unless a stream was asked for."""

    def __init__(self, connection, exchange):
        self.connection = connection
        self.exchange = exchange
        self.status = exchange.status
        self.headers = exchange.headers

    @property
    def body(self):
        return self.exchange.body

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def message(self):
        """Docker's error text."""
        return self.json["message"]

    @property
    def objects(self):
        """The JSON objects of a finished stream."""
        return list(json_objects(self.body.decode()))

    def chunks(self):
        """Body pieces as they arrive."""
        if "chunked" in (self.headers.get("transfer-encoding") or "").lower():
            while True:
                line = self.connection.until(b"\r\n")
                if line is None:
                    return
                size = int(line.split(b";")[0], 16)
                data = self.connection.exactly(size)
                self.connection.exactly(2)
                if size == 0:
                    self.exchange.complete = True
                    return
                yield data
        elif "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left:
                if not self.connection.buffer and not self.connection._fill():
                    return
                data = self.connection.exactly(min(left, len(self.connection.buffer)))
                left -= len(data)
                yield data
            self.exchange.complete = True
        else:
            while data := self.connection.some():
                yield data
            self.exchange.complete = True

    def lines(self):
        """Body lines as they arrive."""
        rest = b""
        for chunk in self.chunks():
            self.exchange.body += chunk
            rest += chunk
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                yield line
        if rest:
            yield rest

    def read(self):
        """Everything there is, for a stream."""
        self.exchange.body += b"".join(self.chunks())
        return self.exchange.body

    def close(self):
        self.connection.close()


def json_objects(text):
    """JSON values written one after another."""
    decoder = json.JSONDecoder()
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if at == len(text):
            return
        value, at = decoder.raw_decode(text, at)
        yield value


class Client:
    """Requests to one engine in one API version (None: no version in the path)."""

    def __init__(self, path, version=None, recorder=None):
        self.path = path
        self.version = version
        self.recorder = recorder

    def at(self, version):
        """The same engine, spoken to in another version."""
        return Client(self.path, version, self.recorder)

    def request(self, method, path, /, *, json_body=None, body=None, headers=None, stream=False, hijack=False,
                timeout=120, raw_target=None, **query):
        """Send one request; `expect` in `query` is the status it must have (a number or several)."""
        expect = query.pop("expect", None)
        target = raw_target
        if target is None:
            target = (f"/v{self.version}" if self.version else "") + path
            if query:
                target += "?" + encode_query(query)
        sent = Headers()
        sent["Host"] = "docker"
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent["Content-Type"] = "application/json"
        if hijack:
            sent["Upgrade"] = "tcp"
            sent["Connection"] = "Upgrade"
        else:
            sent["Connection"] = "close"
        for key, value in (headers or {}).items():
            if value is None:
                dict.pop(sent, key.lower(), None)
            else:
                sent[key] = value
        if isinstance(body, (bytes, bytearray)):
            sent["Content-Length"] = str(len(body))
        elif body is not None:
            sent["Transfer-Encoding"] = "chunked"
        elif method in ("POST", "PUT") and "content-length" not in sent:
            sent["Content-Length"] = "0"
        connection = Connection(self.path, timeout)
        exchange = Exchange(method=method, target=target, request_headers=sent)
        if self.recorder is not None:
            self.recorder.add(exchange)
        try:
            return self._exchange(connection, exchange, sent, body, stream, hijack, expect)
        except BaseException:
            connection.close()
            raise

    def _exchange(self, connection, exchange, sent, body, stream, hijack, expect):
        head = f"{exchange.method} {exchange.target} HTTP/1.1\r\n"
        head += "".join(f"{key}: {value}\r\n" for key, value in sent.items())
        connection.write(head.encode() + b"\r\n")
        try:
            if isinstance(body, (bytes, bytearray)):
                exchange.request_body = bytes(body[:1 << 16])
                connection.write(body)
            elif body is not None:
                for part in body:
                    connection.write(b"%x\r\n%s\r\n" % (len(part), part))
                connection.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass  # An engine may answer and close before it has read everything.
        data = connection.until(b"\r\n\r\n")
        if data is None:
            raise ConnectionError(f"no answer to {exchange.method} {exchange.target}")
        first, exchange.headers = parse_head(data)
        exchange.status = int(first.split()[1])
        response = Response(connection, exchange)
        if exchange.status == 101 or (hijack and exchange.status == 200):
            exchange.hijacked = True
        elif exchange.method == "HEAD" or exchange.status in (204, 304):
            exchange.complete = True
            connection.close()
        elif not stream:
            response.read()
            connection.close()
        if expect is not None:
            wanted = expect if isinstance(expect, (tuple, list, set)) else (expect,)
            if response.status not in wanted:
                if stream and not exchange.hijacked:
                    response.read()
                raise AssertionError(
                    f"{exchange.method} {exchange.target}: expected {expect}, got {response.status} "
                    f"{exchange.body[:2000].decode(errors='replace')}")
        return response

    def get(self, path, /, **options):
        return self.request("GET", path, **options)

    def post(self, path, json_body=None, **options):
        return self.request("POST", path, json_body=json_body, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)

    def head(self, path, **options):
        return self.request("HEAD", path, **options)


def demultiplex(data):
    """Split Docker's framed stream into (stdout, stderr)."""
    out = {1: b"", 2: b""}
    at = 0
    while at < len(data):
        kind, zero, length = data[at], data[at + 1:at + 4], int.from_bytes(data[at + 4:at + 8], "big")
        assert kind in (1, 2) and zero == b"\0\0\0", f"not a frame at {at}: {data[at:at + 16]!r}"
        payload = data[at + 8:at + 8 + length]
        assert len(payload) == length, f"the frame at {at} is cut short"
        out[kind] += payload
        at += 8 + length
    return out[1], out[2]
