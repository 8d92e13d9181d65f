"""GET /images/json, inspect and history: filters alone and together, versions, names by digest, manifests."""

import json

import pytest

from harness import images
from harness.engine import IMAGE
from harness.http import Client
from harness.pulls import pull

OLD, MIDDLE, NEW = "2020-01-01T00:00:00Z", "2022-06-15T12:30:00.5Z", "2024-01-02T03:04:05Z"
# Since which version of the API an engine has them; 20.10 has none of these.
newer = pytest.mark.differs(reference="came after 20.10")


def at(created, marker, **options):
    labels = options.pop("labels", None)
    return images.small(marker, config={"Labels": labels}, document={"created": created}, **options)


@pytest.fixture
def three(engine, fake):
    """Images of three times under short names; {short name: image}."""
    made = {"old": at(OLD, "old", labels={"kind": "a"}), "middle": at(MIDDLE, "middle", labels={"kind": "b", "other": ""}),
            "new": at(NEW, "new")}
    for name, image in made.items():
        pull(engine.api, fake.put(image, "times", name))
        engine.api.post(f"/images/{fake.host}/times:{name}/tag", repo="times", tag=name, expect=201)
    return made


def listed(api, version=None, **query):
    path = f"/v{version}/images/json" if version else "/images/json"
    return api.get(path, expect=200, **query).json


def times(engine, **filters):
    """Tags in `times` of what is found, in the order of the answer."""
    found = engine.api.get("/images/json", filters=filters, expect=200).json
    names = [name for image in found for name in image["RepoTags"] or [] if name.startswith("times:")]
    return [name.removeprefix("times:") for name in names]


def test_order_and_times(engine, three):
    assert times(engine) == ["new", "middle", "old"]
    assert times(engine, before=["times:new"]) == ["middle", "old"]
    assert times(engine, since=["times:old"]) == ["new", "middle"]
    assert times(engine, since=["times:old"], before=["times:new"]) == ["middle"]
    assert times(engine, before=[three["middle"].id]) == ["old"]
    assert times(engine, before=["times:old"], since=["times:new"]) == []


def test_labels(engine, three):
    assert times(engine, label=["kind"]) == ["middle", "old"]
    assert times(engine, label=["kind=b"]) == ["middle"]
    assert times(engine, label=["kind", "other"]) == ["middle"]
    assert times(engine, label=["other="]) == ["middle"]
    assert times(engine, label=["kind=a"], since=["times:old"]) == []


@newer
def test_labels_that_must_not_be(engine, three):
    assert times(engine, **{"label!": ["kind"]}) == ["new"]
    assert times(engine, **{"label!": ["kind=a"], "label": ["kind"]}) == ["middle"]


@newer
@pytest.mark.parametrize("until, found", [
    ("2021-01-01", ["old"]), ("2022-06-15T12:30:01Z", ["middle", "old"]), ("2022-06-15T12:30", ["old"]),
    ("2022-06-15T14:30:01+02:00", ["middle", "old"]), ("1640995200", ["old"]), ("1h", ["new", "middle", "old"]),
    ("876000h", [])])
def test_until(engine, three, until, found):
    assert times(engine, until=[until]) == found
    assert times(engine, until=[until, "0s"]) == found, "the earliest counts"


def test_references(engine, fake, three):
    assert times(engine, reference=["times"]) == ["new", "middle", "old"]
    assert times(engine, reference=["times:[mn]*"]) == ["new", "middle"]
    assert times(engine, reference=["times:[^mn]*"]) == ["old"]
    assert times(engine, reference=["times:old", "time?:new"]) == ["new", "old"]
    assert times(engine, reference=["time"]) == []
    image = three["old"]
    found = engine.api.get("/images/json", filters={"reference": [f"{fake.host}/times@{image.digest}"]}).json
    assert [one["Id"] for one in found] == [image.id]
    assert found[0]["RepoDigests"] == [f"{fake.host}/times@{image.digest}"]
    assert not found[0]["RepoTags"]


@pytest.mark.parametrize("filters, message", [
    ({"reference": ["["]}, "syntax error in pattern"), ({"reference": ["times:a\\"]}, "syntax error in pattern"),
    ({"dangling": ["maybe"]}, "nvalid filter 'dangling=[maybe]'"), ({"nonsense": ["x"]}, "nvalid filter 'nonsense'"),
    ({"before": ["none-such"]}, "No such image: none-such:latest"),
])
def test_errors(engine, three, filters, message):
    answer = engine.api.get("/images/json", filters=filters)
    wanted = 404 if "before" in filters else 400
    assert answer.status in ((wanted, 500) if engine.is_reference else (wanted,)), answer.text
    assert message in answer.message


