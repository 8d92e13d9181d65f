"""Attach: hijacked with 101 and in the older way, half-close, detach keys, logs before the stream, several clients."""

import os
import threading
import time

import pytest

from harness.engine import wait_until
from harness.http import demultiplex


def drain(answer):
    """Everything up to the end of the connection."""
    data = b""
    while part := answer.connection.some():
        data += part
    answer.close()
    return data


@pytest.mark.parametrize("upgrade", [True, False])
def test_output(engine, upgrade):
    container = engine.create("echo out; echo err >&2")
    answer = container.api.request(
        "POST", "", raw_target=f"/v1.41{container.path}/attach?stream=1&stdout=1&stderr=1", hijack=True,
        headers=None if upgrade else {"Upgrade": None, "Connection": None})
    assert answer.status == (101 if upgrade else 200)
    assert answer.headers["content-type"] == "application/vnd.docker.raw-stream"
    if upgrade:
        assert answer.headers["upgrade"].lower() == "tcp"
    container.start()
    assert demultiplex(drain(answer)) == (b"out\n", b"err\n")


def stream(container, upgrade=True, **query):
    """Attach with stream=1 and whatever else."""
    pairs = "&".join(f"{k}={v}" for k, v in query.items())
    answer = container.api.request("POST", "", raw_target=f"/v1.41{container.path}/attach?stream=1&{pairs}", hijack=True,
                                   headers=None if upgrade else {"Upgrade": None, "Connection": None})
    assert answer.status == (101 if upgrade else 200), answer.body
    return answer


@pytest.mark.parametrize("upgrade", [True, False])
def test_stdin_and_half_close(engine, upgrade):
    """The end of input reaches the program; its last words reach us."""
    container = engine.create("cat; echo done", OpenStdin=True, StdinOnce=True, AttachStdin=True)
    answer = stream(container, upgrade, stdin=1, stdout=1, stderr=1)
    container.start()
    answer.connection.write(b"hello\n")
    answer.connection.half_close()
    assert demultiplex(drain(answer)) == (b"hello\ndone\n", b"")
    assert container.wait() == 0


def test_much_stdin(engine):
    container = engine.create("md5sum", OpenStdin=True, StdinOnce=True)
    answer = stream(container, stdin=1, stdout=1)
    container.start()
    import hashlib
    data = bytes(range(256)) * 20000
    answer.connection.write(data)
    answer.connection.half_close()
    assert demultiplex(drain(answer))[0].split()[0].decode() == hashlib.md5(data).hexdigest()


def test_stdin_stays_open_for_the_next(engine):
    """Without StdinOnce the input survives a client."""
    container = engine.start_container("while read line; do echo got $line; done; echo end", OpenStdin=True)
    for word in (b"one", b"two"):
        answer = stream(container, stdin=1, stdout=1)
        answer.connection.write(word + b"\n")
        container.wait_log("got " + word.decode())
        answer.close()
    assert container.state["Running"]
    container.kill()


def test_tty_is_raw(engine):
    container = engine.create("read line; echo got $line", Tty=True, OpenStdin=True)
    answer = stream(container, stdin=1, stdout=1)
    container.start()
    answer.connection.write(b"word\n")
    data = drain(answer)
    assert data.startswith(b"word\r\n") and data.endswith(b"got word\r\n")


@pytest.mark.parametrize("keys, typed", [(None, b"\x10\x11"), ("ctrl-a", b"\x01"), ("ctrl-x,a,b", b"\x18ab"), ("ctrl-@", b"\x00")])
def test_detach_keys(engine, keys, typed):
    container = engine.start_container(["cat"], Tty=True, OpenStdin=True)
    query = {"detachKeys": keys} if keys else {}
    answer = stream(container, stdin=1, stdout=1, **query)
    answer.connection.write(b"before\n")
    assert answer.connection.until(b"before") is not None
    answer.connection.write(typed)
    drain(answer)
    assert container.state["Running"]
    container.kill()


def test_without_a_terminal_detach_keys_are_input(engine):
    container = engine.start_container("read line; echo \"$line\" | od -c | head -1",
                                       OpenStdin=True, Tty=False)
    answer = stream(container, stdin=1, stdout=1, detachKeys="ctrl-p,ctrl-q")
    answer.connection.write(b"a\x10\x11b\n")
    out, _ = demultiplex(drain(answer))
    assert b"a 020 021   b" in out


def test_bad_detach_keys(engine):
    container = engine.start_container(["cat"], OpenStdin=True)
    answer = container.api.post(f"{container.path}/attach", stdin=True, detachKeys="nonsense-key")
    assert answer.status == 400 or engine.is_reference
    container.kill()


def test_logs_then_stream(engine):
    container = engine.start_container("echo old; read line; echo new $line", OpenStdin=True)
    container.wait_log("old")
    answer = stream(container, logs=1, stdin=1, stdout=1)
    answer.connection.write(b"x\n")
    assert demultiplex(drain(answer))[0] == b"old\nnew x\n"


