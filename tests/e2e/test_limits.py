"""Resource limits, as the kernel shows them in the container's cgroup and as programs feel them."""

import threading
import time

import pytest

from harness.engine import wait_until
from harness.sandbox import cgroup_v2

V2 = cgroup_v2()


def value(container, controller, v1, v2):
    return (container.cgroup(controller) / (v2 if V2 else v1)).read_text().strip()


def weight(shares):
    return str(1 + ((shares - 2) * 9999) // 262142)


@pytest.mark.parametrize("host, controller, v1, v2", [
    ({"Memory": 64 << 20}, "memory", ("memory.limit_in_bytes", str(64 << 20)), ("memory.max", str(64 << 20))),
    ({"Memory": 64 << 20, "MemoryReservation": 32 << 20}, "memory", ("memory.soft_limit_in_bytes", str(32 << 20)),
     ("memory.low", str(32 << 20))),
    ({"CpuShares": 512}, "cpu", ("cpu.shares", "512"), ("cpu.weight", weight(512))),
    ({"CpuQuota": 50000, "CpuPeriod": 100000}, "cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
    ({"CpuQuota": 20000, "CpuPeriod": 50000}, "cpu", ("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000")),
    ({"NanoCpus": 500_000_000}, "cpu", ("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
    ({"CpusetCpus": "0"}, "cpuset", ("cpuset.cpus", "0"), ("cpuset.cpus", "0")),
    ({"CpusetCpus": "0-1"}, "cpuset", ("cpuset.cpus", "0-1"), ("cpuset.cpus", "0-1")),
    ({"CpusetMems": "0"}, "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ({"PidsLimit": 20}, "pids", ("pids.max", "20"), ("pids.max", "20")),
    ({"PidsLimit": -1}, "pids", ("pids.max", "max"), ("pids.max", "max")),
    ({}, "pids", ("pids.max", "max"), ("pids.max", "max")),
    ({"BlkioDeviceReadBps": [{"Path": "/dev/loop0", "Rate": 1 << 20}]}, "blkio",
     ("blkio.throttle.read_bps_device", "7:0 1048576"), ("io.max", "7:0 rbps=1048576 wbps=max riops=max wiops=max")),
    ({"BlkioDeviceWriteIOps": [{"Path": "/dev/loop0", "Rate": 100}]}, "blkio",
     ("blkio.throttle.write_iops_device", "7:0 100"), ("io.max", "7:0 rbps=max wbps=max riops=max wiops=100")),
])
def test_files(engine, host, controller, v1, v2):
    container = engine.start_container(host=host)
    assert value(container, controller, v1[0], v2[0]) == (v2 if V2 else v1)[1]


def test_memory_and_swap(engine):
    container = engine.start_container(host={"Memory": 64 << 20, "MemorySwap": 96 << 20})
    path = container.cgroup("memory") / ("memory.swap.max" if V2 else "memory.memsw.limit_in_bytes")
    if path.exists():
        assert path.read_text().strip() == str(32 << 20 if V2 else 96 << 20)


def test_out_of_memory(engine):
    container = engine.start_container(["probe", "memory", "100"], host={"Memory": 32 << 20, "MemorySwap": 32 << 20})
    assert container.wait() == 137
    wait_until(lambda: container.state["OOMKilled"], what="OOMKilled")


def test_out_of_memory_of_a_child(engine):
    """The container goes on when the kernel chose a child."""
    container = engine.start_container("probe memory 100; echo code $?", host={"Memory": 32 << 20, "MemorySwap": 32 << 20})
    assert container.wait() == 0
    assert "code 137" in container.logs()[0]


def test_enough_memory(engine):
    assert engine.output(["probe", "memory", "16"], host={"Memory": 32 << 20}) == "touched 16\n"


def test_pids(engine):
    container = engine.start_container(["probe", "forks", "50"], host={"PidsLimit": 10})
    container.wait()
    assert container.logs()[0] == "forked 9 EAGAIN\n"


def test_cpuset_is_felt(engine):
    assert engine.output("nproc", host={"CpusetCpus": "0"}) == "1\n"


def test_exec_counts(engine):
    container = engine.start_container(host={"PidsLimit": 5})
    code, out, _ = container.exec(["probe", "forks", "50"])
    assert "EAGAIN" in out


def test_update(engine):
    container = engine.start_container(host={"Memory": 64 << 20, "CpuShares": 100})
    answer = container.api.post(f"{container.path}/update", {"Memory": 128 << 20, "MemorySwap": 256 << 20, "CpuShares": 200}, expect=200)
    assert answer.json["Warnings"] is None or isinstance(answer.json["Warnings"], list)
    assert value(container, "memory", "memory.limit_in_bytes", "memory.max") == str(128 << 20)
    assert value(container, "cpu", "cpu.shares", "cpu.weight") == ("200" if not V2 else weight(200))
    assert container.inspect()["HostConfig"]["Memory"] == 128 << 20


def update(container, body, expect=200):
    return container.api.post(f"{container.path}/update", body, expect=expect).json


@pytest.mark.parametrize("body, controller, v1, v2", [
    ({"CpuShares": 256}, "cpu", ("cpu.shares", "256"), ("cpu.weight", weight(256))),
    ({"CpuQuota": 30000, "CpuPeriod": 60000}, "cpu", ("cpu.cfs_quota_us", "30000"), ("cpu.max", "30000 60000")),
    ({"CpuQuota": -1}, "cpu", ("cpu.cfs_quota_us", "-1"), ("cpu.max", "max 100000")),
    ({"NanoCpus": 250_000_000}, "cpu", ("cpu.cfs_quota_us", "25000"), ("cpu.max", "25000 100000")),
    ({"CpusetCpus": "1"}, "cpuset", ("cpuset.cpus", "1"), ("cpuset.cpus", "1")),
    ({"CpusetMems": "0"}, "cpuset", ("cpuset.mems", "0"), ("cpuset.mems", "0")),
    ({"MemoryReservation": 20 << 20}, "memory", ("memory.soft_limit_in_bytes", str(20 << 20)), ("memory.low", str(20 << 20))),
    ({"Memory": 32 << 20}, "memory", ("memory.limit_in_bytes", str(32 << 20)), ("memory.max", str(32 << 20))),
    ({"Memory": 256 << 20, "MemorySwap": 256 << 20}, "memory", ("memory.limit_in_bytes", str(256 << 20)), ("memory.max", str(256 << 20))),
    pytest.param({"Memory": 256 << 20, "MemorySwap": -1}, "memory", ("memory.limit_in_bytes", str(256 << 20)),
                 ("memory.max", str(256 << 20)),
                 marks=[] if V2 else pytest.mark.differs(reference="its runc writes the two in the wrong order")),
    ({"PidsLimit": 7}, "pids", ("pids.max", "7"), ("pids.max", "7")),
    ({"PidsLimit": 0}, "pids", ("pids.max", "max"), ("pids.max", "max")),
    ({"PidsLimit": -1}, "pids", ("pids.max", "max"), ("pids.max", "max")),
], ids=str)
def test_update_is_felt_at_once_and_kept(engine, body, controller, v1, v2):
    container = engine.start_container(host={"Memory": 64 << 20, "PidsLimit": 100})
    assert update(container, body)["Warnings"] is None
    assert value(container, controller, v1[0], v2[0]) == (v2 if V2 else v1)[1]
    container.kill()
    container.wait()
    container.start()
    assert value(container, controller, v1[0], v2[0]) == (v2 if V2 else v1)[1]
    shown = container.inspect()["HostConfig"]
    assert all(shown[key] == (max(0, wanted) if key == "PidsLimit" else wanted) for key, wanted in body.items())


def test_update_before_the_start(engine):
    container = engine.create(["sleep", "1000"])
    update(container, {"CpuShares": 300, "PidsLimit": 9})
    container.start()
    assert value(container, "pids", "pids.max", "pids.max") == "9"
    assert value(container, "cpu", "cpu.shares", "cpu.weight") == (weight(300) if V2 else "300")


def test_update_of_a_paused_container(engine):
    container = engine.start_container()
    container.api.post(f"{container.path}/pause", expect=204)
    update(container, {"PidsLimit": 9})
    assert value(container, "pids", "pids.max", "pids.max") == "9"
    assert container.state["Status"] == "paused"


@pytest.mark.parametrize("host, body, status, message", [
    ({}, {"Memory": 1000}, 400, "Minimum memory limit allowed is 6MB"),
    ({}, {"CpusetCpus": "x"}, 400, "Invalid value x for cpuset cpus: invalid format: x"),
    ({}, {"RestartPolicy": {"Name": "bogus"}}, 400, "invalid restart policy 'bogus'"),
    ({}, {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 3}}, 400,
     "maximum retry count cannot be used with restart policy 'no'"),
    ({"CpuPeriod": 100000}, {"NanoCpus": 500_000_000}, 409,
     "Cannot update container {id}: Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set"),
    ({"NanoCpus": 500_000_000}, {"CpuQuota": 50000}, 409,
     "Cannot update container {id}: Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
    ({"Memory": 64 << 20}, {"Memory": 256 << 20}, 409,
     "Cannot update container {id}: Memory limit should be smaller than already set memoryswap limit, "
     "update the memoryswap at the same time"),
    ({"AutoRemove": True}, {"RestartPolicy": {"Name": "always"}}, 409,
     "Cannot update container {id}: Restart policy cannot be updated because AutoRemove is enabled for the container"),
], ids=str)
def test_update_that_is_refused(engine, host, body, status, message):
    container = engine.create(host=host)
    before = container.inspect()["HostConfig"]
    assert update(container, body, expect=status)["message"] == message.format(id=container.id)
    assert container.inspect()["HostConfig"] == before
    assert "No such container" in engine.api.post("/containers/nope/update", {}, expect=404).message


def test_update_event(engine):
    container = engine.start_container()
    update(container, {"CpuShares": 300})
    update(container, {})
    found = engine.api.get("/events", since=0, until=time.time() + 0.3,
                           filters={"container": [container.id], "event": ["update"]}, expect=200).objects
    assert len(found) == 2


def test_update_survives_a_restart_of_the_engine(own_engine):
    engine = own_engine()
    container = engine.create(["sleep", "1000"])
    update(container, {"CpuShares": 300, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}})
    engine.restart()
    shown = container.inspect()["HostConfig"]
    assert shown["CpuShares"] == 300 and shown["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 4}


def test_stats(engine):
    container = engine.start_container("while :; do :; done", host={"Memory": 64 << 20, "PidsLimit": 9})
    answer = container.api.request("GET", "", raw_target=f"/v1.41{container.path}/stats?stream=0", expect=200)
    found = answer.json
    assert found["id"] == container.id and found["name"] == container.inspect()["Name"]
    assert found["memory_stats"]["limit"] == 64 << 20 and found["memory_stats"]["usage"] > 0
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > found["precpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["cpu_stats"]["online_cpus"] >= 1 and found["cpu_stats"]["system_cpu_usage"] > 0
    assert found["pids_stats"]["current"] == 1
    container.kill()


def test_cgroups_are_removed(engine):
    before = engine.sandbox.cgroups()
    engine.run("true")
    wait_until(lambda: engine.sandbox.cgroups() == before, what="removal of the cgroups")


def test_cgroup_parent(engine):
    """A parent of the caller's own."""
    parent = f"{engine.sandbox.cgroup_parent}/custom"
    container = engine.start_container(host={"CgroupParent": parent})
    assert str(container.cgroup("memory")).endswith(f"{parent}/{container.id}")
    container.kill()


def test_starts_that_fail_at_once_say_why(engine):
    """However soon the process is gone that could not make the container, and however many of them there are."""
    host = {"CpuRealtimePeriod": 1_000_000, "CpuRealtimeRuntime": 1000}

    def attempts():
        for _ in range(10):
            box = engine.create("true", host=host)
            answers.append(box.start(expect=(204, 400, 500)))
            box.remove(force=True)

    answers = []
    threads = [threading.Thread(target=attempts) for _ in range(2 if engine.is_reference else 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A kernel may have time to give; this machine's and many others have none for groups.
    refused = [answer.message for answer in answers if answer.status != 204]
    assert all("cpu.rt" in message or "real-time" in message.lower() for message in refused), set(refused)
