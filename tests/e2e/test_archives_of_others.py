"""Archives across programs: what podman, skopeo, buildah, umoci and dockerd 20.10 write we load, and they load ours."""

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile

import pytest

from harness.engine import Engine
from harness.rootfs import TarBuilder

FULL_NAME = "docker.io/library/travels:latest"
OLD = "20.10 cannot load OCI archives"


def run(*args, **options):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{args}: {done.stdout}{done.stderr}"
    return done.stdout


def make(engine, name, marker="marked"):
    """An image with a file, a hard link, an odd owner and mode; its configuration has a command and a label."""
    tar = TarBuilder().dir("etc").add("etc/marker", marker, mode=0o4750, uid=1000, gid=7)
    tar.add("etc/hard", kind=tarfile.LNKTYPE, link="etc/marker").symlink("etc/soft", "marker")
    changes = ['CMD ["/x"]', "LABEL made=here"]
    engine.api.post("/images/create", body=tar.bytes(), fromSrc="-", repo=name, changes=changes, expect=200)
    return engine.api.get(f"/images/{name}/json").json


def save(engine, *names):
    return engine.api.get("/images/get", names=list(names), expect=200).body


def load(engine, data, **query):
    answer = engine.api.post("/images/load", body=data, **query)
    assert answer.status == 200, answer.text
    assert "error" not in answer.objects[-1], answer.text
    return answer.objects


def tarred(directory):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, path.name)
    return buffer.getvalue()


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


@pytest.fixture
def ours(engine, tmp_path):
    """An archive that the engine saved, in a file; the image itself is gone."""
    image = make(engine, "travels")
    path = tmp_path / "ours.tar"
    path.write_bytes(save(engine, "travels"))
    engine.api.delete("/images/travels", expect=200)
    return path, image


def check(engine, name, image):
    """The image came back as it was."""
    found = engine.api.get(f"/images/{name}/json", expect=200).json
    assert found["RootFS"] == image["RootFS"]
    assert found["Config"]["Cmd"] == ["/x"]
    assert found["Config"]["Labels"] == {"made": "here"}
    content = export(engine, name)
    assert (content["etc/marker"].mode, content["etc/marker"].uid, content["etc/marker"].gid) == (0o4750, 1000, 7)


def export(engine, name):
    """The headers of the files in the image's only layer."""
    files = members(save(engine, name))
    layer = files[json.loads(files["manifest.json"])[0]["Layers"][0]]
    if layer.startswith(b"\x1f\x8b"):
        layer = gzip.decompress(layer)
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {m.name.removeprefix("./"): m for m in tar}


