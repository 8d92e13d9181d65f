"""Hundreds of networks and volumes: made, listed, looked at, counted, still there after a restart, pruned."""

import ipaddress

import docker as sdk
import pytest

from harness.engine import IMAGE


@pytest.mark.timeout(600)
@pytest.mark.restarts
def test_hundreds_of_networks_and_volumes(own_engine):
    # dockerd takes half a second to make a network, and longer to prune it.
    engine = own_engine("--default-address-pool", "base=10.128.0.0/9,size=24")
    many = 40 if engine.is_reference else 500
    client = sdk.DockerClient(base_url=engine.host, version="1.41", timeout=120)
    networks = [client.networks.create(f"many-{n:03}", labels={"n": str(n)}).id for n in range(many)]
    volumes = [client.volumes.create(f"many-{n:03}", labels={"n": str(n)}).name for n in range(many)]
    network = f"many-{many // 2:03}"
    user = client.containers.run(IMAGE, ["sleep", "1000"], detach=True, network=network, volumes={network: {"bind": "/v", "mode": "rw"}})

    def check():
        assert {n.id for n in client.networks.list(names=["many-"])} == set(networks)
        assert {v.name for v in client.volumes.list(filters={"name": "many-"})} == set(volumes)
        subnets = [ipaddress.ip_network(n.attrs["IPAM"]["Config"][0]["Subnet"]) for n in client.networks.list(names=["many-"])]
        assert len(set(subnets)) == many
        wanted = {"filters": {"label": f"n={many // 2}"}}
        assert [n.name for n in client.networks.list(**wanted)] == [v.name for v in client.volumes.list(**wanted)] == [network]
        assert client.networks.get(network).attrs["Labels"] == client.volumes.get(network).attrs["Labels"] == {"n": str(many // 2)}
        counted = {v["Name"]: v["UsageData"] for v in client.df()["Volumes"]}
        assert counted.pop(network)["RefCount"] == 1 and set(counted) == set(volumes) - {network}
        assert all(usage == {"RefCount": 0, "Size": 0} for usage in counted.values())

    check()
    if not engine.is_reference:
        engine.kill()
        engine.start()
        check()
        assert list(client.networks.get(network).attrs["Containers"]) == [user.id]
    pruned = client.networks.prune(filters={"label": "n"})["NetworksDeleted"]
    assert sorted(pruned) == sorted({f"many-{n:03}" for n in range(many)} - {network})
    pruned = client.volumes.prune(filters={"label": "n"})["VolumesDeleted"]
    assert sorted(pruned) == sorted(set(volumes) - {network})
    assert [n.name for n in client.networks.list(names=["many-"])] == [network]
    bridges = [link for link in engine.sandbox.links() if link.startswith("br-")]
    assert len(bridges) == 1
    user.remove(force=True)
    client.close()
