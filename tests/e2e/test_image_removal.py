"""DELETE /images/{name} and /images/prune where names by digest, parents and containers meet; and their events."""

import json
import time

import pytest

from harness import images
from harness.http import Client
from harness.pulls import pull


def events(engine, since, *actions):
    """[(action, id, attributes)] of images since then."""
    answer = engine.api.get("/events", since=since, until=time.time() + 0.2, filters={"type": ["image"]})
    found = [(one["Action"], one["Actor"]["ID"], one["Actor"]["Attributes"]) for one in answer.objects]
    return [one for one in found if one[0] in actions]


def test_the_last_tag_takes_names_by_digest_along(engine, fake):
    image = images.small("digest names", config={"Labels": {"colour": "red"}})
    name = fake.put(image, "digests", "v1")
    pull(engine.api, name)
    engine.api.post(f"/images/{name}/tag", repo="elsewhere", expect=201)
    since = time.time()
    by_digest = f"{fake.host}/digests@{image.digest}"
    assert engine.api.delete(f"/images/{name}", expect=200).json == [{"Untagged": name}, {"Untagged": by_digest}]
    answer = engine.api.delete("/images/elsewhere", expect=200).json
    assert answer[:2] == [{"Untagged": "elsewhere:latest"}, {"Deleted": image.id}]
    found = events(engine, since, "untag", "delete")
    assert found[0] == ("untag", image.id, {"name": image.id, "colour": "red"})
    assert found[-1] == ("delete", image.id, {"name": image.id})


def test_by_digest(engine, fake):
    image = images.small("by digest")
    name = fake.put(image, "digests", "v1")
    pull(engine.api, name)
    by_digest = f"{fake.host}/digests@{image.digest}"
    assert engine.api.delete(f"/images/{by_digest}", expect=200).json == [{"Untagged": by_digest}]
    assert engine.api.get(f"/images/{name}/json", expect=200).json["RepoDigests"] == []
    assert {"Deleted": image.id} in engine.api.delete(f"/images/{name}", expect=200).json


def test_by_tag_and_digest(engine, fake):
    """`name:tag@digest` means the name by digest."""
    image = images.small("tag and digest")
    name = fake.put(image, "digests", "v1")
    pull(engine.api, f"{fake.host}/digests@{image.digest}")
    answer = engine.api.delete(f"/images/{name}@{image.digest}", expect=200).json
    assert {"Deleted": image.id} in answer
    engine.api.get(f"/images/{image.id}/json", expect=404)


def test_short_id_of_one_repository(engine, fake):
    """A tag and a name by digest of one repository are one name; two tags are not."""
    image = images.small("short id")
    name = fake.put(image, "short", "v1")
    pull(engine.api, name)
    short = image.id.removeprefix("sha256:")[:12]
    engine.api.post(f"/images/{name}/tag", repo=f"{fake.host}/short", tag="v2", expect=201)
    message = engine.api.delete(f"/images/{short}", expect=409).message
    assert message == f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    engine.api.delete(f"/images/{fake.host}/short:v2", expect=200)
    answer = engine.api.delete(f"/images/{short}", expect=200).json
    untagged = {one["Untagged"] for one in answer if "Untagged" in one}
    assert untagged == {name, f"{fake.host}/short@{image.digest}"}
    assert {"Deleted": image.id} in answer


@pytest.mark.differs(reference="came after 20.10")
def test_platforms(engine):
    engine.api.post("/images/create", body=images.files(a="platforms"), fromSrc="-", repo="platforms", expect=200)
    api = Client(engine.socket, "1.50", engine.recorder)
    arm, amd = (json.dumps({"os": "linux", "architecture": name}) for name in ("arm64", "amd64"))
    api.delete("/images/platforms", platforms=arm, expect=404)
    api.delete("/images/platforms", platforms=[amd, arm], expect=400)
    assert api.delete("/images/platforms", platforms=amd, expect=200).json[0] == {"Untagged": "platforms:latest"}


def test_prune_of_names_by_digest(engine, fake):
    """What has only a name by digest is dangling."""
    image = images.small("pruned", config={"Labels": {"a": "b"}})
    fake.put(image, "pruned")
    name = f"{fake.host}/pruned@{image.digest}"
    pull(engine.api, name)
    since = time.time()
    kept = engine.api.post("/images/prune", filters={"label!": ["a"]}, expect=200).json
    assert {"Deleted": image.id} not in (kept["ImagesDeleted"] or [])
    answer = engine.api.post("/images/prune", filters={"dangling": ["1"], "label": ["a=b"]}, expect=200).json
    assert answer["ImagesDeleted"][:2] == [{"Untagged": name}, {"Deleted": image.id}]
    assert answer["SpaceReclaimed"] == len("pruned")
    found = events(engine, since, "untag", "delete", "prune")
    assert [one[0] for one in found] == ["prune", "untag", "delete", "prune"]
    assert found[-1][2] == {"reclaimed": str(len("pruned"))}


@pytest.mark.parametrize("filters, message", [
    ({"until": ["1", "2"]}, "more than one until filter specified"),
    ({"until": ["x"]}, 'failed to parse value as time or duration: "x"'),
    ({"dangling": ["x"]}, "nvalid filter 'dangling=[x]'"), ({"nonsense": ["x"]}, "nvalid filter 'nonsense'"),
])
def test_prune_errors(engine, filters, message):
    answer = engine.api.post("/images/prune", filters=filters)
    assert answer.status in ((400, 500) if engine.is_reference else (400,))
    assert message in answer.message


def test_prune_all_until(engine, fake):
    old = images.small("old", document={"created": "2020-01-01T00:00:00Z"})
    new = images.small("new", document={"created": "2024-01-01T00:00:00Z"})
    for name, image in (("old", old), ("new", new)):
        pull(engine.api, fake.put(image, "ages", name))
    answer = engine.api.post("/images/prune", filters={"dangling": ["false"], "until": ["2021-01-01T00:00:00Z"]}, expect=200).json
    assert [one["Deleted"] for one in answer["ImagesDeleted"] if one.get("Deleted") in (old.id, new.id)] == [old.id]


def test_prune_all_spares_what_containers_use(engine, fake):
    image = images.runnable("used")
    name = fake.put(image, "used", "v1")
    pull(engine.api, name)
    container = engine.create(None, image=name)
    engine.api.post("/images/prune", filters={"dangling": ["false"], "until": ["2024-06-01T00:00:00Z"]}, expect=200)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    container.remove()