@newer
def test_errors_of_until(engine):
    answer = engine.api.get("/images/json", filters={"until": ["soon"]}, expect=400)
    assert answer.message == 'failed to parse value as time or duration: "soon"'


def test_dangling_with_a_digest(engine, fake):
    """A name by digest is no tag: such an image is dangling, and yet not without a name."""
    image = images.small("by digest")
    fake.put(image, "dangling")
    pull(engine.api, f"{fake.host}/dangling@{image.digest}")
    for filters, shown in [({}, True), ({"dangling": ["true"]}, True), ({"dangling": ["false"]}, True)]:
        found = [one["Id"] for one in engine.api.get("/images/json", filters=filters).json]
        assert (image.id in found) == shown, filters


def test_versions(engine):
    engine.api.post("/images/create", body=images.files(a="nameless"), fromSrc="-", expect=200)
    id = engine.api.get("/images/json", filters={"dangling": ["true"]}).json[0]["Id"]
    for version in engine.versions:
        minor = int(version.split(".")[1])
        found = next(one for one in listed(Client(engine.socket, version, engine.recorder)) if one["Id"] == id)
        old = minor < 43
        assert found["RepoTags"] == (["<none>:<none>"] if old else [])
        assert found["RepoDigests"] == (["<none>@<none>"] if old else [])
        assert ("VirtualSize" in found) == (minor < 44)
        assert ("Descriptor" in found) == (minor >= 48)
        assert (found["SharedSize"], found["Containers"]) == (-1, -1)
        assert "Manifests" not in found


@newer
def test_shared_size(engine, fake):
    common = images.layer(images.files(common=images.noise(5000)))
    own = images.layer(images.files(own=images.noise(700)))
    one, two = images.image([common]), images.image([own, common])
    for name, image in (("one", one), ("two", two)):
        pull(engine.api, fake.put(image, "shared", name))
    api = Client(engine.socket, "1.42", engine.recorder)
    sizes = {image["Id"]: image for image in api.get("/images/json", **{"shared-size": True}).json}
    assert sizes[one.id]["SharedSize"] == sizes[two.id]["SharedSize"] == 5000
    assert sizes[two.id]["Size"] == 5700
    assert sizes[one.id]["Containers"] == -1
    usage = api.get("/system/df", type="image").json
    assert {image["Id"]: image["SharedSize"] for image in usage["Images"]}[two.id] == 5000
    known = {image["Id"]: image["Size"] for image in usage["Images"] if image["Id"] not in (one.id, two.id)}
    # A layer counts once, whatever it lies on.
    assert usage["LayersSize"] == 5700 + sum(known.values())


@newer
def test_manifests(engine, fake):
    ours = images.runnable("manifests", images.OCI)
    other = images.small("other", images.OCI, architecture="s390x")
    statement = {"mediaType": images.MANIFEST[images.OCI], "digest": "sha256:" + "a" * 64, "size": 7,
                 "platform": {"os": "unknown", "architecture": "unknown"},
                 "annotations": {"vnd.docker.reference.type": "attestation-manifest",
                                 "vnd.docker.reference.digest": ours.digest}}
    name = fake.put_index("manifests", [other, ours, statement], "v1", kind=images.OCI) and f"{fake.host}/manifests:v1"
    pull(engine.api, name)
    container = engine.create(None, image=name)
    api = Client(engine.socket, "1.48", engine.recorder)
    found = next(one for one in api.get("/images/json", manifests=True).json if one["Id"] == ours.id)
    assert found["Descriptor"]["mediaType"] == images.INDEX[images.OCI]
    assert found["Containers"] == 1
    assert f"{fake.host}/manifests@{found['Descriptor']['digest']}" in found["RepoDigests"]
    by_id = {one["ID"]: one for one in found["Manifests"]}
    mine = by_id[ours.digest]
    assert mine["Available"] and mine["Kind"] == "image"
    assert mine["ImageData"]["Containers"] == [container.id]
    assert mine["ImageData"]["Platform"] == {"architecture": "amd64", "os": "linux"}
    content = len(ours.manifest) + sum(len(blob) for blob in ours.blobs.values())
    assert mine["Size"] == {"Content": content, "Total": content + mine["ImageData"]["Size"]["Unpacked"]}
    absent = by_id[other.digest]
    assert not absent["Available"] and absent["Size"] == {"Content": 0, "Total": 0}
    assert absent["ImageData"]["Platform"]["architecture"] == "s390x"
    assert by_id[statement["digest"]]["Kind"] == "attestation"
    assert by_id[statement["digest"]]["AttestationData"] == {"For": ours.digest}
    inspected = api.get(f"/images/{name}/json", manifests=True, expect=200).json
    assert inspected["Manifests"] == found["Manifests"] and inspected["Descriptor"] == found["Descriptor"]
    assert "Manifests" not in api.get(f"/images/{name}/json").json


