"""Health checks: forms, transitions, timing, what shows them, and that they outlive the daemon."""

import json
import time

import pytest

from harness import rootfs
from harness.engine import wait_until

SECOND = 1_000_000_000
MS = 1_000_000


def check(test, **settings):
    values = {"Interval": 200 * MS, "Timeout": 5 * SECOND, "Retries": 2, **settings}
    return {"Test": test, **values}


def start(engine, test, cmd=("sleep", "1000"), host=None, network="none", **settings):
    return engine.start_container(cmd, Healthcheck=check(test, **settings), host=host, network=network)


def health(container):
    return container.state["Health"]


def wait_status(container, status):
    wait_until(lambda: health(container)["Status"] == status, what=f"health {status}")
    return health(container)


def listed(container, **query):
    filters = {"id": [container.id], **{key: [value] for key, value in query.items()}}
    return container.api.get("/containers/json", filters=filters, expect=200).json


def actions(container, last):
    """What has happened to it, up to the action `last`: a client may see a state before it is told of it."""
    def so_far():
        found = container.api.get("/events", since=0, until=time.time(), filters={"container": [container.id]}, expect=200).objects
        return any(event["Action"].startswith(last) for event in found) and found
    return wait_until(so_far, what=f"the event {last}")


def test_transitions(engine):
    unchecked = start(engine, ["CMD-SHELL", "cat /state"], Interval=1000 * SECOND)
    assert health(unchecked) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert listed(unchecked)[0]["Status"].endswith("(health: starting)")
    assert listed(unchecked, health="starting") and not listed(unchecked, health="healthy")
    container = start(engine, ["CMD-SHELL", "cat /state"], Interval=400 * MS)
    found = wait_status(container, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert found["Log"][0]["ExitCode"] == 1 and "No such file" in found["Log"][0]["Output"]
    assert found["Log"][0]["Start"] < found["Log"][0]["End"] <= found["Log"][1]["Start"]
    assert listed(container, health="unhealthy")[0]["Status"].endswith("(unhealthy)")
    container.exec("echo fine > /state")
    found = wait_status(container, "healthy")
    assert found["FailingStreak"] == 0 and found["Log"][-1]["Output"] == "fine\n"
    assert listed(container, health="healthy")[0]["Status"].endswith("(healthy)")
    assert not listed(container, health="none")
    assert len([e for e in actions(container, "health_status: healthy") if e["Action"] == "health_status: healthy"]) == 1


def test_events(engine):
    container = start(engine, ["CMD", "true"])
    wait_status(container, "healthy")
    found = [(e["Action"], e["Actor"]["Attributes"]) for e in actions(container, "health_status: healthy")]
    names = [action for action, _ in found]
    first = names.index("exec_create: true ")
    assert names[first:first + 4] == ["exec_create: true ", "exec_start: true ", "exec_die", "health_status: healthy"]
    assert len(found[first][1]["execID"]) == 64
    assert found[first + 2][1]["exitCode"] == "0" and found[first + 2][1]["execID"] == found[first][1]["execID"]
    assert set(found[first + 3][1]) == {"image", "name"}


def test_five_results_are_kept(engine):
    container = start(engine, ["CMD-SHELL", "echo $$; exit 1"], Interval=60 * MS)
    wait_until(lambda: health(container)["FailingStreak"] > 7)
    assert len(health(container)["Log"]) == 5


def test_both_outputs_up_to_a_limit(engine):
    container = start(engine, ["CMD-SHELL", "echo out; echo err >&2; head -c 10000 /dev/zero | tr '\\0' x"])
    output = wait_status(container, "healthy")["Log"][0]["Output"]
    assert output.startswith("out\nerr\nxxx") and output.endswith("x...")
    assert len(output) == 4096 + 3


def test_a_probe_that_hangs(engine):
    container = start(engine, ["CMD", "sleep", "777"], Timeout=300 * MS, Retries=1)
    found = wait_status(container, "unhealthy")
    assert found["Log"][0]["ExitCode"] == -1
    assert found["Log"][0]["Output"].startswith("Health check exceeded timeout (300ms)")
    if not engine.is_reference:  # 20.10 leaves them to themselves for a while.
        wait_until(lambda: health(container)["FailingStreak"] >= 4)
        # The last one may be on its way out when the next one comes; more would pile up.
        top = lambda: container.api.get(f"{container.path}/top", expect=200).json["Processes"]
        wait_until(lambda: len([p for p in top() if "777" in p[-1]]) <= 1, what="one probe at a time")


def test_a_probe_that_does_not_exist(engine):
    container = start(engine, ["CMD", "/nope"], Retries=1)
    found = wait_status(container, "unhealthy")["Log"][0]
    assert found["ExitCode"] == -1 and "/nope" in found["Output"]


def test_start_period(engine):
    patient = start(engine, ["CMD", "false"], Interval=100 * MS, StartPeriod=1000 * SECOND, Retries=1)
    wait_until(lambda: len(health(patient)["Log"]) >= 3)
    assert health(patient)["Status"] == "starting" and health(patient)["FailingStreak"] == 0
    wait_status(start(engine, ["CMD", "false"], Interval=100 * MS, StartPeriod=1500 * MS, Retries=1), "unhealthy")


@pytest.mark.parametrize("test", [[], ["NONE"], ["FOO", "x"]], ids=str)
def test_no_check(engine, test):
    container = engine.start_container(Healthcheck={"Test": test})
    assert "Health" not in container.state
    assert listed(container, health="none")
    assert "health" not in listed(container)[0]["Status"]


def test_the_image_s_check(engine):
    """What the client says of it is merged with what the image says."""
    engine.api.post("/images/create", body=rootfs.busybox(), fromSrc="-", repo="healthy", tag="e2e",
                    changes="HEALTHCHECK --interval=200ms --retries=9 CMD true", expect=200)
    container = engine.start_container(image="healthy:e2e", Healthcheck={"Timeout": 3 * SECOND})
    assert wait_status(container, "healthy")
    shown = container.inspect()["Config"]["Healthcheck"]
    assert shown["Test"] == ["CMD-SHELL", "true"] and shown["Retries"] == 9 and shown["Timeout"] == 3 * SECOND
    off = engine.start_container(image="healthy:e2e", Healthcheck={"Test": ["NONE"]})
    assert "Health" not in off.state


@pytest.mark.parametrize("field", ["Interval", "Timeout", "StartPeriod"])
def test_too_short(engine, field):
    body = {"Image": "busybox:e2e", "Cmd": ["true"], "Healthcheck": {"Test": ["CMD", "true"], field: 1000}}
    answer = engine.api.post("/containers/create", body, expect=400)
    assert answer.message == f"{field} in Healthcheck cannot be less than 1ms"


def test_pause_and_end(engine):
    container = start(engine, ["CMD", "true"])
    wait_status(container, "healthy")
    container.api.post(f"{container.path}/pause", expect=204)
    assert health(container)["Status"] == "unhealthy"
    assert listed(container)[0]["Status"].endswith("(Paused)")
    before = health(container)["Log"][-1]
    time.sleep(0.6)
    assert health(container)["Log"][-1] == before
    container.api.post(f"{container.path}/unpause", expect=204)
    wait_status(container, "healthy")
    container.kill()
    container.wait()
    wait_until(lambda: container.state["Status"] == "exited")
    assert health(container)["Status"] == "unhealthy"
    log = health(container)["Log"]
    container.start()
    found = health(container)
    assert found["Status"] == "starting" or found["Log"] != log
    wait_status(container, "healthy")


def test_user_and_environment(engine):
    container = engine.start_container(User="alice", Env=["A=b c"], WorkingDir="/tmp",
                                       Healthcheck=check(["CMD-SHELL", "id -un; pwd; echo $A"]))
    assert wait_status(container, "healthy")["Log"][0]["Output"] == "alice\n/tmp\nb c\n"


def test_execs_do_not_pile_up(engine):
    container = start(engine, ["CMD", "true"], Interval=20 * MS)
    wait_until(lambda: len(health(container)["Log"]) == 5)
    assert len(container.inspect()["ExecIDs"] or []) <= 1
    event = next(e for e in actions(container, "exec_create") if e["Action"].startswith("exec_create"))
    id = event["Actor"]["Attributes"]["execID"]
    if not engine.is_reference:
        wait_until(lambda: container.api.get(f"/exec/{id}/json").status == 404)


@pytest.mark.differs(reference="its containers end with the daemon")
def test_over_a_restart_of_the_engine(own_engine):
    engine = own_engine()
    container = start(engine, ["CMD-SHELL", "cat /state"], Interval=SECOND)
    hanging = start(engine, ["CMD", "sleep", "888"], Timeout=100 * SECOND)
    wait_until(lambda: health(container)["FailingStreak"] >= 3)
    wait_until(lambda: "888" in json.dumps(container.api.get(f"{hanging.path}/top").json))
    before = health(container)
    engine.kill()
    engine.start()
    after = health(container)
    assert after["Status"] == "unhealthy" and after["FailingStreak"] >= before["FailingStreak"]
    assert after["Log"][0] in before["Log"]
    wait_until(lambda: health(container)["FailingStreak"] > before["FailingStreak"])
    container.exec("touch /state")
    wait_status(container, "healthy")
    wait_until(lambda: json.dumps(container.api.get(f"{hanging.path}/top").json["Processes"]).count("888") <= 1)
