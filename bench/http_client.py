"""A small HTTP client over a unix socket: one connection, kept alive, no dependencies."""

import http.client
import json
import socket
import struct


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        # With the usual 8 kB a large body would measure this client.
        super().__init__("localhost", timeout=timeout, blocksize=1 << 20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """Calls an engine; raises on any status of 400 and above."""

    def __init__(self, path, timeout=600):
        self.path, self.timeout = path, timeout
        self._connection = _UnixConnection(path, timeout)

    def call(self, method, url, body=None, content_type="application/json", sink=None, headers=None):
        """The decoded answer; with `sink` the body goes there in pieces and the byte count returns."""
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        headers = {**(headers or {}), **({"Content-Type": content_type} if body is not None else {})}
        self._connection.request(method, "/v1.41" + url, body=body, headers=headers)
        answer = self._connection.getresponse()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {url}: {answer.status} {answer.read()[:300]!r}")
        if sink is not None:
            return _copy(answer, sink)
        data = answer.read()
        try:
            return json.loads(data)
        except ValueError:
            return data

    def exec_output(self, exec_id):
        """Starts an exec on a connection of its own (it is hijacked) and reads its stdout to the end."""
        connection = _UnixConnection(self.path, self.timeout)
        body = json.dumps({"Detach": False, "Tty": False})
        headers = {"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"}
        connection.request("POST", f"/v1.41/exec/{exec_id}/start", body=body, headers=headers)
        sock = connection.sock
        received = b""
        while b"\r\n\r\n" not in received:
            received += sock.recv(65536)
        head, _, data = received.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head)
        while piece := sock.recv(65536):
            data += piece
        connection.close()
        return b"".join(_payloads(data))

    def close(self):
        self._connection.close()


def _copy(answer, sink):
    total = 0
    while piece := answer.read(1 << 20):
        sink(piece)
        total += len(piece)
    return total


def _payloads(data):
    while len(data) >= 8:
        (length,) = struct.unpack(">I", data[4:8])
        yield data[8 : 8 + length]
        data = data[8 + length :]
