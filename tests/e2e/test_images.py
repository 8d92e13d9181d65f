"""Images: import, list, inspect, history, tag, delete, and how names are resolved."""

import bz2
import gzip
import lzma
import re
import subprocess

import pytest

from harness.engine import IMAGE
from harness.rootfs import TarBuilder

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def small(marker="x"):
    """A tar with one file; another marker, another image."""
    return TarBuilder().dir("etc").add("etc/marker", marker).bytes()


def import_image(api, repo=None, tag=None, data=None, **query):
    answer = api.post("/images/create", body=data or small(repo or "x"), fromSrc="-", repo=repo, tag=tag, expect=200,
                      **query)
    assert answer.headers["content-type"] == "application/json"
    return DIGEST.fullmatch(answer.objects[-1]["status"])[0]


def zstandard(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress,
                                      lambda d: gzip.compress(d[:1000]) + gzip.compress(d[1000:])],
                         ids=["plain", "gzip", "bzip2", "xz", "gzip-members"])
def test_import_compressions(engine, compress):
    id = import_image(engine.api, "compressed", "latest", compress(small("compressed")))
    found = engine.api.get("/images/compressed/json", expect=200).json
    assert found["Id"] == id
    assert found["RepoTags"] == ["compressed:latest"]


@pytest.mark.differs(reference="20.10 knows no zstd")
def test_import_zstd(engine):
    import_image(engine.api, "zstd", "latest", zstandard(small("zstd")))
    assert engine.api.get("/images/zstd/json").status == 200


def test_import_is_a_layer_with_its_diff_id(engine):
    import hashlib
    data = small("layers")
    id = import_image(engine.api, "layers", data=data)
    found = engine.api.get(f"/images/{id}/json").json
    assert found["RootFS"]["Type"] == "layers"
    assert len(found["RootFS"]["Layers"]) == 1
    if not engine.is_reference:  # Docker writes the archive anew before it takes the digest.
        assert found["RootFS"]["Layers"] == ["sha256:" + hashlib.sha256(data).hexdigest()]


def test_import_options(engine):
    id = import_image(engine.api, "options", "v1", message="hello there", changes=[
        'CMD ["sleep","5"]', "ENV A=1 B=two", "WORKDIR /data", "USER 1000:1000", "EXPOSE 80/tcp 53/udp",
        "VOLUME /vol", "LABEL colour=red", 'ENTRYPOINT ["/bin/sh","-c"]', "ONBUILD RUN true",
        "HEALTHCHECK --interval=5s CMD true"])
    found = engine.api.get(f"/images/{id}/json").json
    config = found["Config"]
    assert found["Comment"] == "hello there"
    assert config["Cmd"] == ["sleep", "5"]
    assert config["Entrypoint"] == ["/bin/sh", "-c"]
    assert "A=1" in config["Env"] and "B=two" in config["Env"]
    assert config["WorkingDir"] == "/data"
    assert config["User"] == "1000:1000"
    assert config["ExposedPorts"] == {"80/tcp": {}, "53/udp": {}}
    assert config["Volumes"] == {"/vol": {}}
    assert config["Labels"] == {"colour": "red"}
    assert config["OnBuild"] == ["RUN true"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9}


def test_import_platform(engine):
    id = import_image(engine.api, "platform", platform="linux/amd64")
    found = engine.api.get(f"/images/{id}/json").json
    assert (found["Os"], found["Architecture"]) == ("linux", "amd64")


@pytest.mark.parametrize("change", ["RUN true", "FROM scratch", "NONSENSE x", "COPY a b"])
def test_import_refused_changes(engine, change):
    before = engine.api.get("/images/json", all=True).json
    answer = engine.api.post("/images/create", body=small(), fromSrc="-", repo="refused", changes=[change])
    assert answer.status == 400, answer.text
    assert engine.api.get("/images/json", all=True).json == before


@pytest.mark.parametrize("repo", ["UPPER", "-dash", "a//b", "x" * 300, "with space"])
def test_import_bad_names(engine, repo):
    answer = engine.api.post("/images/create", body=small(), fromSrc="-", repo=repo)
    assert answer.status == 400 or "error" in answer.objects[-1], answer.text
    assert engine.api.get("/images/json", filters={"reference": ["*refused*"]}).json == []


def test_inspect(engine):
    found = engine.api.get(f"/images/{IMAGE}/json", expect=200).json
    assert DIGEST.fullmatch(found["Id"])
    assert found["RepoTags"] == [IMAGE]
    assert found["Os"] == "linux" and found["Architecture"] == "amd64"
    assert found["Size"] > 500_000
    assert found["Comment"].startswith("Imported from")


def test_inspect_missing(api):
    assert api.get("/images/nothing-here/json", expect=404).message.endswith("No such image: nothing-here:latest")