@pytest.fixture
def podman(tmp_path):
    """podman with a store of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="podman-") as short:  # It refuses long names.
        yield lambda *args: run("podman", "--root", tmp_path / "podman", "--runroot", short, "--storage-driver", "vfs", *args)


def into(podman, path):
    """Loads an archive. podman takes a short name for one of localhost."""
    name = podman("load", "-q", "-i", path).split(": ")[1].strip()
    if name != FULL_NAME:
        podman("tag", name, FULL_NAME)


@pytest.mark.parametrize("form", ["docker-archive",
                                  pytest.param("oci-archive", marks=pytest.mark.differs(reference=OLD))])
def test_podman(engine, tmp_path, ours, podman, form):
    path, image = ours
    into(podman, path)
    podman("save", "--format", form, "-o", tmp_path / "theirs.tar", FULL_NAME)
    assert {"stream": "Loaded image: travels:latest\n"} in load(engine, (tmp_path / "theirs.tar").read_bytes())
    check(engine, "travels", image)


@pytest.mark.differs(reference=OLD)
@pytest.mark.parametrize("form", ["docker-dir", "oci-dir"])
def test_podman_directories(engine, tmp_path, ours, podman, form):
    path, image = ours
    into(podman, path)
    podman("save", "--format", form, "-o", tmp_path / "theirs", FULL_NAME)
    last = load(engine, tarred(tmp_path / "theirs"))[-1]["stream"]
    assert last.startswith(("Loaded image ID: sha256:", "Loaded image: travels:latest"))
    check(engine, last.split(": ")[1].strip(), image)


@pytest.mark.parametrize("target,name", [
    ("docker-archive:{}/theirs.tar:other:1", "other:1"),
    pytest.param("oci-archive:{}/theirs.tar:docker.io/library/other:1", "other:1", marks=pytest.mark.differs(reference=OLD)),
    pytest.param("dir:{}/theirs", None, marks=pytest.mark.differs(reference=OLD)),
    pytest.param("oci:{}/theirs:other:1", "other:1", marks=pytest.mark.differs(reference=OLD)),
])
def test_skopeo(engine, tmp_path, ours, target, name):
    path, image = ours
    run("skopeo", "copy", "-q", f"docker-archive:{path}", target.format(tmp_path))
    file = tmp_path / "theirs.tar"
    objects = load(engine, file.read_bytes() if file.exists() else tarred(tmp_path / "theirs"))
    check(engine, name or objects[-1]["stream"].split(": ")[1].strip(), image)


@pytest.mark.differs(reference="20.10 writes no OCI layout")
def test_skopeo_reads_our_layout(engine, tmp_path, ours):
    """The same archive is read as either form, and both mean the same image."""
    path, image = ours
    configs = [run("skopeo", "inspect", "--config", "--raw", f"{form}:{path}") for form in ("docker-archive", "oci-archive")]
    assert configs[0] == configs[1]
    assert "sha256:" + hashlib.sha256(configs[0].encode()).hexdigest() == image["Id"]


@pytest.mark.differs(reference="20.10 writes no OCI layout, and cannot load any")
def test_umoci(engine, tmp_path, ours):
    path, image = ours
    layout = tmp_path / "layout"
    with tarfile.open(path) as tar:
        tar.extractall(layout, filter="data")
    run("umoci", "config", "--image", f"{layout}:latest", "--author", "them", "--tag", "docker.io/library/theirs:2")
    for name in ("manifest.json", "repositories"):
        (layout / name).unlink()
    load(engine, tarred(layout))
    check(engine, "theirs:2", image)
    assert engine.api.get("/images/theirs:2/json").json["Author"] == "them"


@pytest.mark.parametrize("form", ["docker-archive",
                                  pytest.param("oci-archive", marks=pytest.mark.differs(reference=OLD))])
def test_buildah(engine, tmp_path, ours, form):
    path, image = ours
    store = ["--root", tmp_path / "buildah", "--runroot", tmp_path / "buildah-run", "--storage-driver", "vfs"]
    id = run("buildah", *store, "pull", "-q", f"docker-archive:{path}").strip()
    run("buildah", *store, "push", "-q", id, f"{form}:{tmp_path}/theirs.tar:docker.io/library/built:3")
    load(engine, (tmp_path / "theirs.tar").read_bytes())
    check(engine, "built:3", image)


@pytest.fixture(scope="module")
def old():
    """dockerd 20.10, beside the engine that is tested."""
    engine = Engine("reference")
    yield engine
    engine.close()


def test_dockerd(engine, old, ours):
    """dockerd 20.10 loads ours, and we load what it makes of that."""
    path, image = ours
    try:
        assert {"stream": "Loaded image: travels:latest\n"} in load(old, path.read_bytes())
        assert old.api.get("/images/travels/json").json["Id"] == image["Id"]
        assert load(engine, save(old, "travels"))[-1] == {"stream": "Loaded image: travels:latest\n"}
    finally:
        old.remove_everything()
    check(engine, "travels", image)
    assert engine.api.get("/images/travels/json").json["Id"] == image["Id"]


def image_for(architecture):
    """Blobs of an image by digest, and its manifest's descriptor."""
    blobs = {}

    def add(media_type, data):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        blobs[hashlib.sha256(data).hexdigest()] = data
        return {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}

    plain = TarBuilder().add("arch", architecture).bytes()
    layer = add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(plain))
    config = add("application/vnd.oci.image.config.v1+json", {
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(plain).hexdigest()]}})
    manifest = add("application/vnd.oci.image.manifest.v1+json",
                   {"schemaVersion": 2, "config": config, "layers": [layer]})
    return blobs, {**manifest, "platform": {"os": "linux", "architecture": architecture}}


