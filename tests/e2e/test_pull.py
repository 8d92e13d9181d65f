"""Pull from registries that behave: names, tags, digests, platforms, compressions, progress and events."""

import json

import pytest

from harness import images
from harness.engine import VERSION
from harness.images import DOCKER, OCI
from harness.pulls import check_pull, failure, images_named, pull, statuses

KINDS = [(DOCKER, "gzip"), (OCI, "gzip"), (OCI, "plain"), (DOCKER, "plain"),
         pytest.param(OCI, "zstd", marks=pytest.mark.differs(reference="20.10 knows no zstd"))]


@pytest.mark.parametrize("kind, compression", KINDS, ids=lambda v: v)
def test_kinds(engine, fake, kind, compression):
    image = images.runnable(f"{kind} {compression}", kind, compression)
    name = fake.put(image, "kinds", "v1")
    messages = pull(engine.api, name)
    check_pull(messages, "kinds", "v1", image.layers, image.digest, name)
    found = engine.api.get(f"/images/{name}/json", expect=200).json
    assert found["Id"] == image.id
    assert found["RepoTags"] == [name]
    assert found["RepoDigests"] == [f"{fake.host}/kinds@{image.digest}"]
    assert found["RootFS"] == {"Type": "layers", "Layers": [one.diff_id for one in image.layers]}
    assert found["Created"] == "2024-01-02T03:04:05Z"
    assert engine.output(None, image=name) == f"{kind} {compression}"


def test_tag_in_its_own_parameter(engine, fake):
    image = images.small("tag parameter")
    fake.put(image, "deep/path/to/it", "v2")
    messages = pull(engine.api, f"{fake.host}/deep/path/to/it", "v2")
    check_pull(messages, "deep/path/to/it", "v2", image.layers, image.digest, f"{fake.host}/deep/path/to/it:v2")


def test_the_tag_parameter_wins(engine, fake):
    """`fromImage=name:one&tag=two` is two."""
    fake.put(images.small("one"), "both", "one")
    two = images.small("two")
    fake.put(two, "both", "two")
    pull(engine.api, f"{fake.host}/both:one", "two")
    assert images_named(engine.api, f"{fake.host}/both") == [f"{fake.host}/both:two"]


@pytest.mark.parametrize("where", ["name", "tag"])
def test_digest(engine, fake, where):
    image = images.small(f"by digest {where}")
    fake.put(image, "digests", "moved-on")
    name = f"{fake.host}/digests@{image.digest}"
    messages = pull(engine.api, name) if where == "name" else pull(engine.api, f"{fake.host}/digests", image.digest)
    check_pull(messages, "digests", name, image.layers, image.digest, name)
    found = engine.api.get(f"/images/{name}/json", expect=200).json
    assert found["Id"] == image.id
    assert found["RepoTags"] == []
    assert found["RepoDigests"] == [name]
    listed = next(i for i in engine.api.get("/images/json").json if i["Id"] == image.id)
    assert listed["RepoDigests"] == [name]
    assert listed["RepoTags"] in ([f"{fake.host}/digests:<none>"], [], None)


def test_all_tags(engine, fake):
    """Without a tag: every tag of the repository."""
    made = {tag: images.small(f"all {tag}") for tag in ("1", "2", "latest")}
    for tag, image in made.items():
        fake.put(image, "every", tag)
    fake.put(made["1"], "every", "one")
    messages = pull(engine.api, f"{fake.host}/every")
    for tag, image in {**made, "one": made["1"]}.items():
        assert {"status": "Pulling from every", "id": tag} in messages
        assert engine.api.get(f"/images/{fake.host}/every:{tag}/json", expect=200).json["Id"] == image.id
    assert messages[-1] == {"status": f"Status: Downloaded newer image for {fake.host}/every"}
    assert pull(engine.api, f"{fake.host}/every")[-1] == {"status": f"Status: Image is up to date for {fake.host}/every"}


def test_all_tags_in_pages(engine, fake):
    for number in range(7):
        fake.put(images.small("paged"), "paged", f"t{number}")
    fake.on("GET", "/tags/list", lambda handler: handler.seen.query.setdefault("n", "2") and False)
    pull(engine.api, f"{fake.host}/paged")
    assert len(images_named(engine.api, f"{fake.host}/paged")) == 7
    assert len(fake.requests("GET", "/tags/list")) == 4


