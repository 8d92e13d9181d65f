"""docker-py: every method of its collections of images and volumes, and what it asks of the engine itself."""

import io
import json
import tarfile
import threading
import time

import docker as sdk
import pytest

from harness import images, rootfs
from harness.engine import IMAGE, wait_until
from harness.registry import PASSWORD, USER, DebianRegistry


@pytest.fixture
def pushed(client, registry, engine):
    """An image of its own in Debian's registry; its repository."""
    repository = f"{registry.host}/{engine.name('py')}"
    client.api.import_image_from_data(images.files(hello=b"hello"), repository=repository, tag="1")
    client.images.push(repository, tag="1")
    client.images.remove(f"{repository}:1")
    return repository


def test_import_forms(client, engine, tmp_path):
    data = rootfs.busybox()
    client.api.import_image_from_data(data, repository="py-import", tag="data")
    file = tmp_path / "image.tar"
    file.write_bytes(data)
    client.api.import_image_from_file(str(file), repository="py-import", tag="file")
    answer = client.api.import_image(src=str(file), repository="py-import", tag="src", changes=["ENV A=b"])
    assert json.loads(answer.splitlines()[-1])["status"].startswith("sha256:")
    assert {t for i in client.images.list("py-import") for t in i.tags} == {f"py-import:{t}" for t in ("data", "file", "src")}
    assert "A=b" in client.images.get("py-import:src").attrs["Config"]["Env"]
    assert client.containers.run("py-import:file", ["echo", "x"], remove=True) == b"x\n"


def test_get_tag_list_remove(client):
    image = client.images.get(IMAGE)
    assert image.short_id == image.id[:19] and image.attrs["Os"] == "linux" and image.labels == {}
    assert image.tag("py-tag", "2") and image.tag("py-tag", tag="3", force=True)
    image.reload()
    assert {"py-tag:2", "py-tag:3", IMAGE} == set(image.tags)
    assert [i.id for i in client.images.list(name="py-tag")] == [image.id]
    assert client.images.list(filters={"dangling": True}) == [] and client.images.list(filters={"label": "none"}) == []
    assert image.id in [i.id for i in client.images.list(all=True, filters={"reference": "py-*"})]
    assert client.api.images(quiet=True, name="py-tag") == [image.id]
    assert client.api.images()[0]["Created"] > 0
    client.images.remove("py-tag:2")
    client.images.remove(image="py-tag:3", noprune=True)
    for missing in (lambda: client.images.get("py-tag:2"), lambda: client.images.remove("py-tag:2"), lambda: client.api.history("py-tag:3")):
        with pytest.raises(sdk.errors.ImageNotFound):
            missing()
    with pytest.raises(sdk.errors.APIError) as caught:
        image.tag("UPPER CASE")
    assert caught.value.status_code in (400, 500)


def test_remove_what_is_used(client):
    client.api.import_image_from_data(images.files(a=b"a"), repository="py-used", tag="1")
    container = client.containers.create("py-used:1", ["true"])
    with pytest.raises(sdk.errors.APIError) as caught:
        client.images.remove("py-used:1")
    assert caught.value.status_code == 409
    container.image.remove(force=True)
    container.remove()


def test_history(client):
    client.api.import_image_from_data(rootfs.busybox(), repository="py-history", tag="1", changes=["LABEL a=b"])
    container = client.containers.create("py-history:1", ["true"])
    image = container.commit("py-history", "2", message="the second")
    found = image.history()
    assert len(found) == 2 and found[0]["Comment"] == "the second" and found[0]["Tags"] == ["py-history:2"] and found[0]["Id"] == image.id
    container.remove()


@pytest.mark.parametrize("named", [False, True, "py-save:2"])
def test_save_and_load(client, named):
    client.api.import_image_from_data(images.files(a=b"a"), repository="py-save", tag="1")
    image = client.images.get("py-save:1")
    image.tag("py-save", "2")
    image.reload()
    data = b"".join(image.save(chunk_size=4096, named=named))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    expected = {False: None, True: image.tags[0], "py-save:2": "py-save:2"}[named]
    assert manifest[0]["RepoTags"] == (expected and [expected])
    client.images.remove(image.id, force=True)
    loaded = client.images.load(data)
    assert [i.id for i in loaded] == [image.id]
    assert loaded[0].tags == ([expected] if expected else [])
    if named:
        with pytest.raises(sdk.errors.InvalidArgument):
            list(image.save(named="other:1"))
    assert b"".join(client.api.get_image(image.id)) and list(client.api.load_image(data))