def multi(*architectures, depth=1):
    """An OCI archive with one image for several platforms, behind so many indexes."""
    blobs, inner = {}, []
    for architecture in architectures:
        more, descriptor = image_for(architecture)
        blobs.update(more)
        inner.append(descriptor)
    for _ in range(depth):
        data = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                           "manifests": inner}).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        inner = [{"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(data)}]
    inner[0]["annotations"] = {"io.containerd.image.name": "docker.io/library/multi:1"}
    tar = TarBuilder().add("oci-layout", '{"imageLayoutVersion":"1.0.0"}')
    tar.add("index.json", json.dumps({"schemaVersion": 2, "manifests": inner}))
    for digest, data in blobs.items():
        tar.add(f"blobs/sha256/{digest}", data)
    return tar.bytes()


@pytest.mark.differs(reference=OLD)
def test_platforms(engine):
    """This machine's by default, `platform` where the version has it."""
    data = multi("s390x", "amd64", "arm64")
    load(engine, data)
    assert engine.api.get("/images/multi:1/json").json["Architecture"] == "amd64"
    wanted = json.dumps({"os": "linux", "architecture": "arm64"})
    api = engine.api.at("1.48")
    answer = api.post("/images/load", body=data, platform=wanted)
    assert answer.status == 200, answer.text
    assert engine.api.get("/images/multi:1/json").json["Architecture"] == "arm64"
    answer = api.post("/images/load", body=data, platform=json.dumps({"os": "linux", "architecture": "ppc64le"}))
    assert answer.status == 400 and "does not provide the specified platform (linux/ppc64le)" in answer.message
    for path, query in (("/images/multi:1/get", {}), ("/images/get", {"names": ["multi:1"]})):
        saved = api.get(path, **query, platform=json.dumps({"os": "linux", "architecture": "riscv64"}), expect=404)
        assert saved.message == ("image with reference multi:1 was found but does not match the specified platform: "
                                 "wanted linux/riscv64, actual: linux/arm64")
        files = members(api.get(path, **query, platform=wanted, expect=200).body)
        config = json.loads(files[json.loads(files["manifest.json"])[0]["Config"]])
        assert config["architecture"] == "arm64"
        api.get(path, **query, platform="linux/arm64", expect=400)


@pytest.mark.differs(reference=OLD)
def test_nested_indexes(engine):
    """A few indexes within indexes are taken, many are refused and leave nothing."""
    load(engine, multi("amd64", depth=3))
    engine.api.delete("/images/multi:1", expect=200)
    answer = engine.api.post("/images/load", body=multi("amd64", depth=30))
    assert answer.status == 400 and "nested indexes" in answer.message
    engine.api.get("/images/multi:1/json", expect=404)


def test_save_names(engine):
    """By repository, by tag, by id; what is not there."""
    api = engine.api
    image = make(engine, "named:1")
    api.post("/images/named:1/tag", repo="named", tag="2", expect=201)
    tags = lambda *names: json.loads(members(save(engine, *names))["manifest.json"])[0]["RepoTags"]
    assert sorted(tags("named")) == ["named:1", "named:2"]
    assert tags("named:2") == ["named:2"]
    assert tags(image["Id"]) is None
    assert tags(image["Id"].removeprefix("sha256:")[:12], "named:1") == ["named:1"]
    files = members(save(engine, image["Id"]))
    assert "repositories" not in files
    assert api.get("/images/named:3/get", expect=404).message == "reference does not exist"
    assert api.get("/images/get", names=["named:1", "nowhere"], expect=404).message == "No such image: nowhere"


def test_save_is_deterministic(engine):
    make(engine, "same")
    first = save(engine, "same")
    layers = lambda data: {n: c for n, c in members(data).items() if n != "repositories"}
    assert layers(first) == layers(save(engine, "same"))
    if not engine.is_reference:
        assert first == save(engine, "same")


def test_load_says_what_it_does(engine):
    """Progress for each layer, then the name; a name that moves is told."""
    api = engine.api
    old = make(engine, "told:1", "x" * 100_000)
    data = save(engine, "told:1")
    api.delete("/images/told:1", expect=200)
    lines = load(engine, data, quiet=False)
    bars = [line for line in lines if line.get("status") == "Loading layer"]
    assert bars and all(line["id"] == old["RootFS"]["Layers"][0].removeprefix("sha256:")[:12] for line in bars)
    assert bars[-1]["progressDetail"]["current"] == bars[-1]["progressDetail"]["total"]
    assert bars[-1]["progress"].startswith("[" + "=" * 50 + ">]")
    assert lines[-1] == {"stream": "Loaded image: told:1\n"}
    api.delete("/images/told:1", expect=200)
    new = make(engine, "told:1", "y")
    lines = load(engine, data)
    assert {"stream": f"The image told:1 already exists, renaming the old one with ID {new['Id']} to empty string\n"} in lines
    assert api.get("/images/told:1/json").json["Id"] == old["Id"]
