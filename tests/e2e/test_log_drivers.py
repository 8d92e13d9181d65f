"""Log drivers that send output elsewhere, against receivers in the engine's host."""

import gzip
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import zlib

import pytest

from harness.engine import wait_until
from harness.sandbox import die_with_parent


class Receiver:
    """Accepts connections, or takes datagrams, and keeps all bytes."""

    def __init__(self, engine, kind=socket.SOCK_STREAM, port=0, answer=None, tls=None, path=None):
        self.answer, self.tls, self.path = answer, tls, path
        self.received, self.datagrams, self.connections = bytearray(), [], []
        if path is None:
            self.socket = engine.sandbox.socket("host", kind)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(("127.0.0.1", port))
            self.port = self.socket.getsockname()[1]
        else:
            self.socket = socket.socket(socket.AF_UNIX, kind)
            self.socket.bind(str(path))
        self.socket.settimeout(None)
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        work = self._accept if kind == socket.SOCK_STREAM else self._take
        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def _take(self):
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            except OSError:
                return
            for _, kind, payload in ancillary:
                if kind == socket.SCM_RIGHTS:
                    descriptor = struct.unpack("i", payload[:4])[0]
                    with os.fdopen(descriptor, "rb") as file:
                        file.seek(0)
                        data += file.read()
            self.datagrams.append(data)

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            if self.answer:
                self.answer(self, connection)
                return
            while data := connection.recv(1 << 16):
                self.received += data
        except OSError:
            pass
        finally:
            connection.close()

    def close(self):
        for connection in [self.socket, *self.connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def wait(self, what):
        wait_until(lambda: what.encode() in bytes(self.received) or any(what.encode() in d for d in self.datagrams),
                   what=f"{what!r} at the receiver")
        return bytes(self.received).decode(errors="replace")


@pytest.fixture
def receiver(engine):
    made = []

    def make(*arguments, **options):
        made.append(Receiver(engine, *arguments, **options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def logging(driver, **options):
    config = {key.replace("_", "-"): value for key, value in options.items()}
    return {"LogConfig": {"Type": driver, "Config": config}}


def run(engine, command, host, **config):
    container = engine.start_container(command, host=host, **config)
    container.wait()
    return container


# syslog

def test_syslog_udp(engine, receiver):
    server = receiver(socket.SOCK_DGRAM)
    host = logging("syslog", syslog_address=f"udp://127.0.0.1:{server.port}", syslog_facility="local3", tag="app")
    run(engine, "echo out; echo err >&2", host)
    wait_until(lambda: len(server.datagrams) == 2)
    messages = sorted(d.decode() for d in server.datagrams)
    assert messages[0].startswith("<155>") and messages[0].endswith(": err\n")
    assert messages[1].startswith("<158>") and messages[1].endswith(": out\n")
    assert " app[" in messages[0]


@pytest.mark.parametrize("form", ["rfc3164", "rfc5424", "rfc5424micro"])
def test_syslog_tcp_formats(engine, receiver, form):
    server = receiver()
    host = logging("syslog", syslog_address=f"tcp://127.0.0.1:{server.port}", syslog_format=form, tag="{{.Name}}/{{.ID}}")
    container = run(engine, "echo hello", host)
    text = server.wait("hello\n")
    tag = f"{container.inspect()['Name'][1:]}/{container.id[:12]}"
    assert f" sandbox {tag}" in text
    assert text.startswith("<30>1 " if form != "rfc3164" else "<30>")


def certificate(directory):
    """A server's side of TLS, with a certificate that an authority of its own has signed."""
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=directory)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=server")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "cert.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def test_syslog_tls(engine, receiver, tmp_path):
    server = receiver(tls=certificate(tmp_path))
    host = logging("syslog", syslog_address=f"tcp+tls://127.0.0.1:{server.port}",
                   syslog_tls_ca_cert=str(tmp_path / "ca.pem"))
    run(engine, "echo secret", host)
    server.wait("secret\n")
    untrusted = logging("syslog", syslog_address=f"tcp+tls://127.0.0.1:{server.port}")
    container = engine.create("true", host=untrusted)
    assert "failed to initialize logging driver" in container.start(expect=500).message


def test_syslog_unix(engine, receiver):
    path = engine.dir / "log.sock"
    server = receiver(socket.SOCK_DGRAM, path=path)
    run(engine, "echo local", logging("syslog", syslog_address=f"unixgram://{path}"))
    server.wait(": local\n")


def test_syslog_to_rsyslog(engine, tmp_path):
    """A real server, which parses what it gets."""
    program = shutil.which("rsyslogd")
    assert program, "rsyslog is missing"
    out = engine.dir / "rsyslog.out"
    conf = engine.dir / "rsyslog.conf"
    conf.write_text(f"""module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="5514")
template(name="t" type="string" string="%syslogseverity%|%programname%|%hostname%|%msg%\\n")
action(type="omfile" file="{out}" template="t")
""")
    server = subprocess.Popen(engine.sandbox.enter([program, "-n", "-f", conf, "-i", engine.dir / "rsyslog.pid"]),
                              preexec_fn=die_with_parent)
    try:
        def listening():
            probe = engine.sandbox.socket("host")
            try:
                probe.connect(("127.0.0.1", 5514))
                return True
            except OSError:
                return False
            finally:
                probe.close()
        wait_until(listening, what="rsyslogd")
        host = logging("syslog", syslog_address="tcp://127.0.0.1:5514", syslog_format="rfc5424", tag="web")
        run(engine, "echo one; echo two >&2", host)
        wait_until(lambda: out.exists() and len(out.read_text().splitlines()) >= 2)
        lines = sorted(out.read_text().splitlines())
        assert lines[-2:] == ["3|web|sandbox|two", "6|web|sandbox|one"] or sorted(lines) == [
            "3|web|sandbox| two", "6|web|sandbox| one"], lines
    finally:
        server.kill()
        server.wait()


# gelf

def gelf_messages(server):
    chunks, whole = {}, []
    for datagram in server.datagrams:
        if datagram[:2] == b"\x1e\x0f":
            parts = chunks.setdefault(datagram[2:10], {})
            parts[datagram[10]] = datagram[12:]
            if len(parts) == datagram[11]:
                whole.append(b"".join(parts[n] for n in range(datagram[11])))
        else:
            whole.append(datagram)
    return [json.loads(unpack(message)) for message in whole]


def unpack(message):
    if message[:2] == b"\x1f\x8b":
        return gzip.decompress(message)
    return zlib.decompress(message) if message[:1] == b"\x78" else message


@pytest.mark.parametrize("compression", ["gzip", "zlib", "none"])
def test_gelf_udp(engine, receiver, compression):
    server = receiver(socket.SOCK_DGRAM)
    host = logging("gelf", gelf_address=f"udp://127.0.0.1:{server.port}", gelf_compression_type=compression,
                   labels="team", env="STAGE")
    container = run(engine, "echo out; head -c 6000 /dev/urandom | base64 -w0 >&2", host,
                    Labels={"team": "core", "other": "x"}, Env=["STAGE=test"])
    wait_until(lambda: len(gelf_messages(server)) == 2)
    by_level = {message["level"]: message for message in gelf_messages(server)}
    out = by_level[6]
    assert (out["short_message"], out["version"], out["host"]) == ("out", "1.1", "sandbox")
    assert (out["_team"], out["_STAGE"], "_other" in out) == ("core", "test", False)
    assert out["_container_id"] == container.id
    assert out["_container_name"] == container.inspect()["Name"][1:]
    assert out["_tag"] == container.id[:12]
    assert len(by_level[3]["short_message"]) == 8000


def test_gelf_tcp(engine, receiver):
    server = receiver()
    run(engine, "echo one; echo two", logging("gelf", gelf_address=f"tcp://127.0.0.1:{server.port}"))
    server.wait("two")
    messages = [json.loads(part) for part in bytes(server.received).split(b"\0") if part]
    assert [message["short_message"] for message in messages] == ["one", "two"]


# fluentd

class Unpacker:
    """As much of MessagePack as is needed to read forwarded events."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        if self.at + length > len(self.data):
            raise EOFError
        self.at += length
        return self.data[self.at - length:self.at]

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def value(self):
        tag = self.number(1)
        if tag < 0x80:
            return tag
        if tag < 0x90:
            return {self.value(): self.value() for _ in range(tag & 15)}
        if tag < 0xa0:
            return [self.value() for _ in range(tag & 15)]
        if tag < 0xc0:
            return self.take(tag & 31).decode(errors="replace")
        if tag == 0xc0:
            return None
        if tag in (0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb):
            width = {0xc4: 1, 0xc5: 2, 0xc6: 4, 0xd9: 1, 0xda: 2, 0xdb: 4}[tag]
            return self.take(self.number(width)).decode(errors="replace")
        if tag in (0xcc, 0xcd, 0xce, 0xcf):
            return self.number(1 << (tag - 0xcc))
        if tag in (0xd0, 0xd1, 0xd2, 0xd3):
            return self.number(1 << (tag - 0xd0))
        if tag == 0xd7:
            self.take(1)
            return (self.number(4), self.number(4))
        if tag in (0xde, 0xdf):
            return {self.value(): self.value() for _ in range(self.number(2 if tag == 0xde else 4))}
        if tag in (0xdc, 0xdd):
            return [self.value() for _ in range(self.number(2 if tag == 0xdc else 4))]
        raise ValueError(hex(tag))


def events(data):
    unpacker, found = Unpacker(bytes(data)), []
    try:
        while unpacker.at < len(unpacker.data):
            found.append(unpacker.value())
    except EOFError:
        pass
    return found


def test_fluentd(engine, receiver):
    server = receiver()
    host = logging("fluentd", fluentd_address=f"127.0.0.1:{server.port}", tag="my.{{.ID}}")
    container = run(engine, "echo out; echo err >&2", host)
    wait_until(lambda: len(events(server.received)) == 2)
    records = {event[2]["source"]: event for event in events(server.received)}
    tag, time, record = records["stdout"][:3]
    assert tag == f"my.{container.id[:12]}"
    assert isinstance(time, int)
    assert record["log"] == "out" and records["stderr"][2]["log"] == "err"
    assert record["container_id"] == container.id
    assert record["container_name"] == container.inspect()["Name"]


def test_fluentd_pieces_and_precision(engine, receiver):
    server = receiver()
    host = logging("fluentd", fluentd_address=f"127.0.0.1:{server.port}", fluentd_sub_second_precision="true")
    run(engine, "head -c 40000 /dev/zero | tr '\\0' x; echo", host)
    wait_until(lambda: len(events(server.received)) == 3)
    found = events(server.received)
    assert all(isinstance(event[1], tuple) for event in found)
    records = [event[2] for event in found]
    assert "".join(record["log"] for record in records) == "x" * 40000
    assert [record["partial_ordinal"] for record in records] == ["1", "2", "3"]
    assert [record["partial_last"] for record in records] == ["false", "false", "true"]
    assert len({record["partial_id"] for record in records}) == 1


def acknowledge(server, connection):
    seen = 0
    while data := connection.recv(1 << 16):
        server.received += data
        found = events(server.received)
        for event in found[seen:]:
            chunk = event[3]["chunk"].encode()
            connection.sendall(b"\x81\xa3ack" + bytes([0xa0 | len(chunk)]) + chunk)
        seen = len(found)


def test_fluentd_acknowledged(engine, receiver):
    server = receiver(answer=acknowledge)
    host = logging("fluentd", fluentd_address=f"127.0.0.1:{server.port}", fluentd_request_ack="true")
    run(engine, "for i in 1 2 3; do echo line $i; done", host)
    wait_until(lambda: len(events(server.received)) == 3)
    assert [event[2]["log"] for event in events(server.received)] == ["line 1", "line 2", "line 3"]


def test_fluentd_async_starts_without_a_server(engine):
    host = logging("fluentd", fluentd_address="127.0.0.1:1", fluentd_async="true")
    container = engine.start_container("echo hello", host=host)
    container.wait()


# splunk

def collector(server, connection):
    """An HTTP event collector: keeps bodies, refuses other tokens."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(1 << 16)
    refused = lines[0].startswith("POST") and headers["authorization"] != "Splunk token"
    if refused or getattr(server, "refuses", False):
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nwrong")
        return
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    server.received += body
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def splunk_events(server):
    decoder, text, found = json.JSONDecoder(), bytes(server.received).decode(), []
    while text:
        event, end = decoder.raw_decode(text)
        found.append(event)
        text = text[end:].lstrip()
    return found


@pytest.mark.parametrize("form, compressed", [("inline", "false"), ("json", "true"), ("raw", "false")])
def test_splunk(engine, receiver, form, compressed):
    server = receiver(answer=collector)
    host = logging("splunk", splunk_url=f"http://127.0.0.1:{server.port}", splunk_token="token", splunk_format=form,
                   splunk_gzip=compressed, splunk_index="main", tag="t", labels="team")
    run(engine, "echo '{\"a\":1}'", host, Labels={"team": "core"})
    wait_until(lambda: splunk_events(server), what="an event")
    (event,) = splunk_events(server)
    assert (event["host"], event["index"]) == ("sandbox", "main")
    assert float(event["time"]) > 1.6e9
    if form == "raw":
        assert event["event"] == "t team=core {\"a\":1}"
    else:
        assert event["event"]["line"] == ({"a": 1} if form == "json" else '{"a":1}')
        assert event["event"]["source"] == "stdout" and event["event"]["attrs"] == {"team": "core"}


def test_splunk_verifies_the_connection(engine, receiver):
    server = receiver(answer=collector)
    server.refuses = True
    host = logging("splunk", splunk_url=f"http://127.0.0.1:{server.port}", splunk_token="token")
    container = engine.create("true", host=host)
    message = container.start(expect=500).message
    assert "splunk: failed to verify connection" in message and "403" in message


# journald

def journal_fields(datagram):
    fields, at = {}, 0
    while at < len(datagram):
        end = datagram.index(b"\n", at)
        line = datagram[at:end]
        if b"=" in line:
            key, _, value = line.partition(b"=")
            at = end + 1
        else:
            key = line
            length = int.from_bytes(datagram[end + 1:end + 9], "little")
            value = datagram[end + 9:end + 9 + length]
            at = end + 10 + length
        fields[key.decode()] = value.decode(errors="replace")
    return fields


@pytest.fixture
def journal(engine, receiver):
    """A socket where journald's is, in the engine's host only."""
    engine.sandbox.run(["mkdir", "-p", "/run/systemd"])
    engine.sandbox.run(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd"])
    engine.sandbox.run(["mkdir", "/run/systemd/journal"])
    yield receiver(socket.SOCK_DGRAM, path=engine.sandbox.root / "run/systemd/journal/socket")
    engine.sandbox.run(["umount", "-l", "/run/systemd"])


def test_journald(engine, journal):
    container = run(engine, "echo out; echo err >&2", logging("journald", labels="team"), Labels={"team": "core"})
    wait_until(lambda: len(journal.datagrams) == 2)
    entries = {fields["PRIORITY"]: fields for fields in map(journal_fields, journal.datagrams)}
    out = entries["6"]
    assert (out["MESSAGE"], entries["3"]["MESSAGE"], out["TEAM"]) == ("out", "err", "core")
    assert (out["CONTAINER_ID"], out["CONTAINER_ID_FULL"]) == (container.id[:12], container.id)
    assert out["CONTAINER_NAME"] == container.inspect()["Name"][1:]
    assert out["SYSLOG_IDENTIFIER"] == container.id[:12]


@pytest.mark.differs(reference="needs the journal's files for reading")
def test_journald_reads_back(engine, journal):
    container = run(engine, "echo kept", logging("journald"))
    assert container.logs()[0] == "kept\n"


def test_journald_is_missing(engine):
    container = engine.create("true", host=logging("journald"))
    assert "journald is not enabled on this host" in container.start(expect=500).message


# All of them

def test_read_back(engine, receiver):
    """Dual logging: `docker logs` works whatever the driver."""
    server = receiver()
    address = f"tcp://127.0.0.1:{server.port}"
    container = run(engine, "echo out; echo err >&2", logging("syslog", syslog_address=address))
    assert container.logs() == ("out\n", "err\n")
    disabled = run(engine, "echo out", logging("syslog", syslog_address=address, cache_disabled="true"))
    answer = disabled.api.get(f"{disabled.path}/logs", stdout=True)
    assert answer.status in (500, 501)
    assert "configured logging driver does not support reading" in answer.message


def test_unreachable(engine):
    container = engine.create("true", host=logging("syslog", syslog_address="tcp://127.0.0.1:1"))
    message = container.start(expect=500).message
    assert "failed to initialize logging driver" in message and "connection refused" in message
    assert container.state["Status"] == "created"


@pytest.mark.parametrize("driver, options, part", [
    ("syslog", {"nope": "1"}, "unknown log opt 'nope' for syslog log driver"),
    ("syslog", {"syslog_facility": "x"}, "invalid syslog facility"),
    ("syslog", {"syslog_address": "127.0.0.1"}, "syslog-address should be in form proto://address"),
    ("gelf", {}, "gelf-address is a required parameter"),
    ("gelf", {"gelf_address": "udp://127.0.0.1"}, "please provide gelf-address as proto://host:port"),
    ("fluentd", {"fluentd_address": "corrupted://x"}, "invalid"),
    ("splunk", {"splunk_token": "x"}, "splunk-url is expected"),
    ("json-file", {"mode": "sometimes"}, "logging mode not supported: sometimes"),
    ("json-file", {"max_buffer_size": "1m"}, "max-buffer-size option is only supported with 'mode=non-blocking'"),
])
def test_bad_options(engine, driver, options, part):
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "HostConfig": logging(driver, **options)}
    answer = engine.api.post("/containers/create", body)
    if answer.status == 201:
        # The reference finds some of these only when it starts the driver.
        answer = engine.api.post(f"/containers/{answer.json['Id']}/start", expect=500)
    assert part in answer.message


@pytest.mark.differs(reference="loses what the broken connection had taken")
def test_a_receiver_that_restarts_loses_nothing(engine, receiver):
    server = receiver()
    host = logging("fluentd", fluentd_address=f"127.0.0.1:{server.port}")
    command = "echo first; while [ ! -e /go ]; do sleep 0.05; done; for i in $(seq 50); do echo line $i; done; sleep 60"
    container = engine.start_container(command, host=host)
    server.wait("first")
    server.close()
    assert container.exec("touch /go")[0] == 0
    container.wait_log("line 50")
    second = receiver(port=server.port)
    wait_until(lambda: len(events(second.received)) >= 50)
    assert [event[2]["log"] for event in events(second.received)] == [f"line {n}" for n in range(1, 51)]


def stalled(server, connection):
    """Takes nothing until it is told to."""
    server.go.wait()
    while data := connection.recv(1 << 16):
        server.received += data


@pytest.mark.differs(reference="the end of a container waits for a stalled driver")
def test_a_stalled_receiver_does_not_stop_a_non_blocking_container(engine, receiver):
    server = receiver(answer=stalled)
    server.go = threading.Event()
    host = logging("gelf", gelf_address=f"tcp://127.0.0.1:{server.port}", mode="non-blocking", max_buffer_size="100k")
    container = engine.start_container("head -c 20000000 /dev/zero | tr '\\0' x | fold -w 100; echo done", host=host)
    container.wait()
    assert container.state["ExitCode"] == 0
    server.go.set()


@pytest.mark.differs(reference="a restart of the daemon breaks the pipe of a driver without live restore")
def test_logging_goes_on_without_the_daemon(engine, receiver):
    server = receiver()
    host = logging("syslog", syslog_address=f"tcp://127.0.0.1:{server.port}")
    command = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done"
    container = engine.start_container(command, host=host)
    server.wait("line 3\n")
    engine.kill()
    seen = bytes(server.received).count(b"\n")
    server.wait(f"line {seen + 20}\n")
    engine.start()
    assert container.state["Running"]
    container.kill()
    container.wait()
    # Whole lines: the last ones may be on their way.
    wait_until(lambda: bytes(server.received).endswith(b"\n"))
    numbers = [int(line.rsplit(" ", 1)[1]) for line in bytes(server.received).decode().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.differs(reference="its drivers are part of the daemon")
def test_a_driver_that_dies_is_replaced(engine, receiver):
    server = receiver()
    host = logging("fluentd", fluentd_address=f"127.0.0.1:{server.port}")
    container = engine.start_container("i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done", host=host)
    server.wait("line 5")
    (pid,) = [pid for pid, line in engine.sandbox.processes().items() if line == f"gantry-log {container.id}"]
    engine.sandbox.run(["kill", "-9", str(pid)])
    before = len(events(server.received))
    wait_until(lambda: len(server.connections) == 2 and len(events(server.received)) > before + 5)
    container.kill()
    container.wait()


def test_no_driver_process_stays(engine, receiver):
    server = receiver()
    host = logging("syslog", syslog_address=f"tcp://127.0.0.1:{server.port}")
    container = run(engine, "echo bye", host)
    server.wait("bye")
    container.remove()
    # Those of other tests may still be trying to reach receivers that are gone.
    wait_until(lambda: f"gantry-log {container.id}" not in engine.sandbox.processes().values())
