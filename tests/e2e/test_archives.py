"""save and load: round trips, docker-archive and OCI layouts, other tools reading and writing what we read and write."""

import io
import json
import subprocess
import tarfile

import pytest

from harness.engine import IMAGE
from harness.rootfs import TarBuilder


def save(api, *names):
    if len(names) == 1:
        answer = api.get(f"/images/{names[0]}/get", expect=200)
    else:
        answer = api.get("/images/get", names=list(names), expect=200)
    assert answer.headers["content-type"] == "application/x-tar"
    return answer.body


def load(api, data, **query):
    answer = api.post("/images/load", body=data, headers={"Content-Type": "application/x-tar"}, **query)
    return answer


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def make(engine, name, marker, changes=()):
    data = TarBuilder().dir("etc").add("etc/marker", marker).bytes()
    engine.api.post("/images/create", body=data, fromSrc="-", repo=name, changes=list(changes), expect=200)
    return engine.api.get(f"/images/{name}/json").json["Id"]


def test_round_trip(engine):
    api = engine.api
    id = make(engine, "trip", "1", ['CMD ["/x"]', "ENV A=b"])
    before = api.get("/images/trip/json").json
    data = save(api, "trip")
    api.delete("/images/trip", expect=200)
    answer = load(api, data)
    assert answer.status == 200
    assert {"stream": "Loaded image: trip:latest\n"} in answer.objects
    after = api.get("/images/trip/json", expect=200).json
    assert after["Id"] == id
    for key in ("Config", "RootFS", "RepoTags", "Architecture", "Created", "Size"):
        assert after[key] == before[key], key


def test_docker_archive_layout(engine):
    id = make(engine, "layout", "1")
    files = members(save(engine.api, "layout"))
    manifest = json.loads(files["manifest.json"])
    assert len(manifest) == 1
    assert manifest[0]["RepoTags"] == ["layout:latest"]
    assert id.removeprefix("sha256:") in manifest[0]["Config"]
    config = json.loads(files[manifest[0]["Config"]])
    assert config["rootfs"]["diff_ids"]
    assert len(manifest[0]["Layers"]) == 1
    assert manifest[0]["Layers"][0] in files
    assert json.loads(files["repositories"])["layout"]["latest"]


