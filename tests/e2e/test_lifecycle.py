"""start, stop, restart, kill, pause-free waiting, rename, remove, and the 304s, 404s and 409s between them."""

import threading
import time

import pytest

from harness.engine import wait_until


def test_start_and_finish(engine):
    container = engine.create("exit 7")
    container.start()
    assert container.wait() == 7
    state = container.state
    assert state["Status"] == "exited" and not state["Running"] and state["Pid"] == 0
    assert state["ExitCode"] == 7 and state["Error"] == "" and not state["OOMKilled"] and not state["Dead"]
    assert "0001-01-01" < state["StartedAt"] < state["FinishedAt"]


def test_running_state(engine):
    container = engine.start_container()
    state = container.state
    assert state["Status"] == "running" and state["Running"] and state["Pid"] > 1
    assert not state["Paused"] and not state["Restarting"]
    assert state["FinishedAt"] == "0001-01-01T00:00:00Z"
    assert container.inspect()["LogPath"].endswith(f"{container.id}-json.log")


def test_start_twice(engine):
    container = engine.start_container()
    assert container.start(expect=304).body == b""


def test_start_again(engine):
    container = engine.start_container("echo run; exit 1")
    container.wait()
    first = container.state["StartedAt"]
    container.start()
    container.wait()
    assert container.state["StartedAt"] > first
    assert container.logs()[0] == "run\nrun\n"


def test_the_writable_layer_stays(engine):
    container = engine.start_container("test -e /mark && exit 9; touch /mark")
    assert container.wait() == 0
    container.start()
    assert container.wait() == 9


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "restart", "wait"])
def test_missing(api, verb):
    assert api.post(f"/containers/none/{verb}", expect=404).message.endswith("No such container: none")


def test_missing_others(api):
    assert api.get("/containers/none/json", expect=404).message == "No such container: none"
    assert api.get("/containers/none/logs", stdout=True, expect=404).message == "No such container: none"
    assert api.get("/containers/none/top", expect=404).message == "No such container: none"
    assert api.delete("/containers/none", expect=404).message == "No such container: none"
    assert api.post("/containers/none/rename", name="x", expect=404).message == "No such container: none"
    assert api.post("/containers/none/exec", {"Cmd": ["x"]}, expect=404).message == "No such container: none"


@pytest.mark.parametrize("cmd, code, message", [
    (["/no/such/program"], 127, 'exec: "/no/such/program": stat /no/such/program: no such file or directory'),
    (["no-such-program"], 127, 'exec: "no-such-program": executable file not found in $PATH'),
    (["/bin/not-executable"], 126, 'exec: "/bin/not-executable": permission denied'),
    (["/data"], 126, "permission denied"),
])
def test_what_cannot_be_executed(engine, cmd, code, message):
    container = engine.create(cmd)
    answer = container.start(expect=400 if code else None)
    assert message in answer.message or (cmd == ["/data"] and "is a directory" in answer.message)
    state = container.state
    assert state["ExitCode"] == code
    assert state["Status"] == "created"
    assert message in state["Error"] or cmd == ["/data"]


def test_program_killed_by_a_signal(engine):
    container = engine.start_container("kill -SEGV $$")
    assert container.wait() in (139, 0)  # Process 1 is not killed by signals it sends itself.
    assert engine.run(["sh", "-c", "sh -c 'kill -SEGV $$'; exit $?"])[0] == 139


def test_stop_sends_the_stop_signal(engine):
    container = engine.start_container(["probe", "signals"], StopSignal="SIGINT", StopTimeout=100)
    container.wait_log("ready")
    start = time.monotonic()
    container.stop(t=1)
    assert 0.9 < time.monotonic() - start < 50
    assert container.logs()[0] == "ready\nsignal 2\n"
    assert container.state["ExitCode"] == 137


def test_stop_default_signal_and_graceful_end(engine):
    container = engine.start_container("trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done")
    container.wait_log("ready")
    start = time.monotonic()
    container.stop()
    # When the ten seconds are over it is killed.
    assert time.monotonic() - start < 10
    assert container.state["ExitCode"] == 5


def test_stop_timeout_of_the_container(engine):
    container = engine.start_container(["probe", "signals"], StopTimeout=1)
    container.wait_log("ready")
    start = time.monotonic()
    container.stop()
    # Ten seconds are what others get.
    assert 0.9 < time.monotonic() - start < 10


def test_stop_what_does_not_run(engine):
    container = engine.create()
    container.stop(expect=304)
    container.start()
    container.wait()
    container.stop(expect=304)