def test_up_to_date(engine, fake):
    image = images.small("up to date")
    name = fake.put(image, "uptodate", "v")
    pull(engine.api, name)
    fake.log.clear()
    messages = pull(engine.api, name)
    check_pull(messages, "uptodate", "v", [], image.digest, name, new=False)
    assert fake.blob_requests() == [], "what is here was fetched again"
    assert len(fake.requests("GET|HEAD", "/v2/.+")) <= 2


def test_a_tag_that_moved(engine, fake):
    """The name follows; the old image stays, without a name but its digest."""
    first, second = images.small("first"), images.small("second")
    name = fake.put(first, "moving", "v")
    pull(engine.api, name)
    fake.put(second, "moving", "v")
    messages = pull(engine.api, name)
    check_pull(messages, "moving", "v", second.layers, second.digest, name)
    assert engine.api.get(f"/images/{name}/json").json["Id"] == second.id
    old = engine.api.get(f"/images/{first.id}/json", expect=200).json
    assert old["RepoTags"] == []
    assert old["RepoDigests"] == [f"{fake.host}/moving@{first.digest}"]


def test_shared_layers_are_not_fetched_again(engine, fake):
    base = images.layer(images.files(base="shared base"))
    first = images.image([base, images.layer(images.files(top="1"))])
    second = images.image([base, images.layer(images.files(top="2"))])
    pull(engine.api, fake.put(first, "shares", "1"))
    fake.log.clear()
    messages = pull(engine.api, fake.put(second, "shares", "2"))
    assert statuses(messages, base.digest.removeprefix("sha256:")[:12])[-1] == "Already exists"
    assert fake.blob_requests(base.digest) == []


def test_the_same_layer_twice_in_an_image(engine, fake):
    twice = images.layer(images.files(twice="x"))
    image = images.image([twice, images.layer(images.files(between="y")), twice])
    name = fake.put(image, "twice", "v")
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json").json["RootFS"]["Layers"] == [one.diff_id for one in image.layers]
    assert sum(1 for s in fake.blob_requests(twice.digest) if s.start == 0) == 1


def test_an_image_without_layers(engine, fake):
    name = fake.put(images.image([]), "nothing", "v")
    answer = engine.api.post("/images/create", fromImage=name)
    if answer.status == 200 and "error" not in answer.objects[-1]:
        assert engine.api.get(f"/images/{name}/json", expect=200).json["RootFS"].get("Layers") in (None, [])


@pytest.fixture(params=[DOCKER, OCI])
def many(request, fake):
    """An index of several platforms: (name, {platform: image})."""
    kind = request.param
    made = {
        "linux/amd64": images.small("amd64", kind), "linux/arm64": images.small("arm64", kind, architecture="arm64", variant="v8"),
        "linux/arm/v7": images.small("armv7", kind, architecture="arm", variant="v7"),
        "linux/arm/v6": images.small("armv6", kind, architecture="arm", variant="v6"),
        "linux/s390x": images.small("s390x", kind, architecture="s390x"),
    }
    name = fake.put_index(f"many-{kind}", [made["linux/s390x"], *made.values()], "v", kind=kind)
    return name, made


@pytest.mark.parametrize("platform, wanted", [
    (None, "linux/amd64"), ("linux/amd64", "linux/amd64"), ("linux/arm64", "linux/arm64"), ("linux/arm64/v8", "linux/arm64"),
    ("linux/arm/v7", "linux/arm/v7"), ("linux/arm/v6", "linux/arm/v6"), ("linux/s390x", "linux/s390x"), ("linux/arm", "linux/arm/v7"),
    ("linux", "linux/amd64"), ("linux/aarch64", "linux/arm64"), ("linux/x86_64", "linux/amd64"),
])
def test_platforms(engine, fake, many, platform, wanted):
    name, made = many
    messages = pull(engine.api, name, platform=platform)
    found = engine.api.get(f"/images/{name}/json", expect=200).json
    assert found["Id"] == made[wanted].id
    assert found["Architecture"] == wanted.split("/")[1]
    # The digest of an image from an index is that of the index.
    repository, tag = name.rsplit(":", 1)
    digest = images.sha256(fake.manifests[repository.split("/", 1)[1], tag][1])
    assert found["RepoDigests"] == [f"{repository}@{digest}"]
    assert {"status": f"Digest: {digest}"} in messages


