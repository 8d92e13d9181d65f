"""docker-py's volumes: the collection, its models, and the calls below them, each with every parameter."""

import docker as sdk
import pytest

from harness.engine import IMAGE


def refused(client_call, status):
    with pytest.raises(sdk.errors.APIError) as caught:
        client_call()
    assert caught.value.response.status_code == status
    return caught.value.explanation


def names(volumes):
    return sorted(v.name for v in volumes)


def is_newer(client):
    """Prunes spare what has a name since 1.42."""
    return sdk.utils.version_gte(client.api._version, "1.42")


def test_create(client, engine):
    plain = client.volumes.create()
    assert len(plain.name) == 64 and plain.id == plain.name and plain.short_id == plain.name[:12]
    options = {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=7"}
    made = client.volumes.create("py-made", driver="local", driver_opts=options, labels={"k": "v", "empty": ""})
    assert made.attrs["Name"] == "py-made" and made.attrs["Driver"] == "local" and made.attrs["Scope"] == "local"
    assert made.attrs["Options"] == options and made.attrs["Labels"] == {"k": "v", "empty": ""}
    assert made.attrs["Mountpoint"] == str(engine.data_root / "volumes/py-made/_data") and made.attrs["CreatedAt"]
    assert client.containers.run(IMAGE, ["stat", "-c", "%u", "/v"], volumes={"py-made": {"bind": "/v", "mode": "rw"}}, remove=True) == b"7\n"
    # What there is already is the answer.
    assert client.volumes.create("py-made", labels={"other": "x"}).attrs["Labels"] == {"k": "v", "empty": ""}
    assert "invalid option" in refused(lambda: client.volumes.create("py-bad", driver_opts={"no-such": "x"}), 400)
    assert "too short" in refused(lambda: client.volumes.create("x"), 400)
    assert "no-such-driver" in refused(lambda: client.volumes.create("py-bad", driver="no-such-driver"), 404)
    with pytest.raises(TypeError):
        client.api.create_volume("py-bad", labels=["no", "dictionary"])
    with pytest.raises(TypeError):
        client.api.create_volume("py-bad", driver_opts="no dictionary")


def test_get_and_reload(client):
    made = client.volumes.create("py-get", labels={"k": "v"})
    found = client.volumes.get("py-get")
    assert found == made and found.attrs["Labels"] == {"k": "v"}
    assert client.api.inspect_volume("py-get") == found.attrs
    made.remove()
    with pytest.raises(sdk.errors.NotFound, match="no such volume"):
        client.volumes.get("py-get")
    with pytest.raises(sdk.errors.NotFound):
        found.reload()


def test_list(client):
    for name, labels in [("py-one", {"k": "v"}), ("py-two", {"k": "w", "x": ""}), ("other", None)]:
        client.volumes.create(name, labels=labels)
    user = client.containers.create(IMAGE, "true", volumes=["py-two:/v"])
    assert {"py-one", "py-two", "other"} <= set(names(client.volumes.list()))
    for filters, found in [
        ({"name": "py-"}, ["py-one", "py-two"]),
        ({"name": ["py-one", "other"]}, ["other", "py-one"]),
        ({"label": "k"}, ["py-one", "py-two"]),
        ({"label": "k=w"}, ["py-two"]),
        ({"label": ["k", "x"]}, ["py-two"]),
        ({"driver": "local", "name": "py-"}, ["py-one", "py-two"]),
        ({"driver": "none"}, []),
        ({"dangling": True, "name": "py-"}, ["py-one"]),
        ({"dangling": False, "name": "py-"}, ["py-two"]),
        ({"dangling": ["true"], "label": "k=w"}, []),
    ]:
        assert names(client.volumes.list(filters=filters)) == found, filters
        answer = client.api.volumes(filters=filters)
        assert sorted(v["Name"] for v in answer["Volumes"] or []) == found and answer["Warnings"] is None
    refused(lambda: client.volumes.list(filters={"colour": "red"}), 400)
    user.remove()


def test_remove(client):
    made = client.volumes.create("py-remove")
    user = client.containers.create(IMAGE, "true", volumes={"py-remove": {"bind": "/v", "mode": "ro"}})
    assert user.id in refused(made.remove, 409)
    assert "in use" in refused(lambda: made.remove(force=True), 409)
    user.remove()
    made.remove()
    assert "no such volume" in refused(made.remove, 404)
    # docker-py takes `force` and does not send it.
    refused(lambda: made.remove(force=True), 404)
    client.volumes.create("py-remove").remove(force=True)
    client.volumes.create("py-remove")
    client.api.remove_volume("py-remove", force=False)
    refused(lambda: client.api.remove_volume("py-remove"), 404)


def test_prune(client, engine):
    client.volumes.create("py-kept", labels={"keep": "1"})
    client.volumes.create("py-goes", labels={"gone": "yes"})
    nobodys = client.volumes.create(labels={"gone": "no"})
    user = client.containers.create(IMAGE, "true", volumes=["py-used:/v"])
    (engine.data_root / "volumes" / nobodys.name / "_data/file").write_bytes(b"x" * 1234)
    report = client.volumes.prune(filters={"label": "gone=no"})
    assert report == {"VolumesDeleted": [nobodys.name], "SpaceReclaimed": 1234}
    report = client.volumes.prune(filters={"label!": "keep"})
    assert report == {"VolumesDeleted": [] if is_newer(client) else ["py-goes"], "SpaceReclaimed": 0}
    everything = {"all": True} if is_newer(client) else {}
    report = client.volumes.prune(filters={"label": ["keep=1"], **everything})
    assert report["VolumesDeleted"] == ["py-kept"]
    assert "py-used" in names(client.volumes.list())
    if engine.is_reference:
        assert "all" in refused(lambda: client.volumes.prune(filters={"all": True}), 400)
    refused(lambda: client.api.prune_volumes(filters={"until": "1h"}), 400)
    user.remove()
    assert set(client.api.prune_volumes(filters=everything)["VolumesDeleted"]) >= {"py-used"}
    assert not client.volumes.list()


def test_types_of_mounts(client):
    """`sdk.types.Mount` for volumes: its driver, options, labels, and what is not copied."""
    driver = sdk.types.DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": "size=2m"})
    mount = sdk.types.Mount("/data", "py-mount", type="volume", labels={"of": "a mount"}, no_copy=True, driver_config=driver, read_only=False)
    out = client.containers.run(IMAGE, ["sh", "-c", "ls /data; df -k /data | tail -1 | awk '{print $2}'"], mounts=[mount], remove=True)
    assert out == b"2048\n"
    attrs = client.volumes.get("py-mount").attrs
    assert attrs["Labels"] == {"of": "a mount"} and attrs["Options"]["o"] == "size=2m"
    assert client.containers.run(IMAGE, ["cat", "/data/seed"], mounts=[sdk.types.Mount("/data", "py-filled")], remove=True) == b"from the image\n"
    # A container that goes takes what has no name with it.
    container = client.containers.create(IMAGE, "true", mounts=[sdk.types.Mount("/data", None)])
    name = container.attrs["Mounts"][0]["Name"]
    container.remove(v=True)
    assert name not in names(client.volumes.list())