@newer
def test_platform_parameters(engine):
    def platform(os="linux", architecture="amd64", **more):
        return json.dumps({"os": os, "architecture": architecture, **more})
    api = Client(engine.socket, "1.49", engine.recorder)
    for path in ("json", "history"):
        api.get(f"/images/{IMAGE}/{path}", platform=platform(), expect=200)
        message = api.get(f"/images/{IMAGE}/{path}", platform=platform(architecture="arm64"), expect=404).message
        assert message.startswith(f"image with reference {IMAGE} was found but")
        for wrong in ("linux/amd64", "{}", '{"variant":"v8"}', '{"os":"linux"}'):
            api.get(f"/images/{IMAGE}/{path}", platform=wrong, expect=400)
    message = api.get(f"/images/{IMAGE}/json", platform=platform(), manifests=True, expect=400).message
    assert message == "conflicting options: manifests and platform options cannot both be set"
    # Older versions do not know it.
    Client(engine.socket, "1.47").get(f"/images/{IMAGE}/history", platform="nonsense", expect=200)


def test_inspect_of_a_container_config(engine, fake):
    """What 20.10 wrote into an image at commit: clients of old versions see it, those of new ones do not."""
    container_config = {"Hostname": "h", "Cmd": ["sh", "-c", "#(nop) x"], "Labels": {}}
    image = images.small("commit", config={"Hostname": "host", "Env": ["A=1"], "Cmd": ["x"], "Image": "sha256:parent",
                                           "OnBuild": [], "Volumes": {"/v": {}}, "Labels": None},
                         document={"container": "c" * 64, "container_config": container_config, "author": "me",
                                   "docker_version": "19.03", "comment": "hello", "os.version": "6.1"})
    name = fake.put(image, "committed", "v1")
    pull(engine.api, name)
    found = engine.api.get(f"/images/{name}/json", expect=200).json
    assert found["Container"] == "c" * 64
    assert found["ContainerConfig"]["Hostname"] == "h" and found["ContainerConfig"]["Cmd"][2] == "#(nop) x"
    assert found["Config"]["Hostname"] == "host" and found["Config"]["Image"] == "sha256:parent"
    assert found["Config"]["OnBuild"] == [] and found["Config"]["Labels"] is None
    assert (found["Author"], found["DockerVersion"], found["Comment"], found["OsVersion"]) == ("me", "19.03", "hello", "6.1")
    if not engine.is_reference:
        new = Client(engine.socket, "1.45", engine.recorder).get(f"/images/{name}/json").json
        assert "Container" not in new and "ContainerConfig" not in new


def test_history_of_layers(engine, fake):
    layers = [images.layer(images.files(one=b"1" * 100)), images.layer(images.files(two=b"2" * 20))]
    steps = [{"created": OLD, "created_by": "first", "comment": "c"}, {"created": MIDDLE, "created_by": "ENV x", "empty_layer": True},
             {"created": NEW, "created_by": "last"}]
    name = fake.put(images.image(layers, document={"history": steps}), "steps", "v1")
    pull(engine.api, name)
    engine.api.post(f"/images/{name}/tag", repo="steps", tag="other", expect=201)
    found = engine.api.get(f"/images/{name}/history", expect=200).json
    assert [one["CreatedBy"] for one in found] == ["last", "ENV x", "first"]
    assert [one["Size"] for one in found] == [20, 0, 100]
    assert [one["Id"] for one in found][1:] == ["<missing>", "<missing>"]
    assert sorted(found[0]["Tags"]) == sorted([name, "steps:other"]) and found[1]["Tags"] is None
    assert found[2]["Comment"] == "c" and found[2]["Created"] == 1577836800