def test_load_of_nonsense(client):
    with pytest.raises((sdk.errors.APIError, sdk.errors.ImageLoadError)):
        client.images.load(b"nonsense" * 1000)


def test_prune(client):
    client.api.import_image_from_data(images.files(a=b"a"), repository="py-prune", tag="1")
    old = client.images.get("py-prune:1")
    client.api.import_image_from_data(images.files(a=b"b"), repository="py-prune", tag="1")
    found = client.images.prune()
    assert {"Deleted": old.id} in found["ImagesDeleted"]
    found = client.images.prune(filters={"dangling": False, "label": "nobody-has"})
    assert found["ImagesDeleted"] is None and found["SpaceReclaimed"] == 0


def test_pull(client, pushed):
    image = client.images.pull(pushed, tag="1")
    assert image.tags == [f"{pushed}:1"] and image.attrs["RepoDigests"][0].startswith(f"{pushed}@sha256:")
    digest = image.attrs["RepoDigests"][0].partition("@")[2]
    assert client.images.pull(f"{pushed}:1").id == client.images.pull(f"{pushed}@{digest}").id == image.id
    image.tag(pushed, "other")
    client.images.push(pushed, tag="other")
    client.images.remove(image.id, force=True)
    assert {t for i in client.images.pull(pushed, all_tags=True) for t in i.tags} == {f"{pushed}:1", f"{pushed}:other"}
    lines = list(client.api.pull(pushed, tag="1", stream=True, decode=True))
    assert lines[-1]["status"].startswith("Status: Image is up to date")
    for absent in (f"{pushed}:none", f"{pushed}-none:1"):
        with pytest.raises((sdk.errors.NotFound, sdk.errors.ImageNotFound)):
            client.images.pull(absent)


def test_push(client, registry, pushed):
    image = client.images.pull(pushed, tag="1")
    image.tag(pushed, "2")
    lines = list(client.images.push(pushed, tag="2", stream=True, decode=True))
    assert lines[-1]["aux"]["Tag"] == "2" and lines[-1]["aux"]["Digest"].startswith("sha256:")
    text = client.images.push(pushed, tag="2")
    assert '"Layer already exists"' in text
    assert registry.skopeo("inspect", "--tls-verify=false", f"docker://{pushed}:2").returncode == 0
    assert "does not exist locally" in client.images.push(f"{pushed}-nothing", tag="1")


def test_registry_data(client, pushed):
    data = client.images.get_registry_data(f"{pushed}:1")
    assert data.id.startswith("sha256:") and data.short_id == data.id[:19]
    assert data.has_platform("linux/amd64") and not data.has_platform("windows/amd64")
    assert data.pull().attrs["RepoDigests"] == [f"{pushed}@{data.id}"]
    data.reload()
    with pytest.raises(sdk.errors.APIError):
        client.images.get_registry_data(f"{pushed}:none")


def test_search(client):
    with pytest.raises(sdk.errors.APIError):
        client.images.search("127.0.0.1:1/nothing", limit=5)


def test_login(client, engine, closing):
    locked = closing(DebianRegistry(engine, htpasswd=True))
    assert client.login(USER, PASSWORD, registry=locked.host, reauth=True)["Status"] == "Login Succeeded"
    with pytest.raises(sdk.errors.APIError) as caught:
        client.login(USER, "wrong", registry=locked.host, reauth=True)
    assert caught.value.status_code in (401, 500)
    repository = f"{locked.host}/py-login"
    client.images.get(IMAGE).tag(repository, "1")
    # docker-py does not send what `login` was told last but what its memory holds: the wrong password is not there.
    pushed = list(client.images.push(repository, tag="1", stream=True, decode=True))
    assert pushed[-1].get("aux", {}).get("Tag") == "1", pushed
    refused = list(client.images.push(repository, tag="1", stream=True, decode=True, auth_config={"username": USER, "password": "no"}))
    assert "errorDetail" in refused[-1]
    client.images.remove(f"{repository}:1")
    assert client.images.pull(repository, tag="1", auth_config={"username": USER, "password": PASSWORD}).tags


