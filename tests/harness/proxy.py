"""A unix-socket proxy that passes bytes through untouched and keeps a copy of each request and answer.

The copies are parsed on the side, so the proxy cannot change what client and engine see: chunking, early answers,
hijacked connections and half-closes go through as they are.
"""

import array
import fcntl
import socket
import termios
import threading
import time
from collections import deque

from harness.http import Exchange, parse_head

KEEP = 4 << 20


class MessageParser:
    """Incremental parser of one direction of an HTTP/1.1 connection."""

    def __init__(self, on_head, on_body, on_end):
        self.on_head, self.on_body, self.on_end = on_head, on_body, on_end
        self.buffer = b""
        self.state = "head"
        self.left = 0

    def feed(self, data):
        self.buffer += data
        while self._step():
            pass

    def finish(self):
        """The stream ended: a body without a length ends with it."""
        if self.state == "close":
            self.on_end()

    def _step(self):
        return getattr(self, f"_{self.state}")()

    def _head(self):
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.buffer = rest
        first, headers = parse_head(head.lstrip(b"\r\n"))
        self.state, self.left = self.on_head(first, headers)
        if self.state == "length" and not self.left:
            self._end()
        return True

    def _length(self):
        data, self.buffer = self.buffer[:self.left], self.buffer[self.left:]
        if not data:
            return False
        self.left -= len(data)
        self.on_body(data)
        if not self.left:
            self._end()
        return True

    def _close(self):
        data, self.buffer = self.buffer, b""
        if data:
            self.on_body(data)
        return False

    def _hijacked(self):
        self.buffer = b""
        return False

    def _chunk(self):
        line, mark, rest = self.buffer.partition(b"\r\n")
        if not mark:
            return False
        size = int(line.split(b";")[0], 16)
        self.buffer = rest
        self.state, self.left = ("data", size) if size else ("trailer", 0)
        return True

    def _data(self):
        data, self.buffer = self.buffer[:self.left], self.buffer[self.left:]
        if data:
            self.left -= len(data)
            self.on_body(data)
        if self.left:
            return False
        self.state = "crlf"
        return True

    def _crlf(self):
        if len(self.buffer) < 2:
            return False
        self.buffer = self.buffer[2:]
        self.state = "chunk"
        return True

    def _trailer(self):
        line, mark, rest = self.buffer.partition(b"\r\n")
        if not mark:
            return False
        self.buffer = rest
        if not line:
            self._end()
        return True

    def _end(self):
        self.state = "head"
        self.on_end()


class Link:
    """One client connection and its engine connection."""

    def __init__(self, client, engine, recorder):
        self.client, self.engine, self.recorder = client, engine, recorder
        self.pending = deque()
        self.current = None
        self.answered = None
        self.upgraded = False
        self.requests = MessageParser(self._request, self._request_body, lambda: None)
        self.answers = MessageParser(self._answer, self._answer_body, self._answer_end)

    def _request(self, first, headers):
        method, target, _ = first.split(" ", 2) if first.count(" ") >= 2 else (first, "", "")
        target = first[len(method) + 1:].rsplit(" ", 1)[0]
        self.current = Exchange(method=method, target=target, request_headers=headers)
        self.pending.append(self.current)
        self.recorder.add(self.current)
        return body_state(headers, "length")

    def _request_body(self, data):
        if len(self.current.request_body) < KEEP:
            self.current.request_body += data

    def _answer(self, first, headers):
        status = int(first.split()[1])
        if status == 100:
            return "length", 0
        exchange = self.answered = self.pending.popleft()
        exchange.headers = headers
        exchange.status = status
        raw = "-stream" in headers.get("content-type", "") and "content-length" not in headers
        if status == 101 or (status == 200 and raw and "transfer-encoding" not in headers):
            exchange.hijacked = True
            self.requests.state = "hijacked"
            return "hijacked", 0
        if exchange.method == "HEAD" or status in (204, 304):
            return "length", 0
        return body_state(headers, "close")

    def _answer_body(self, data):
        if len(self.answered.body) < KEEP:
            self.answered.body += data

    def _answer_end(self):
        if self.answered is not None:
            self.answered.complete = len(self.answered.body) < KEEP

    def run(self):
        threading.Thread(target=self._pump, args=(self.client, self.engine, self.requests), daemon=True).start()
        self._pump(self.engine, self.client, self.answers)

    def _pump(self, source, sink, parser):
        try:
            while data := source.recv(65536):
                try:
                    parser.feed(data)
                except Exception as error:  # A copy that cannot be parsed must not disturb the traffic.
                    self.recorder.add(Exchange(method="PROXY", target=repr(error)))
                    parser.state = "hijacked"
                self._pass_on(data, sink, parser)
            parser.finish()
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


    def _pass_on(self, data, sink, parser):
        """Send what came. The head of a hijacked answer goes alone, and nothing follows before it was read: docker-py
        reads it through a buffer that it then forgets, with whatever came in the same moment. Without a proxy between
        them the engine sees to that."""
        head, mark, rest = data.partition(b"\r\n\r\n")
        if parser is self.answers and parser.state == "hijacked" and mark and not self.upgraded:
            sink.sendall(head + mark)
            wait_until_read(sink)
            data = rest
        if parser.state == "hijacked":
            self.upgraded = True
        sink.sendall(data)


def wait_until_read(sink):
    """Until the client has taken all that it was sent; the kernel may go on to count one byte."""
    unread, deadline = array.array("i", [2]), time.monotonic() + 10
    while unread[0] > 1 and time.monotonic() < deadline:
        time.sleep(0.001)
        fcntl.ioctl(sink, termios.TIOCOUTQ, unread)


def body_state(headers, without):
    """How the body after a head is delimited."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return "chunk", 0
    if "content-length" in headers:
        return "length", int(headers["content-length"])
    return without, 0


class Proxy:
    """Listens on `path`, forwards to `engine_path`, records into `recorder`."""

    def __init__(self, path, engine_path, recorder):
        self.engine_path = engine_path
        self.recorder = recorder
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            engine.connect(str(self.engine_path))
            Link(client, engine, self.recorder).run()
        except OSError:
            pass
        # The two pumps share the sockets; they are closed when the last reference goes.

    def close(self):
        self.listener.close()