def test_stream_alone_has_no_past(engine):
    container = engine.start_container("echo old; read line; echo new", OpenStdin=True)
    container.wait_log("old")
    answer = stream(container, stdin=1, stdout=1)
    answer.connection.write(b"x\n")
    assert demultiplex(drain(answer))[0] == b"new\n"


def test_logs_alone_end(engine):
    container = engine.start_container("echo past; exec sleep 1000")
    container.wait_log("past")
    answer = container.api.request("POST", "", raw_target=f"/v1.41{container.path}/attach?logs=1&stdout=1", hijack=True)
    assert demultiplex(drain(answer))[0] == b"past\n"
    container.kill()


def test_several_clients(engine):
    container = engine.create("read line; echo to all", OpenStdin=True)
    answers = [stream(container, stdout=1) for _ in range(4)]
    writer = stream(container, stdin=1)
    container.start()
    writer.connection.write(b"go\n")
    for answer in answers:
        assert demultiplex(drain(answer))[0] == b"to all\n"


def test_a_client_that_does_not_read_loses_nothing_for_others(engine):
    """It holds the container back, as a full pipe would; when it goes the container goes on, and the log is whole."""
    container = engine.create(["probe", "lines", "40000"])
    stuck = stream(container, stdout=1)
    container.start()
    stuck.close()
    assert container.wait() == 0
    assert len(container.logs()[0].splitlines()) == 40000


def test_a_client_that_leaves(engine):
    container = engine.start_container(["probe", "lines", "-1", "1000"])
    for _ in range(5):
        stream(container, stdout=1).close()
    assert container.state["Running"]
    container.kill()


def test_attach_to_what_is_stopped(engine):
    """Created: waits for the start. Finished: waits for the next start too; both end with the run."""
    container = engine.create("echo run")
    for _ in range(2):
        answer = stream(container, stdout=1)
        container.start()
        assert demultiplex(drain(answer))[0] == b"run\n"
        container.wait()


def test_paused(engine):
    container = engine.start_container()
    container.api.post(f"{container.path}/pause", expect=204)
    text = container.api.post(f"{container.path}/attach", stdout=True, expect=409).text
    assert f"container {container.id} is paused, unpause the container before attach" in text
    container.api.post(f"{container.path}/unpause", expect=204)
    container.kill()


def test_missing(api):
    assert "No such container: none" in api.post("/containers/none/attach", stdout=True, expect=404).text


def websocket(container, version="1.41", headers=None, **query):
    """Opens one; `query` as attach has it."""
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return container.api.request(
        "GET", "", raw_target=f"/v{version}{container.path}/attach/ws?{text}", hijack=True,
        headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                 "Sec-WebSocket-Version": "13", "Origin": "http://localhost", **(headers or {})})


def send(answer, opcode, payload, last=True):
    mask = b"\1\2\3\4"
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    answer.connection.write(bytes([(0x80 if last else 0) | opcode, 0x80 | len(payload)]) + mask + masked)


def frames(answer):
    """(opcode, payload) up to the end of the connection."""
    while head := answer.connection.exactly(2):
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(answer.connection.exactly(2), "big")
        yield head[0] & 0x0F, answer.connection.exactly(length)


@pytest.mark.parametrize("api, opcode", [("1.41", 2), ("1.28", 2), ("1.27", 1)])
def test_websocket(engine, api, opcode):
    """The same over a WebSocket: text in, bytes out, unframed by Docker's header."""
    container = engine.start_container("read line; echo got $line; sleep 0.3; echo err >&2", OpenStdin=True)
    answer = websocket(container, version=api, stream=1, stdin=1, stdout=1, stderr=1)
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    send(answer, 1, b"hello\n")
    assert list(frames(answer)) == [(opcode, b"got hello\n"), (opcode, b"err\n"), (8, b"\x03\xe8")]


def test_websocket_in_pieces_and_its_end(engine):
    container = engine.start_container(["cat"], OpenStdin=True, StdinOnce=True)
    answer = websocket(container, stream=1, stdin=1, stdout=1)
    send(answer, 2, b"ab", last=False)
    send(answer, 9, b"ping")
    send(answer, 0, b"cd\n")
    found = frames(answer)
    pongs, output = [], b""
    # The program may have answered the first piece by itself.
    while not pongs or output != b"abcd\n":
        kind, data = next(found)
        if kind == 10:
            pongs.append(data)
        else:
            assert kind == 2
            output += data
    assert pongs == [b"ping"]
    send(answer, 8, b"\x03\xe8")
    assert list(found) == [(8, b"\x03\xe8")]
    assert container.wait() == 0


def test_websocket_of_the_log(engine):
    container = engine.start_container("echo before")
    container.wait()
    assert list(frames(websocket(container, logs=1, stdout=1))) == [(2, b"before\n"), (8, b"\x03\xe8")]


def test_websocket_detaches(engine):
    container = engine.start_container(["cat"], OpenStdin=True, Tty=True)
    answer = websocket(container, stream=1, stdin=1, stdout=1, detachKeys="a")
    send(answer, 1, b"a")
    assert list(frames(answer))[-1] == (8, b"\x03\xe8")
    assert container.state["Status"] == "running"


