"""A name server of the tests' own, on the engine's host or on the machine at the other end of the cable."""

import socket
import struct
import threading

A, PTR, TXT, AAAA, OPT = 1, 12, 16, 28, 41
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def read_name(message, at):
    """(name, where it ends) of a name without pointers."""
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def write_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def record(rtype, data):
    """A record of an answer, for the name of the question."""
    return struct.pack("!HHHIH", 0xC00C, rtype, 1, 60, len(data)) + data


def a(address):
    return record(A, socket.inet_aton(address))


def txt(text):
    chunks = [text[n:n + 255].encode() for n in range(0, len(text), 255)]
    return record(TXT, b"".join(bytes([len(chunk)]) + chunk for chunk in chunks))


class Question:
    """A query as it arrived."""

    def __init__(self, message, tcp, client):
        self.message, self.tcp, self.client = message, tcp, client
        self.name, end = read_name(message, 12)
        self.type = struct.unpack_from("!H", message, end)[0]
        self.question = message[12:end + 4]
        # What follows the question, EDNS for example.
        self.rest = message[end + 4:]


class NameServer:
    """Answers by `zone`: (name, type) to records, or a number that is the outcome; what is not there does not exist.

    `silent` makes it take questions and answer none.
    """

    def __init__(self, sandbox, where, address, zone, silent=False):
        self.zone, self.silent, self.asked = zone, silent, []
        self.udp = sandbox.socket(where, socket.SOCK_DGRAM)
        self.tcp = sandbox.socket(where)
        for one in (self.udp, self.tcp):
            one.settimeout(None)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((address, 53))
        self.tcp.listen()
        self.closed = False
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._serve_udp, self._serve_tcp)]
        for thread in self.threads:
            thread.start()

    def names(self):
        """The names that were asked for."""
        return [question.name for question in self.asked]

    def _answer(self, question, limit):
        self.asked.append(question)
        found = self.zone.get((question.name.lower(), question.type), NXDOMAIN)
        rcode, records = (found, []) if isinstance(found, int) else (NOERROR, found)
        flags = 0x8180 | rcode
        body = b"".join(records)
        if 12 + len(question.question) + len(body) > limit:
            flags, records, body = flags | 0x0200, [], b""
        return question.message[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question.question + body

    def _serve_udp(self):
        while True:
            try:
                message, client = self.udp.recvfrom(4096)
            except OSError:
                return
            if self.closed:
                return
            question = Question(message, False, client)
            limit = struct.unpack_from("!H", question.rest, 3)[0] if question.rest else 512
            answer = self._answer(question, limit)
            if not self.silent:
                self.udp.sendto(answer, client)

    def _serve_tcp(self):
        while True:
            try:
                stream, client = self.tcp.accept()
            except OSError:
                return
            with stream:
                if self.closed:
                    return
                stream.settimeout(5)
                try:
                    size = struct.unpack("!H", stream.recv(2))[0]
                    message = b""
                    while len(message) < size:
                        message += stream.recv(size - len(message))
                    answer = self._answer(Question(message, True, client), 65535)
                    if not self.silent:
                        stream.sendall(struct.pack("!H", len(answer)) + answer)
                except (OSError, struct.error, IndexError):
                    pass

    def close(self):
        self.closed = True
        for one in (self.udp, self.tcp):
            # Wakes the thread that waits for it, as closing alone does not.
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()
        for thread in self.threads:
            thread.join(5)