@pytest.mark.parametrize("signal, number", [("SIGUSR1", 10), ("USR1", 10), ("10", 10), ("SIGHUP", 1), ("WINCH", 28)])
def test_kill_signals(engine, signal, number):
    container = engine.start_container(["probe", "signals"])
    container.wait_log("ready")
    container.kill(signal=signal)
    container.wait_log(f"signal {number}\n")
    assert container.state["Running"]
    container.kill(signal="USR2")
    assert container.wait() == 42


def test_kill_default(engine):
    container = engine.start_container()
    container.kill()
    assert container.wait() == 137
    assert container.state["Status"] == "exited"


@pytest.mark.parametrize("signal", ["NONSENSE", "SIGNONSENSE", "99", "-1"])
def test_kill_bad_signal(engine, signal):
    container = engine.start_container()
    answer = container.kill(signal=signal, expect=(400, 500) if engine.is_reference else 400)
    assert f"invalid signal: {signal}" in answer.message.replace("Invalid", "invalid") or "does not support signal" in answer.message
    assert container.state["Running"]


def test_kill_what_does_not_run(engine):
    container = engine.create()
    message = container.kill(expect=409).message
    assert message == f"Cannot kill container: {container.id}: Container {container.id} is not running"


def test_restart(engine):
    container = engine.start_container("echo up; exec sleep 1000")
    container.wait_log("up")
    before = container.state
    container.api.post(f"{container.path}/restart", t=0, expect=204)
    after = container.state
    assert after["Running"] and after["Pid"] != before["Pid"] and after["StartedAt"] > before["StartedAt"]
    wait_until(lambda: container.logs()[0] == "up\nup\n")
    assert container.inspect()["RestartCount"] == 0


def test_restart_what_is_stopped(engine):
    container = engine.create(["sleep", "1000"])
    container.api.post(f"{container.path}/restart", t=0, expect=204)
    assert container.state["Running"]


class Waiter(threading.Thread):
    """A wait in the background, begun for certain when made."""

    def __init__(self, container, **query):
        super().__init__()
        self.answer = container.api.post(f"{container.path}/wait", stream=True, **query)
        self.status = None
        self.start()

    def run(self):
        self.answer.read()
        self.status = self.answer.json

    def done(self, timeout=40):
        self.join(timeout)
        assert not self.is_alive()
        return self.status["StatusCode"]


def test_wait_sends_its_head_at_once(engine):
    """Clients start the container only after they know that the wait has begun."""
    container = engine.create("exit 4")
    waiter = Waiter(container, condition="next-exit")
    container.start()
    assert waiter.done() == 4


def test_wait_conditions(engine):
    container = engine.create("exit 4")
    assert container.wait() == 0  # Not running: ends at once with the code there is.
    assert container.wait(condition="not-running") == 0
    container.start()
    assert container.wait(condition="not-running") == 4
    waiter = Waiter(container, condition="next-exit")
    removed = Waiter(container, condition="removed")
    container.start()
    assert waiter.done() == 4
    time.sleep(0.1)
    assert removed.is_alive()
    container.remove()
    assert removed.done() == 4


def test_wait_bad_condition(engine):
    path = engine.create().path
    if engine.is_reference:  # 20.10 takes anything for the default.
        engine.api.post(f"{path}/wait", condition="never", expect=200)
    else:
        assert engine.api.post(f"{path}/wait", condition="never", expect=400).message == 'invalid condition: "never"'


def test_many_waiters(engine):
    container = engine.start_container()
    waiters = [Waiter(container) for _ in range(10)]
    container.kill()
    assert {w.done() for w in waiters} == {137}


def test_auto_remove(engine):
    container = engine.create("exit 6", host={"AutoRemove": True})
    waiter = Waiter(container, condition="removed")
    container.start()
    assert waiter.done() == 6
    container.api.get(f"{container.path}/json", expect=404)


def test_auto_remove_takes_anonymous_volumes(engine):
    before = engine.api.get("/volumes").json["Volumes"] or []
    container = engine.create("true", host={"AutoRemove": True}, Volumes={"/anonymous": {}})
    waiter = Waiter(container, condition="removed")
    container.start()
    waiter.done()
    wait_until(lambda: len(engine.api.get("/volumes").json["Volumes"] or []) == len(before))


def test_rename(engine):
    container = engine.create(name="old-name")
    container.api.post("/containers/old-name/rename", name="new-name", expect=204)
    assert container.inspect()["Name"] == "/new-name"
    container.api.get("/containers/old-name/json", expect=404)
    engine.create(name="old-name")