@pytest.mark.parametrize("headers", [{"Upgrade": None}, {"Connection": "close"}, {"Sec-WebSocket-Version": "8"},
                                     {"Sec-WebSocket-Key": None}], ids=str)
def test_bad_handshakes(engine, headers):
    container = engine.start_container()
    assert websocket(container, headers=headers, stream=1, stdout=1).status == 400


def test_websocket_to_nobody(engine):
    container = engine.create()
    container.remove()
    assert websocket(container, stream=1, stdout=1).status == 404


@pytest.mark.differs(reference="20.10 keeps them until there is output")
@pytest.mark.parametrize("what", ["attach", "exec"])
def test_a_silent_client_that_goes_away_is_let_go(engine, what):
    container = engine.start_container(["sleep", "1000"])
    descriptors = lambda: len(os.listdir(f"/proc/{engine.pid}/fd"))
    before = descriptors()
    clients = []
    # What answered last may still be open when they are counted: more clients than that, of whom an exec's have pipes besides.
    for _ in range(20 if what == "attach" else 10):
        if what == "attach":
            clients.append(container.api.request(
                "POST", "", raw_target=f"/v1.41{container.path}/attach?stream=1&stdout=1", hijack=True))
        else:
            made = container.api.post(f"{container.path}/exec", {"Cmd": ["sleep", "1000"], "AttachStdout": True}, expect=201)
            clients.append(container.api.post(f"/exec/{made.json['Id']}/start", {"Detach": False}, stream=True, hijack=True))
    assert descriptors() >= before + 10
    for client in clients:
        client.close()
    # The pipe of an exec's output is read on until its end.
    left = 0 if what == "attach" else 10
    wait_until(lambda: descriptors() <= before + left + 2)


def test_resize(engine):
    container = engine.start_container(["probe", "winsize"], Tty=True)
    container.api.post(f"{container.path}/resize", h=40, w=120, expect=200)
    container.wait_log("size 40 120")
    container.kill()


def test_init_and_a_terminal(engine):
    """The program, not init, owns the terminal: it may read it, and ctrl-c is for it."""
    box = engine.create("read line; echo got $line; trap 'exit 7' INT; echo armed; while :; do sleep 0.1; done",
                        Tty=True, OpenStdin=True, host={"Init": True})
    answer = stream(box, stdin=1, stdout=1)
    box.start()
    answer.connection.write(b"text\n")
    assert answer.connection.until(b"armed") is not None
    answer.connection.write(b"\x03")
    assert box.wait() == 7
    answer.close()


def test_console_size_at_create(engine):
    api = engine.api if engine.is_reference else engine.api.at("1.44")
    container = engine.start_container(["probe", "winsize"], Tty=True, host={"ConsoleSize": [33, 99]}, api=api)
    container.wait_log("size ")
    if not engine.is_reference:  # 20.10 has ConsoleSize for Windows alone.
        assert "size 33 99" in container.logs(tty=True)[0]
    container.kill()


@pytest.mark.parametrize("query", [{"h": "x", "w": "1"}, {"h": "1"}])
def test_bad_resize(engine, query):
    container = engine.start_container(["sleep", "1000"], Tty=True)
    answer = container.api.post(f"{container.path}/resize", **query)
    assert answer.status in ((400, 500) if engine.is_reference else (400,))
    container.kill()


def test_resize_of_what_does_not_run(engine):
    container = engine.create(Tty=True)
    message = container.api.post(f"{container.path}/resize", h=1, w=1, expect=409 if not engine.is_reference else (409, 500)).message
    assert "is not running" in message


def test_top(engine):
    container = engine.start_container("sleep 1001 & exec sleep 1000")
    def top():
        return container.api.get(f"{container.path}/top", expect=200).json

    wait_until(lambda: sorted(p[-1] for p in top()["Processes"]) == ["sleep 1000", "sleep 1001"])
    found = top()
    assert found["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert str(container.pid) in [p[1] for p in found["Processes"]]


def test_top_arguments(engine):
    container = engine.start_container(["sleep", "1000"])
    found = container.api.get(f"{container.path}/top", ps_args="aux", expect=200).json
    assert found["Titles"][:2] == ["USER", "PID"] and "%CPU" in found["Titles"]
    found = container.api.get(f"{container.path}/top", ps_args="-o pid,comm", expect=200).json
    assert found["Titles"] == ["PID", "COMMAND"]
    assert found["Processes"] == [[str(container.pid), "sleep"]]


def test_top_of_what_does_not_run(engine):
    container = engine.create()
    message = container.api.get(f"{container.path}/top", expect=(409, 500) if engine.is_reference else 409).message
    assert message == f"Container {container.id} is not running"


def test_half_open_connections_end_with_the_container(engine):
    container = engine.start_container(["cat"], OpenStdin=True)
    answers = [stream(container, stdin=1, stdout=1) for _ in range(3)]
    killer = threading.Timer(0.2, container.kill)
    killer.start()
    start = time.monotonic()
    for answer in answers:
        drain(answer)
    assert time.monotonic() - start < 30
    killer.join()
