"""Restart policies."""

import json
import time

import pytest

from harness.engine import wait_until


def policy(name, count=0):
    return {"RestartPolicy": {"Name": name, "MaximumRetryCount": count}}


def test_on_failure_counts(engine):
    container = engine.start_container("exit 3", host=policy("on-failure", 2))
    wait_until(lambda: container.state["Status"] == "exited" and container.inspect()["RestartCount"] == 2)
    assert container.state["ExitCode"] == 3
    time.sleep(0.5)
    assert container.inspect()["RestartCount"] == 2


def test_on_failure_leaves_success_alone(engine):
    container = engine.start_container("exit 0", host=policy("on-failure"))
    container.wait()
    time.sleep(0.5)
    assert container.inspect()["RestartCount"] == 0
    assert container.state["Status"] == "exited"


@pytest.mark.parametrize("name", ["always", "unless-stopped"])
def test_always(engine, name):
    container = engine.start_container("echo run; exit 0", host=policy(name))
    wait_until(lambda: container.inspect()["RestartCount"] >= 2)
    wait_until(lambda: len(container.logs()[0].splitlines()) >= 3)
    container.stop(t=0, expect=(204, 304))
    count = container.inspect()["RestartCount"]
    time.sleep(1)
    assert container.state["Status"] == "exited"
    assert container.inspect()["RestartCount"] == count


def test_a_kill_of_the_user_is_final_and_of_the_process_is_not(engine):
    container = engine.start_container(host=policy("always"))
    first = container.pid
    engine.sandbox.run(["kill", "-9", str(first)])
    wait_until(lambda: container.state["Running"] and container.pid != first)
    assert container.inspect()["RestartCount"] == 1
    container.kill()
    container.wait()
    time.sleep(0.5)
    assert container.state["Status"] == "exited"


def test_restarting_state(engine):
    container = engine.start_container("exit 1", host=policy("always"))
    wait_until(lambda: container.inspect()["RestartCount"] >= 4)
    seen = wait_until(lambda: (s := container.state)["Status"] == "restarting" and s)
    assert seen["Restarting"] and seen["Running"]
    listed = wait_until(lambda: [c for c in engine.api.get("/containers/json", filters={"status": ["restarting"]}).json])
    assert listed[0]["Status"].startswith("Restarting (1) ")
    container.remove(force=True)


def test_waits_grow(engine):
    """The delay doubles: 100 ms, 200 ms, 400 ms, ..."""
    container = engine.start_container("exit 1", host=policy("always"))
    begun = time.monotonic()
    wait_until(lambda: container.inspect()["RestartCount"] >= 4)
    # The fourth is counted when it is decided, before its own 800 ms.
    assert time.monotonic() - begun > 0.7
    container.remove(force=True)


def test_events(engine):
    since = f"{time.time():.9f}"
    container = engine.start_container("exit 1", host=policy("on-failure", 1))
    answer = engine.api.get("/events", since=since, filters={"container": [container.id]}, stream=True, expect=200)
    lines = answer.lines()
    assert [json.loads(next(lines))["Action"] for _ in range(5)] == ["create", "start", "die", "start", "die"]
    answer.close()
    wait_until(lambda: container.state["Status"] == "exited")


def test_network_and_ports_come_back(engine):
    container = engine.start_container("probe echo tcp 80", network="bridge", ExposedPorts={"80/tcp": {}}, host={
        **policy("always"), "PortBindings": {"80/tcp": [{"HostPort": "8090"}]}})
    container.wait_log("listening")
    engine.sandbox.run(["kill", "-9", str(container.pid)])
    wait_until(lambda: container.inspect()["RestartCount"] == 1 and container.state["Running"])
    from harness.published import ask
    wait_until(lambda: container.logs()[0].count("listening") == 2)
    assert ask(engine, "outside", engine.address, 8090).startswith("echo:")
    container.remove(force=True)


def test_update_of_the_policy(engine):
    container = engine.start_container("exit 1", host=policy("always"))
    container.api.post(f"{container.path}/update", {"RestartPolicy": {"Name": "no"}}, expect=200)
    wait_until(lambda: container.state["Status"] == "exited")
    assert container.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "no"


def test_wait_sees_each_exit(engine):
    container = engine.create("exit 5", host=policy("on-failure", 1))
    answer = container.api.post(f"{container.path}/wait", condition="next-exit", stream=True)
    container.start()
    answer.read()
    assert answer.json["StatusCode"] == 5


@pytest.mark.differs(reference="it has no process of its own for a container that could hang")
def test_a_parent_that_hangs_delays_nobody(own_engine):
    """A container's parent process stands still, as in a log on a file system that is gone, while the daemon starts."""
    engine = own_engine()
    stuck, others = engine.start_container(), [engine.start_container() for _ in range(3)]
    (shim,) = [pid for pid, line in engine.sandbox.processes().items() if line == f"gantry-shim {stuck.id}"]
    engine.sandbox.run(["kill", "-STOP", str(shim)])
    engine.kill()
    engine.start()
    assert all(other.state["Running"] for other in [stuck, *others])
    others[0].stop(t=0)
    engine.sandbox.run(["kill", "-CONT", str(shim)])
    stuck.kill()
    assert stuck.wait() == 137