@pytest.mark.differs(reference="20.10 writes no OCI layout")
def test_oci_layout(engine):
    make(engine, "oci", "1")
    files = members(save(engine.api, "oci"))
    assert json.loads(files["oci-layout"])["imageLayoutVersion"] == "1.0.0"
    index = json.loads(files["index.json"])
    descriptor = index["manifests"][0]
    manifest = json.loads(files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")])
    for blob in [manifest["config"], *manifest["layers"]]:
        assert len(files["blobs/sha256/" + blob["digest"].removeprefix("sha256:")]) == blob["size"]


def test_several_images(engine):
    api = engine.api
    first, second = make(engine, "multi-a", "a"), make(engine, "multi-b", "b")
    data = save(api, "multi-a", "multi-b")
    api.delete("/images/multi-a", expect=200)
    api.delete("/images/multi-b", expect=200)
    assert load(api, data).status == 200
    assert api.get("/images/multi-a/json").json["Id"] == first
    assert api.get("/images/multi-b/json").json["Id"] == second


def test_save_by_id_has_no_names(engine):
    api = engine.api
    id = make(engine, "unnamed", "1")
    data = save(api, id)
    assert json.loads(members(data)["manifest.json"])[0]["RepoTags"] is None
    api.delete("/images/unnamed", expect=200)
    answer = load(api, data)
    assert {"stream": f"Loaded image ID: {id}\n"} in answer.objects
    assert api.get(f"/images/{id}/json").json["RepoTags"] == []


def test_save_missing(api):
    assert "No such image" in api.get("/images/nope/get", expect=404).message


def test_save_several_with_one_missing(engine):
    answer = engine.api.get("/images/get", names=[IMAGE, "nope"])
    assert answer.status == 404


def test_load_progress(engine):
    """With quiet=0 there are progress lines for each layer that is new, with quiet=1 none."""
    api = engine.api
    data = save(api, make(engine, "progress", "x" * 100000) and "progress")
    api.delete("/images/progress", expect=200)
    loud = load(api, data, quiet=False)
    assert loud.status == 200
    assert any("progressDetail" in o for o in loud.objects)
    api.delete("/images/progress", expect=200)
    assert not any("progress" in o for o in load(api, data, quiet=True).objects)


def test_load_gzip(engine):
    import gzip
    data = save(engine.api, make(engine, "zipped", "1") and "zipped")
    engine.api.delete("/images/zipped", expect=200)
    assert load(engine.api, gzip.compress(data)).status == 200
    engine.api.get("/images/zipped/json", expect=200)


def test_load_runs(engine):
    data = save(engine.api, IMAGE)
    tagged = members(data)
    assert tagged
    engine.api.post(f"/images/{IMAGE}/tag", repo="runs", expect=201)
    data = save(engine.api, "runs")
    engine.api.delete("/images/runs", expect=200)
    load(engine.api, data)
    assert engine.output("cat /data/seed", image="runs") == "from the image\n"


def test_skopeo_reads_what_we_save(engine, tmp_path):
    make(engine, "for-skopeo", "1")
    (tmp_path / "a.tar").write_bytes(save(engine.api, "for-skopeo"))
    subprocess.run(["skopeo", "inspect", f"docker-archive:{tmp_path}/a.tar"], check=True, capture_output=True)
    subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{tmp_path}/a.tar", f"oci:{tmp_path}/oci:x"], check=True)


@pytest.mark.differs(reference="20.10 writes no OCI layout")
def test_umoci_unpacks_what_we_save(engine, tmp_path):
    make(engine, "for-umoci", "marked")
    data = save(engine.api, "for-umoci")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(tmp_path / "oci", filter="data")
    # umoci finds images by org.opencontainers.image.ref.name.
    index = json.loads((tmp_path / "oci/index.json").read_text())
    name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    subprocess.run(["umoci", "unpack", "--image", f"{tmp_path}/oci:{name}", f"{tmp_path}/bundle"], check=True,
                   capture_output=True)
    assert (tmp_path / "bundle/rootfs/etc/marker").read_text() == "marked"


def skopeo_made(engine, tmp_path, form):
    make(engine, "source", "made by others")
    (tmp_path / "a.tar").write_bytes(save(engine.api, "source"))
    engine.api.delete("/images/source", expect=200)
    out = tmp_path / "b.tar"
    subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{tmp_path}/a.tar", f"{form}:{out}:others:v1"], check=True)
    return out.read_bytes()


def test_load_docker_archive_of_skopeo(engine, tmp_path):
    answer = load(engine.api, skopeo_made(engine, tmp_path, "docker-archive"))
    assert answer.status == 200
    assert engine.api.get("/images/others:v1/json", expect=200).json["RepoTags"] == ["others:v1"]


@pytest.mark.differs(reference="20.10 cannot load OCI archives")
def test_load_oci_archive_of_skopeo(engine, tmp_path):
    answer = load(engine.api, skopeo_made(engine, tmp_path, "oci-archive"))
    assert answer.status == 200, answer.text
    assert "error" not in answer.objects[-1], answer.text


def test_layers_of_several_archives_stack(engine, tmp_path):
    """Three layers with whiteouts and an opaque directory, written by hand."""
    import hashlib
    layers = [
        TarBuilder().dir("a").add("a/1", "1").add("a/2", "2").dir("b").add("b/old", "x").dir("bin")
        .add("bin/busybox", engine_busybox(), mode=0o755).symlink("bin/sh", "busybox").symlink("bin/ls", "busybox").bytes(),
        TarBuilder().dir("a").add("a/.wh.1", "").dir("b").add("b/.wh..wh..opq", "").add("b/new", "y").bytes(),
        TarBuilder().dir("a").add("a/2", "two").add("a/3", "3").bytes(),
    ]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]},
                         "history": [{"created_by": f"step {n}"} for n in range(3)]}).encode()
    name = hashlib.sha256(config).hexdigest()
    tar = TarBuilder().add(f"{name}.json", config)
    for n, layer in enumerate(layers):
        tar.add(f"{n}/layer.tar", layer)
    tar.add("manifest.json", json.dumps([{"Config": f"{name}.json", "RepoTags": ["stack:1"],
                                          "Layers": [f"{n}/layer.tar" for n in range(3)]}]))
    assert load(engine.api, tar.bytes()).status == 200
    assert engine.api.get("/images/stack:1/json").json["Id"] == f"sha256:{name}"
    listing = engine.output("ls /a /b", image="stack:1").split()
    assert listing == ["/a:", "2", "3", "/b:", "new"]
    assert engine.output(["busybox", "cat", "/a/2"], image="stack:1") == "two"
    assert len(engine.api.get("/images/stack:1/history").json) == 3


def engine_busybox():
    import shutil
    from pathlib import Path
    return Path(shutil.which("busybox")).resolve().read_bytes()
