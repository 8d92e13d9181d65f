"""Statistics: what the numbers say under loads that are known, and how the stream behaves."""

import json
import threading

import pytest

from harness.engine import quickest, wait_until

NEVER = "0001-01-01T00:00:00Z"


def once(container, **query):
    return container.api.request("GET", "", raw_target=target(container, **query), expect=200).json


def target(container, version="1.41", **query):
    text = "&".join(f"{key.replace('_', '-')}={value}" for key, value in query.items())
    return f"/v{version}{container.path}/stats?{text}"


def follow(container, **query):
    return container.api.request("GET", "", raw_target=target(container, **query), stream=True, expect=200)


def percent(sample):
    """As the docker command computes it."""
    now, before = sample["cpu_stats"], sample["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    machine = now["system_cpu_usage"] - before["system_cpu_usage"]
    return used / machine * now["online_cpus"] * 100


def test_a_limited_loop(engine):
    # So little that it is held back on the busiest machine, too.
    container = engine.start_container("while :; do :; done", host={"CpuQuota": 20000, "CpuPeriod": 100000})
    wait_until(lambda: once(container, stream=0, one_shot=1)["cpu_stats"]["throttling_data"]["throttled_periods"] > 0)
    # A machine without time may let much of it go by between the look at the container and the look at itself.
    sample = wait_until(lambda: (s := once(container, stream=0)) and 10 < percent(s) < 30 and s, what="a fifth of a processor")
    assert sample["cpu_stats"]["throttling_data"]["throttled_periods"] > 0
    assert sample["cpu_stats"]["throttling_data"]["throttled_time"] > 0
    assert sample["preread"] < sample["read"] and sample["preread"] != NEVER
    container.kill()


def test_an_eater_of_memory(engine):
    container = engine.start_container(host={"Memory": 256 << 20, "MemorySwap": 256 << 20, "Tmpfs": {"/eat": ""}})
    assert once(container, stream=0, one_shot=1)["memory_stats"]["usage"] < 16 << 20
    assert container.exec("dd if=/dev/zero of=/eat/it bs=1M count=64")[0] == 0
    found = once(container, stream=0, one_shot=1)["memory_stats"]
    assert 64 << 20 <= found["usage"] < 90 << 20
    assert found["limit"] == 256 << 20
    assert found["stats"]["active_anon"] + found["stats"]["inactive_anon"] >= 60 << 20


def test_without_a_limit_the_machine_is_the_limit(engine):
    sample = once(engine.start_container(), stream=0, one_shot=1)
    total = int(open("/proc/meminfo").readline().split()[1]) * 1024
    assert sample["memory_stats"]["limit"] == total


def test_one_shot(engine):
    container = engine.start_container(name=engine.name())
    # A second sample would come after a second.
    took, sample = quickest(lambda: once(container, stream=0, one_shot=1))
    assert took < 0.9
    assert sample["preread"] == NEVER and sample["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert "system_cpu_usage" not in sample["precpu_stats"]
    assert sample["cpu_stats"]["system_cpu_usage"] > 0
    assert sample["pids_stats"]["current"] == 1
    assert sample["name"] == container.inspect()["Name"] and sample["id"] == container.id
    assert sample["num_procs"] == 0 and sample["storage_stats"] == {}
    assert "networks" not in sample


def test_one_shot_is_no_stream(engine):
    container = engine.create()
    answer = container.api.request("GET", "", raw_target=target(container, one_shot=1), expect=400)
    assert answer.message == "cannot have stream=true and one-shot=true"


def test_missing(api):
    assert api.get("/containers/nope/stats", expect=404).message == "No such container: nope"


def test_stopped(engine):
    """Nothing is known of it; the shape says so."""
    sample = once(engine.create(), stream=0)
    assert sample["read"] == NEVER and sample["preread"] == NEVER
    assert sample["memory_stats"] == {} and sample["pids_stats"] == {}
    assert set(sample["blkio_stats"].values()) == {None}
    assert sample["cpu_stats"]["cpu_usage"]["total_usage"] == 0


def test_pids(engine):
    container = engine.start_container("sleep 100 & sleep 100 & wait", host={"PidsLimit": 20})
    wait_until(lambda: once(container, stream=0, one_shot=1)["pids_stats"] == {"current": 3, "limit": 20})


def test_stream(engine):
    container = engine.start_container()
    answer = follow(container)
    lines = answer.lines()
    first, second, third = (json.loads(next(lines)) for _ in range(3))
    assert first["preread"] == NEVER and first["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert second["preread"] == first["read"] and third["preread"] == second["read"]
    assert second["precpu_stats"] == first["cpu_stats"]
    answer.close()


def test_stream_goes_on_over_an_end_and_stops_at_the_removal(engine):
    container = engine.start_container()
    answer = follow(container)
    lines = answer.lines()
    assert json.loads(next(lines))["read"] != NEVER
    container.kill()
    for line in lines:
        if json.loads(line)["read"] == NEVER:
            break
    container.start()
    for line in lines:
        if json.loads(line)["read"] != NEVER:
            break
    container.remove(force=True)
    for line in lines:
        pass
    assert answer.exchange.complete


def test_many_clients_of_one_container(engine):
    container = engine.start_container("while :; do :; done", host={"NanoCpus": 200_000_000})
    found = []

    def client():
        answer = follow(container)
        lines = answer.lines()
        found.append([json.loads(next(lines)) for _ in range(3)])
        answer.close()

    threads = [threading.Thread(target=client) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 20
    assert all(5 < percent(samples[-1]) < 45 for samples in found)


def test_networks(engine):
    server = engine.start_container("while :; do head -c 100000 /dev/zero | nc -l -p 99; done", network="bridge")
    container = engine.start_container(network="bridge")
    before = once(container, stream=0, one_shot=1)["networks"]["eth0"]
    wait_until(lambda: container.exec(f"sleep 1 | nc {server.ip} 99 | wc -c")[1].strip() == "100000")
    after = once(container, stream=0, one_shot=1)["networks"]["eth0"]
    assert after["rx_bytes"] - before["rx_bytes"] >= 100000
    assert after["tx_packets"] > before["tx_packets"]
    assert set(after) == {"rx_bytes", "rx_packets", "rx_errors", "rx_dropped",
                          "tx_bytes", "tx_packets", "tx_errors", "tx_dropped"}


def test_shared_network(engine):
    """The counters are those of the namespace, whoever made it."""
    owner = engine.start_container(network="bridge")
    guest = engine.start_container(network=f"container:{owner.id}")
    assert "eth0" in once(guest, stream=0, one_shot=1)["networks"]


def test_host_network_is_not_the_container_s(engine):
    assert not once(engine.start_container(network="host"), stream=0, one_shot=1).get("networks")


def test_paused(engine):
    container = engine.start_container()
    container.api.post(f"{container.path}/pause", expect=204)
    assert once(container, stream=0, one_shot=1)["pids_stats"]["current"] == 1
    container.api.post(f"{container.path}/unpause", expect=204)


@pytest.mark.parametrize("stream", ["0", "1"])
def test_every_version(engine, version, stream):
    container = engine.start_container()
    answer = container.api.request("GET", "", raw_target=target(container, version=version, stream=stream), stream=True, expect=200)
    assert json.loads(next(answer.lines()))["memory_stats"]["usage"] > 0
    answer.close()
