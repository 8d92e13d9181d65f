"""The little of protocols that it takes to ask a service whether it lives."""

import json
import struct


def connected(engine, address, port):
    """A connection from the engine's host."""
    sock = engine.sandbox.socket("host")
    sock.settimeout(20)
    sock.connect((address, port))
    return sock


def exactly(file, count):
    data = file.read(count)
    assert len(data) == count, "the connection broke off"
    return data


def http(engine, address, port, method="GET", path="/", body=None):
    """(status, headers, body)"""
    data = b"" if body is None else json.dumps(body).encode()
    with connected(engine, address, port) as sock:
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        head, _, body = sock.makefile("rb").read().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}, body.decode()


def redis(engine, address, port, *commands):
    """The replies to commands, each a list of words."""
    def reply(file):
        line = file.readline().decode().rstrip("\r\n")
        assert line, "the connection broke off"
        kind, rest = line[0], line[1:]
        if kind == "$":
            return None if rest == "-1" else exactly(file, int(rest) + 2)[:-2].decode()
        return [reply(file) for _ in range(int(rest))] if kind == "*" else int(rest) if kind == ":" else rest

    with connected(engine, address, port) as sock, sock.makefile("rb") as file:
        for words in commands:
            sock.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
        return [reply(file) for _ in commands]


def sql(engine, address, port, query, user="postgres"):
    """The rows of a query, as texts."""
    with connected(engine, address, port) as sock, sock.makefile("rb") as file:
        hello = struct.pack(">i", 196608) + f"user\0{user}\0database\0{user}\0\0".encode()
        sock.sendall(struct.pack(">i", len(hello) + 4) + hello)
        rows, asked = [], False
        while True:
            kind = exactly(file, 1)
            body = exactly(file, struct.unpack(">i", exactly(file, 4))[0] - 4)
            assert kind != b"E", body
            if kind == b"D":
                rows.append(values(body))
            elif kind == b"Z" and asked:
                return rows
            elif kind == b"Z":
                asked = True
                sock.sendall(b"Q" + struct.pack(">i", len(query) + 5) + query.encode() + b"\0")


def values(row):
    """A row's fields."""
    (count,), at, found = struct.unpack(">h", row[:2]), 2, []
    for _ in range(count):
        (length,) = struct.unpack(">i", row[at:at + 4])
        at += 4
        found.append(None if length < 0 else row[at:at + length].decode())
        at += max(length, 0)
    return found