# Volumes.


def test_volumes(client):
    one = client.volumes.create("py-one", driver="local", labels={"k": "v"})
    two = client.volumes.create(labels={"k": "w"})
    assert one.name == one.id == "py-one" and len(two.name) == 64 and one.attrs["Driver"] == "local" and one.attrs["Scope"] == "local"
    assert client.volumes.get("py-one") == one
    assert client.volumes.create("py-one").attrs["Labels"] == {"k": "v"}
    for filters, expected in [(None, {one, two}), ({"label": "k=v"}, {one}), ({"name": "py-o"}, {one}), ({"driver": "local"}, {one, two}),
                              ({"dangling": True}, {one, two}), ({"dangling": "false"}, set())]:
        assert {v.name for v in client.volumes.list(filters=filters)} == {v.name for v in expected}, filters
    container = client.containers.create(IMAGE, ["true"], volumes=["py-one:/v:ro"])
    with pytest.raises(sdk.errors.APIError) as caught:
        one.remove()
    assert caught.value.status_code == 409
    assert [v.name for v in client.volumes.list(filters={"dangling": False})] == ["py-one"]
    container.remove()
    two.reload()
    one.remove(force=True)
    with pytest.raises(sdk.errors.NotFound):
        client.volumes.get("py-one")
    with pytest.raises(sdk.errors.NotFound):
        one.remove()
    with pytest.raises(sdk.errors.APIError):
        client.volumes.create("py-x", driver="no-such-driver")


def test_volume_prune(client):
    kept = client.volumes.create(labels={"keep": "1"})
    gone = client.volumes.create()
    answer = client.volumes.prune(filters={"label!": ["keep"]})
    assert answer["VolumesDeleted"] == [gone.name] and answer["SpaceReclaimed"] == 0
    kept.remove()


# The engine.


def test_info_version_ping_df(client, engine):
    info, version, df = client.info(), client.version(), client.df()
    assert info["ID"] and info["NCPU"] > 0 and info["DockerRootDir"] == str(engine.data_root)
    assert version["ApiVersion"] and version["Components"][0]["Name"] == "Engine"
    assert client.version(api_version=False)["Version"] == version["Version"]
    assert client.ping() is True
    assert [IMAGE] in [image["RepoTags"] for image in df["Images"]] and df["Volumes"] == [] and df["LayersSize"] > 0
    assert client.api.inspect_container(client.containers.create(IMAGE, ["true"]).id)["State"]["Status"] == "created"


def test_events(client, engine):
    stream = client.events(decode=True, filters={"type": ["container", "volume", "image"]})
    seen = []
    reader = threading.Thread(target=lambda: seen.extend((e["Type"], e["Action"]) for e in stream))
    reader.start()
    engine.wait_answered("/events?")
    client.volumes.create("py-events").remove()
    container = client.containers.run(IMAGE, ["sleep", "100"], detach=True, name="py-events")
    container.exec_run(["true"])
    container.pause()
    container.unpause()
    container.rename("py-events-2")
    container.kill()
    container.wait()
    container.remove()
    client.images.get(IMAGE).tag("py-events")
    client.images.remove("py-events")
    expected = [("volume", "create"), ("volume", "destroy"), ("container", "create"), ("container", "start"), ("container", "exec_create: true "),
                ("container", "exec_start: true "), ("container", "pause"), ("container", "unpause"), ("container", "rename"), ("container", "kill"),
                ("container", "destroy"), ("image", "tag"), ("image", "untag")]
    wait_until(lambda: ("image", "untag") in seen, what="the last event")
    stream.close()
    reader.join(40)
    trimmed = [(t, a.strip()) for t, a in seen if a not in ("die", "exec_die")]
    assert trimmed == [(t, a.strip()) for t, a in expected]
    assert [a for _, a in seen].count("die") == 1 and [a for _, a in seen].count("exec_die") == 1


def test_events_of_the_past(client):
    since = time.time() - 1
    container = client.containers.run(IMAGE, ["true"], detach=True)
    container.wait()
    raw = b"".join(client.events(since=int(since), until=time.time() + 0.2, filters={"container": container.id, "event": ["start", "die"]}))
    assert [json.loads(line)["status"] for line in raw.splitlines() if line] == ["start", "die"]