def test_history(engine):
    import_image(engine.api, "history", message="first")
    found = engine.api.get("/images/history/history", expect=200).json
    assert len(found) == 1
    assert found[0]["Comment"] == "first"
    assert found[0]["Tags"] == ["history:latest"]
    assert found[0]["Size"] > 0
    assert DIGEST.fullmatch(found[0]["Id"])


def test_history_missing(api):
    assert "No such image" in api.get("/images/nope/history", expect=404).message


def names(api, **query):
    return sorted(tag for image in api.get("/images/json", expect=200, **query).json for tag in image["RepoTags"] or [])


def test_list_filters(engine):
    api = engine.api
    import_image(api, "list/a", "1", changes=["LABEL kind=a"])
    second = import_image(api, "list/b", "2", changes=["LABEL kind=b other=1"])
    api.post("/images/list/b:2/tag", repo="alias", tag="x", expect=201)

    def filtered(**filters):
        return names(api, filters=filters)

    assert filtered(reference=["list/*"]) == ["list/a:1", "list/b:2"]
    assert filtered(reference=["list/*:2"]) == ["list/b:2"]
    assert filtered(reference=["alias"]) == ["alias:x"]
    assert filtered(label=["kind"]) == ["alias:x", "list/a:1", "list/b:2"]
    assert filtered(label=["kind=a"]) == ["list/a:1"]
    assert filtered(label=["kind=b", "other"]) == ["alias:x", "list/b:2"]
    assert filtered(label=["kind=none"]) == []
    assert filtered(dangling=["true"]) == []
    assert "list/a:1" in filtered(dangling=["false"])
    assert filtered(since=["list/a:1"]) == ["alias:x", "list/b:2"]
    assert "list/b:2" not in filtered(before=["list/b:2"])
    image = next(i for i in api.get("/images/json").json if i["Id"] == second)
    assert sorted(image["RepoTags"]) == ["alias:x", "list/b:2"]
    assert image["Containers"] == -1
    assert image["Labels"] == {"kind": "b", "other": "1"}


def test_dangling(engine):
    api = engine.api
    id = import_image(api, data=small("dangling"))
    assert [i["Id"] for i in api.get("/images/json", filters={"dangling": ["true"]}).json] == [id]
    assert api.get(f"/images/{id}/json").json["RepoTags"] == []


@pytest.mark.parametrize("filters", [{"nonsense": ["1"]}, {"dangling": ["maybe"]}, {"before": ["no-such-image"]}])
def test_bad_filters(engine, filters):
    assert engine.api.get("/images/json", filters=filters).status in (400, 404)


def test_tag_moves(engine):
    api = engine.api
    first = import_image(api, "moving", data=small("1"))
    second = import_image(api, "moving", data=small("2"))
    assert first != second
    assert api.get("/images/moving/json").json["Id"] == second
    assert api.get(f"/images/{first}/json").json["RepoTags"] == []


def test_tag(engine):
    api = engine.api
    api.post(f"/images/{IMAGE}/tag", repo="tagged", expect=201)
    api.post(f"/images/{IMAGE}/tag", repo="example.org:5000/deep/path", tag="v1.0_x-y", expect=201)
    found = api.get("/images/example.org:5000/deep/path:v1.0_x-y/json", expect=200).json
    assert sorted(found["RepoTags"]) == [IMAGE, "example.org:5000/deep/path:v1.0_x-y", "tagged:latest"]
    # The names of the default registry are one name.
    for name in ("docker.io/library/tagged", "docker.io/tagged:latest", "library/tagged"):
        assert api.get(f"/images/{name}/json", expect=200).json["Id"] == found["Id"]


@pytest.mark.parametrize("repo, tag, message", [
    ("UPPER", "x", "must be lowercase"),
    ("fine", "bad tag", "invalid tag format"), ("fine", "x" * 129, "invalid tag format"),
    ("fine", "-x", "invalid tag format"), ("", "x", "invalid reference format"),
    ("0123456789abcdef" * 4, "x", "cannot specify 64-byte hexadecimal strings"),
])
def test_tag_bad_names(engine, repo, tag, message):
    answer = engine.api.post(f"/images/{IMAGE}/tag", repo=repo, tag=tag)
    assert answer.status == (500 if engine.is_reference else 400), answer.text
    assert message in answer.message


def test_tag_missing(api):
    assert "No such image" in api.post("/images/none/tag", repo="x", expect=404).message


def test_resolution(engine):
    api = engine.api
    id = api.get(f"/images/{IMAGE}/json").json["Id"]
    hexadecimal = id.removeprefix("sha256:")
    for name in (id, hexadecimal, hexadecimal[:12], "sha256:" + hexadecimal[:12], hexadecimal[:4], IMAGE):
        assert api.get(f"/images/{name}/json", expect=200).json["Id"] == id, name
    for name in (hexadecimal[:3] + "x", "sha256:" + "0" * 64, "busybox", "busybox:other"):
        api.get(f"/images/{name}/json", expect=404)


