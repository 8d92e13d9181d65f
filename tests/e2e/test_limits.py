"""Resource limits, as the kernel shows them in the container's cgroup and as programs feel them."""

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


@pytest.mark.differs(gantry="update comes later")
def test_update(engine):
    container = engine.start_container(host={"Memory": 64 << 20, "CpuShares": 100})
    answer = container.api.post(f"{container.path}/update", {"Memory": 128 << 20, "MemorySwap": 256 << 20, "CpuShares": 200}, expect=200)
    assert answer.json["Warnings"] is None or isinstance(answer.json["Warnings"], list)
    assert value(container, "memory", "memory.limit_in_bytes", "memory.max") == str(128 << 20)
    assert value(container, "cpu", "cpu.shares", "cpu.weight") == ("200" if not V2 else weight(200))
    assert container.inspect()["HostConfig"]["Memory"] == 128 << 20


@pytest.mark.differs(gantry="statistics come later")
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
