"""docker-py's networks: the collection, its models, and the calls below them."""

import docker as sdk
import pytest

from harness.engine import IMAGE


@pytest.fixture
def sleeper(client):
    made = []

    def start(**options):
        made.append(client.containers.run(IMAGE, ["sleep", "1000"], detach=True, **options))
        return made[-1]

    yield start
    for container in made:
        container.remove(force=True)


def refused(client_call, status):
    with pytest.raises(sdk.errors.APIError) as caught:
        client_call()
    assert caught.value.response.status_code in ([status] if isinstance(status, int) else status)
    return caught.value.explanation


def test_collection(client):
    pool = sdk.types.IPAMPool(subnet="10.77.0.0/24", iprange="10.77.0.128/25", gateway="10.77.0.254", aux_addresses={"a": "10.77.0.5"})
    made = client.networks.create("py-net", driver="bridge", options={"com.docker.network.driver.mtu": "1400"}, internal=True, labels={"a": "b"},
                                  ipam=sdk.types.IPAMConfig(pool_configs=[pool]), check_duplicate=True, attachable=True, scope="local")
    assert made.name == "py-net" and made.short_id == made.id[:12] and made.containers == []
    assert made.attrs["Internal"] and made.attrs["Labels"] == {"a": "b"}
    assert made.attrs["IPAM"]["Config"][0]["IPRange"] == "10.77.0.128/25"
    assert [n.id for n in client.networks.list(names=["py-net"])] == [made.id]
    assert [n.id for n in client.networks.list(ids=[made.id])] == [made.id]
    assert [n.id for n in client.networks.list(filters={"label": "a=b", "driver": "bridge"})] == [made.id]
    assert client.networks.get("py-net") == made and client.networks.get(made.id, verbose=True, scope="local").id == made.id
    refused(lambda: client.networks.create("py-net", check_duplicate=True), 409)
    made.remove()
    with pytest.raises(sdk.errors.NotFound):
        client.networks.get(made.id)


def test_connect_and_disconnect(client, sleeper):
    network = client.networks.create("py-net", ipam=sdk.types.IPAMConfig(pool_configs=[sdk.types.IPAMPool(subnet="10.77.0.0/24")]))
    container, other = sleeper(), sleeper()
    network.connect(container, ipv4_address="10.77.0.9", aliases=["db"], links=[(other.name, "peer")])
    network.connect(other.name)
    network.reload()
    assert {c.id for c in network.containers} == {container.id, other.id}
    container.reload()
    end = container.attrs["NetworkSettings"]["Networks"]["py-net"]
    assert end["IPAddress"] == "10.77.0.9" and "db" in end["Aliases"] and end["Links"] == [f"{other.name}:peer"]
    assert "has active endpoints" in refused(network.remove, 403)
    assert [n.name for n in client.networks.list(greedy=True) if container in n.containers and n.name == "py-net"] == ["py-net"]
    network.disconnect(container)
    network.disconnect(other, force=True)
    network.reload()
    assert network.containers == []
    network.remove()


def test_run_on_a_network(client, sleeper):
    client.networks.create("py-net")
    container = sleeper(network="py-net")
    container.reload()
    assert set(container.attrs["NetworkSettings"]["Networks"]) == {"py-net"}
    assert client.containers.list(filters={"network": "py-net"}) == [container]
    peer = sleeper(network_mode=f"container:{container.id}")
    assert peer.exec_run(["hostname", "-i"]).output == container.exec_run(["hostname", "-i"]).output


def test_prune(client):
    client.networks.create("py-net", labels={"stage": "test"})
    assert client.networks.prune(filters={"label": "stage=other"})["NetworksDeleted"] is None
    assert client.networks.prune(filters={"label": "stage=test"})["NetworksDeleted"] == ["py-net"]


def test_low_level(client):
    api = client.api
    made = api.create_network("py-low", driver="bridge", labels={"low": "1"}, enable_ipv6=False)
    assert made["Warning"] == "" and api.inspect_network(made["Id"])["Name"] == "py-low"
    assert [n["Id"] for n in api.networks(names=["py-low"])] == [made["Id"]]
    config = api.create_networking_config({"py-low": api.create_endpoint_config(aliases=["x"])})
    id = api.create_container(IMAGE, ["sleep", "1000"], networking_config=config, host_config=api.create_host_config(network_mode="py-low"))["Id"]
    api.start(id)
    assert "x" in api.inspect_container(id)["NetworkSettings"]["Networks"]["py-low"]["Aliases"]
    api.disconnect_container_from_network(id, "py-low")
    api.connect_container_to_network(id, "py-low", aliases=["y"])
    assert "y" in api.inspect_container(id)["NetworkSettings"]["Networks"]["py-low"]["Aliases"]
    api.remove_container(id, force=True)
    api.remove_network("py-low")
    assert "network py-low not found" in refused(lambda: api.remove_network("py-low"), 404)
    assert api.prune_networks() == {"NetworksDeleted": None}