def test_ambiguous_short_id(engine):
    """17 images share a first digit with another one for certain."""
    api = engine.api
    ids = [import_image(api, data=small(str(n))).removeprefix("sha256:") for n in range(17)]
    firsts = [id[0] for id in ids]
    digit = next(d for d in firsts if firsts.count(d) > 1)
    answer = api.get(f"/images/{digit}/json")
    assert answer.status == 404 if engine.is_reference else answer.status in (400, 404), answer.text
    assert api.delete(f"/images/{digit}").status >= 400


def test_a_name_wins_over_an_id(engine):
    api = engine.api
    id = api.get(f"/images/{IMAGE}/json").json["Id"].removeprefix("sha256:")
    other = import_image(api, id[:6], data=small("other"))
    assert api.get(f"/images/{id[:6]}/json").json["Id"] == other


def test_delete_untags_first(engine):
    api = engine.api
    id = import_image(api, "del", "1")
    api.post("/images/del:1/tag", repo="del", tag="2", expect=201)
    assert api.delete("/images/del:1", expect=200).json == [{"Untagged": "del:1"}]
    answer = api.delete("/images/del:2", expect=200).json
    assert answer[0] == {"Untagged": "del:2"}
    assert {"Deleted": id} in answer
    api.get(f"/images/{id}/json", expect=404)


def test_delete_by_id(engine):
    api = engine.api
    id = import_image(api, "byid", "1")
    assert {"Deleted": id} in api.delete(f"/images/{id}", expect=200).json


def test_delete_by_id_with_several_names(engine):
    api = engine.api
    id = import_image(api, "several-a")
    api.post("/images/several-a/tag", repo="several-b", expect=201)
    message = api.delete(f"/images/{id}", expect=409).message
    assert "must be forced" in message and "image is referenced in multiple repositories" in message
    found = api.delete(f"/images/{id}", force=True, expect=200).json
    assert {"Deleted": id} in found
    assert {"Untagged": "several-a:latest"} in found and {"Untagged": "several-b:latest"} in found


def test_delete_missing(api):
    assert api.delete("/images/none-here", expect=404).message == "No such image: none-here:latest"


def test_delete_used_by_running(engine):
    container = engine.start_container()
    message = engine.api.delete(f"/images/{IMAGE}", expect=409).message
    assert message.startswith(f'conflict: unable to remove repository reference "{IMAGE}" (must force) - container ')
    id = engine.api.get(f"/images/{IMAGE}/json").json["Id"]
    message = engine.api.delete(f"/images/{id}", force=True, expect=409).message
    assert "cannot be forced" in message and "image is being used by running container" in message
    container.kill()


def test_delete_used_by_stopped(engine):
    api = engine.api
    id = import_image(api, "stopped", changes=["CMD x"])
    container = engine.create(image="stopped")
    message = api.delete(f"/images/{id}", expect=409).message
    assert "must be forced" in message and "image is being used by stopped container" in message
    assert api.delete("/images/stopped", force=True, expect=200).json[0] == {"Untagged": "stopped:latest"}
    assert container.inspect()["Image"] == id


def test_container_of_a_name_that_moved(engine):
    """The list shows the id when the name no longer means the container's image."""
    api = engine.api
    old = import_image(api, "moved", data=small("old"))
    container = engine.create(image="moved")
    import_image(api, "moved", data=small("new"))
    listed = next(c for c in api.get("/containers/json", all=True).json if c["Id"] == container.id)
    assert listed["ImageID"] == old
    assert listed["Image"] == old


def test_prune(engine):
    api = engine.api
    id = import_image(api, data=small("prune"))
    kept = import_image(api, "kept", data=small("kept"))
    answer = api.post("/images/prune", expect=200).json
    assert {"Deleted": id} in answer["ImagesDeleted"]
    assert answer["SpaceReclaimed"] >= 0
    api.get(f"/images/{kept}/json", expect=200)


def test_same_content_twice(engine):
    """One layer, whatever it is called; removing one image leaves the other usable."""
    first = import_image(engine.api, "twin-a", data=None or small("same"))
    second = import_image(engine.api, "twin-b", data=small("same"), message="another")
    assert first != second
    engine.api.delete("/images/twin-a", expect=200)
    engine.create(["/x"], image="twin-b")


def test_overlay_whiteouts_do_not_reach_the_image(engine):
    """Files named like whiteouts in an imported archive hide nothing and are not device nodes."""
    data = TarBuilder().dir("d").add("d/kept", "1").add("d/.wh.kept", "").bytes()
    answer = engine.api.post("/images/create", body=data, fromSrc="-", repo="whiteout")
    assert answer.status in (200, 400, 500)