def test_another_platform_takes_the_name(engine, many):
    name, made = many
    pull(engine.api, name)
    messages = pull(engine.api, name, platform="linux/arm64")
    assert engine.api.get(f"/images/{name}/json").json["Id"] == made["linux/arm64"].id
    assert messages[-1]["status"].startswith("Status: Downloaded newer image")


@pytest.mark.parametrize("platform", ["linux/riscv64", "linux/mips64le", "plan9/amd64"])
def test_a_platform_that_is_not_there(engine, many, platform):
    name, _ = many
    answer = engine.api.post("/images/create", fromImage=name, platform=platform)
    text = failure(answer)
    assert "no match" in text or "operating system" in text or "not supported" in text, text
    assert images_named(engine.api, name) == []


@pytest.mark.parametrize("platform", ["a/b/c/d", "linux/", "/", "linux/am d64", "x" * 300])
def test_malformed_platforms(engine, fake, platform):
    name = fake.put(images.small("malformed"), "malformed", "v")
    answer = engine.api.post("/images/create", fromImage=name, platform=platform)
    assert answer.status == 400, answer.text
    assert fake.log == []


def test_the_platform_of_a_plain_manifest(engine, fake):
    """A single image of another architecture is taken when nothing was asked for."""
    name = fake.put(images.small("other", architecture="arm64"), "single-arm", "v")
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json").json["Architecture"] == "arm64"


def test_events(engine, fake):
    name = fake.put(images.small("events"), "events", "v")
    stream = engine.api.get("/events", stream=True, filters={"type": ["image"]})
    try:
        pull(engine.api, name)
        event = json.loads(next(stream.lines()))
    finally:
        stream.close()
    assert (event["Type"], event["Action"]) == ("image", "pull")
    assert event["Actor"]["ID"] == name
    assert event["Actor"]["Attributes"]["name"] == f"{fake.host}/events"


def test_labels_in_events(engine, fake):
    name = fake.put(images.small("labelled", config={"Labels": {"colour": "red"}}), "labelled", "v")
    stream = engine.api.get("/events", stream=True, filters={"type": ["image"]})
    try:
        pull(engine.api, name)
        event = json.loads(next(stream.lines()))
    finally:
        stream.close()
    assert event["Actor"]["Attributes"].get("colour") == "red"


@pytest.mark.parametrize("compression", ["gzip", "plain"])
def test_whiteouts(engine, fake, compression):
    """A layer hides files and whole directories of those below."""
    from harness.rootfs import TarBuilder, busybox
    below = TarBuilder().dir("d").add("d/gone", "1").add("d/kept", "2").dir("o").add("o/old", "3").dir("x").add("x/y", "4")
    above = TarBuilder().add("d/.wh.gone", "").dir("o").add("o/.wh..wh..opq", "").add("o/new", "5").add(".wh.x", "")
    archives = [busybox(), below.bytes(), above.bytes()]
    image = images.image([images.layer(data, compression) for data in archives], config={"Cmd": ["sh"]})
    name = fake.put(image, f"whiteouts-{compression}", "v")
    pull(engine.api, name)
    assert engine.output("find /d /o /x 2>/dev/null | sort; true", image=name).split() == ["/d", "/d/kept", "/o", "/o/new"]



def test_versions(engine, fake, version):
    name = fake.put(images.small("versions"), "versions", "v")
    pull(engine.api.at(version), name)
    assert images_named(engine.api.at(VERSION), name) == [name]


def test_from_the_debian_registry(engine, registry, tmp_path):
    """Pushed by skopeo in three forms, pulled, run."""
    folder = tmp_path / "oci"
    images.write_layout(folder, images.runnable("from skopeo", OCI))
    ids = set()
    for tag, options in {"docker": ["--format", "v2s2"], "oci": ["--format", "oci"]}.items():
        registry.skopeo("copy", "--dest-tls-verify=false", *options, f"oci:{folder}:v", f"docker://{registry.host}/skopeo:{tag}")
        name = f"{registry.host}/skopeo:{tag}"
        messages = pull(engine.api, name)
        raw, digest = registry.raw(f"skopeo:{tag}")
        assert {"status": f"Digest: {digest}"} in messages
        assert engine.output(None, image=name) == "from skopeo"
        ids.add(engine.api.get(f"/images/{name}/json").json["Id"])
        assert json.loads(raw)["config"]["digest"] in ids