def test_rename_refused(engine):
    container, other = engine.create(name="one"), engine.create(name="two")
    message = container.api.post("/containers/one/rename", name="two", expect=409).message
    assert message.endswith(f'Conflict. The container name "/two" is already in use by container "{other.id}". '
                       "You have to remove (or rename) that container to be able to reuse that name.")
    for name in ("", "-bad", "one"):
        answer = container.api.post("/containers/one/rename", name=name)
        assert answer.status in ((400, 409, 500) if engine.is_reference else (400, 409)), (name, answer.status)
    assert container.inspect()["Name"] == "/one"


def test_remove(engine):
    container = engine.create()
    container.remove()
    container.api.get(f"{container.path}/json", expect=404)
    container.remove(expect=404)


def test_remove_running(engine):
    container = engine.start_container()
    message = container.remove(expect=409).message
    assert message == (f"You cannot remove a running container {container.id}. Stop the container before "
                       "attempting removal or force remove")
    container.remove(force=True)
    container.api.get(f"{container.path}/json", expect=404)


def test_remove_volumes(engine):
    def names():
        return {v["Name"] for v in engine.api.get("/volumes").json["Volumes"] or []}

    kept = engine.create(Volumes={"/v": {}})
    kept.remove()
    assert len(names()) == 1
    gone = engine.create(Volumes={"/v": {}}, host={"Binds": ["named:/n"]})
    gone.remove(v=True)
    assert len(names()) == 2 and "named" in names()


def test_names_and_ids(engine):
    container = engine.create(name="by-name")
    for name in ("by-name", container.id, container.id[:12], container.id[:8]):
        assert engine.api.get(f"/containers/{name}/json", expect=200).json["Id"] == container.id, name
    engine.api.get("/containers/by-nam/json", expect=404)


def test_ambiguous_id(engine):
    ids = [engine.create().id for _ in range(17)]
    firsts = [id[0] for id in ids]
    digit = next(d for d in firsts if firsts.count(d) > 1)
    answer = engine.api.get(f"/containers/{digit}/json")
    assert answer.status in ((404, 500) if engine.is_reference else (400, 404)), answer.text
    assert f"multiple IDs found with provided prefix: {digit}" in answer.message.lower().replace("ids", "IDs") \
        or "ultiple IDs found with provided prefix" in answer.message


def test_a_full_id_or_name_wins_over_a_prefix(engine):
    first = engine.create()
    second = engine.create(name=first.id[:6])
    assert engine.api.get(f"/containers/{first.id[:6]}/json").json["Id"] == second.id


def test_prune(engine):
    stopped, running = engine.create(), engine.start_container()
    answer = engine.api.post("/containers/prune", expect=200).json
    assert answer["ContainersDeleted"] == [stopped.id]
    assert answer["SpaceReclaimed"] >= 0
    assert running.state["Running"]


def standing_still(container):
    """The log, when nothing is added to it any more: what was written before may be on its way for a moment."""
    looks = []

    def same():
        looks.append(container.logs()[0])
        time.sleep(0.05)
        return len(set(looks[-6:])) == 1 and len(looks) > 6 and looks[-1]
    return wait_until(same, what="a log that does not grow")


def test_pause(engine):
    container = engine.start_container(["probe", "lines", "-1", "1000"])
    container.wait_log("line 5\n")
    container.api.post(f"{container.path}/pause", expect=204)
    assert container.state["Status"] == "paused" and container.state["Running"]
    assert container.api.post(f"{container.path}/pause", expect=409).message == f"Container {container.id} is already paused"
    one = standing_still(container)
    container.api.post(f"{container.path}/unpause", expect=204)
    wait_until(lambda: container.logs()[0] != one)
    assert container.state["Status"] == "running"
    container.kill()


def test_concurrent_starts_of_one(engine):
    """One of many starts wins; all others see it running already."""
    container = engine.create(["sleep", "1000"])
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        engine.api.post(f"{container.path}/start").status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 20.10 now and then lets two win.
    assert sorted(results) == [204] + [304] * 7 or engine.is_reference and set(results) == {204, 304}


def test_concurrent_creates_of_one_name(engine):
    results = []
    threads = [threading.Thread(target=lambda: results.append(engine.api.post(
        "/containers/create", {"Image": "busybox:e2e", "Cmd": ["true"]}, name="contended").status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [201] + [409] * 7
