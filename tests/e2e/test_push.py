"""Push: what the registry has is not sent again, what was pulled keeps its digests, others can read it."""

import json
import threading
import time

import pytest

from harness import images
from harness.engine import IMAGE
from harness.http import Client
from harness.images import DOCKER, OCI
from harness.pulls import PUSH_STEPS, check_layers, failure, images_named, pull, push
from harness.registry import FakeRegistry, auth_header
from harness.servers import status
from harness.tokens import Basic

UPLOADS = "/blobs/uploads/"
MEGABYTE = 1 << 20


def tag(engine, source, target):
    repository, _, name = target.rpartition(":")
    engine.api.post(f"/images/{source}/tag", repo=repository, tag=name, expect=201)
    return target


def uploaded(fake):
    """Digests of the blobs whose upload was finished."""
    return [seen.query["digest"] for seen in fake.requests("PUT", UPLOADS) if seen.status == 201]


def test_push(engine, fake):
    """An image made here: its blobs, its manifest, its digest."""
    name = tag(engine, IMAGE, f"{fake.host}/pushed:v")
    messages = push(engine.api, f"{fake.host}/pushed", "v")
    media_type, manifest = fake.manifests["pushed", "v"]
    digest = images.sha256(manifest)
    assert messages[0] == {"status": f"The push refers to repository [{fake.host}/pushed]"}
    assert messages[-2] == {"status": f"v: digest: {digest} size: {len(manifest)}"}
    assert messages[-1] == {"progressDetail": {}, "aux": {"Tag": "v", "Digest": digest, "Size": len(manifest)}}
    parsed = json.loads(manifest)
    assert parsed["mediaType"] == media_type
    assert media_type == images.MANIFEST[DOCKER] or not engine.is_reference and media_type == images.MANIFEST[OCI]
    found = engine.api.get(f"/images/{name}/json").json
    assert parsed["config"]["digest"] == found["Id"]
    assert f"{fake.host}/pushed@{digest}" in found["RepoDigests"]
    ids = [diff_id.removeprefix("sha256:")[:12] for diff_id in found["RootFS"]["Layers"]]
    check_layers(messages[1:-2], ids, PUSH_STEPS, "Pushed")
    for blob in [parsed["config"], *parsed["layers"]]:
        assert len(fake.blobs[blob["digest"]]) == blob["size"]


@pytest.mark.differs(reference="came with 1.46")
def test_platform(engine, fake):
    """The variant that must be there; of an index, one is here."""
    other = images.small("other", OCI, architecture="s390x")
    source = fake.put_index("variants", [images.small("ours", OCI), other], "v", kind=OCI) and f"{fake.host}/variants:v"
    wanted = json.dumps({"os": "linux", "architecture": "s390x"})
    pull(engine.api, source, platform="linux/s390x")
    name = tag(engine, source, f"{fake.host}/chosen:v")
    api = Client(engine.socket, "1.46", engine.recorder)
    answer = api.post(f"/images/{name}/push", platform=json.dumps({"os": "linux", "architecture": "amd64"}), expect=404,
                      headers={"X-Registry-Auth": "e30="})
    assert answer.message == (f"image with reference {name} was found but does not match the specified platform: "
                              "wanted linux/amd64, actual: linux/s390x")
    api.post(f"/images/{name}/push", platform="linux/s390x", expect=400, headers={"X-Registry-Auth": "e30="})
    assert ("chosen", "v") not in fake.manifests
    push(Client(engine.socket, "1.51", engine.recorder), f"{fake.host}/chosen", "v", platform=wanted)
    assert json.loads(fake.manifests["chosen", "v"][1])["config"]["digest"] == other.id
    # Older versions do not know it.
    push(engine.api, f"{fake.host}/chosen", "v", platform="nonsense")


@pytest.mark.parametrize("kind, compression", [
    (DOCKER, "gzip"), (OCI, "gzip"), (OCI, "plain"),
    pytest.param(OCI, "zstd", marks=pytest.mark.differs(reference="20.10 knows no zstd"))], ids=lambda v: v)
def test_round_trip(own_engine, closing, kind, compression):
    """Pulled, pushed elsewhere, pulled by another engine: one digest, one id, the same bytes."""
    engine = own_engine(images=False)
    first, second = closing(FakeRegistry(engine.sandbox)), closing(FakeRegistry(engine.sandbox))
    # Not what any engine would write itself: other compression level, odd white space.
    image = images.runnable("round trip", kind, compression)
    pull(engine.api, first.put(image, "origin", "v"))
    tag(engine, f"{first.host}/origin:v", f"{second.host}/copy:v")
    push(engine.api, f"{second.host}/copy", "v")
    assert second.blobs.keys() >= image.blobs.keys() or engine.is_reference
    if not engine.is_reference:  # 20.10 compresses anew.
        assert second.manifests["copy", "v"] == (image.media_type, image.manifest)
        assert f"{second.host}/copy@{image.digest}" in engine.api.get(f"/images/{second.host}/copy:v/json").json["RepoDigests"]
    engine.api.delete(f"/images/{image.id}", force=True, expect=200)
    pull(engine.api, f"{second.host}/copy", "v")
    assert engine.api.get(f"/images/{second.host}/copy:v/json", expect=200).json["Id"] == image.id
    assert engine.output(None, image=f"{second.host}/copy:v") == "round trip"


def test_what_is_there_is_not_sent(engine, fake):
    image = images.big(10_000, seed=41, layers=2)
    name = fake.put(image, "again", "v")
    pull(engine.api, name)
    tag(engine, name, f"{fake.host}/again:w")
    fake.log.clear()
    messages = push(engine.api, f"{fake.host}/again", "w")
    assert fake.requests("POST|PUT|PATCH", UPLOADS) == []
    assert {m["status"] for m in messages if m.get("id")} & {"Layer already exists"}
    if not engine.is_reference:  # 20.10 writes the manifest anew.
        assert fake.manifests["again", "w"] == fake.manifests["again", "v"]


def test_mount_from_another_repository(engine, fake):
    """Blobs that came from a repository of this registry are mounted, not sent."""
    image = images.big(10_000, seed=43, layers=2)
    name = fake.put(image, "source/of/it", "v")
    pull(engine.api, name)
    tag(engine, name, f"{fake.host}/target:v")
    fake.log.clear()
    messages = push(engine.api, f"{fake.host}/target", "v")
    sent = set(uploaded(fake))
    assert not sent & {layer.digest for layer in image.layers}, "layers were sent"
    assert any("Mounted from source/of/it" == m.get("status") for m in messages)


def test_a_registry_that_mounts_nothing(engine, fake):
    fake.mounts = False
    image = images.big(10_000, seed=45, layers=2)
    name = fake.put(image, "unmountable", "v")
    pull(engine.api, name)
    tag(engine, name, f"{fake.host}/target:v")
    push(engine.api, f"{fake.host}/target", "v")
    assert {digest for repository, digest in fake.linked if repository == "target"} >= {layer.digest for layer in image.layers} \
        or engine.is_reference


def test_push_again(engine, fake):
    tag(engine, IMAGE, f"{fake.host}/twice:v")
    push(engine.api, f"{fake.host}/twice", "v")
    first = fake.manifests["twice", "v"]
    fake.log.clear()
    push(engine.api, f"{fake.host}/twice", "v")
    assert fake.manifests["twice", "v"] == first
    assert uploaded(fake) == []


def test_all_tags(engine, fake):
    """Without a tag: every tag of the repository that is here."""
    for name in ("a", "b", "c"):
        tag(engine, IMAGE, f"{fake.host}/several:{name}")
    push(engine.api, f"{fake.host}/several")
    assert {("several", name) for name in "abc"} <= fake.manifests.keys()


def test_uploads_in_parallel(engine, fake):
    image = images.runnable("parallel", extra=[images.files(**{f"f{n}": images.noise(1000, n)}) for n in range(3)])
    other = FakeRegistry(engine.sandbox)
    try:
        pull(engine.api, other.put(image, "parallel", "v"))
        tag(engine, f"{other.host}/parallel:v", f"{fake.host}/parallel:v")
        together = threading.Barrier(3)
        lock, met = threading.Lock(), [0]

        def meet(handler):
            with lock:
                met[0] += 1
                mine = met[0]
            if mine <= 3:
                together.wait(40)
            return False

        fake.on("POST", UPLOADS, meet)
        push(engine.api, f"{fake.host}/parallel", "v")
    finally:
        other.close()


def test_blobs_before_the_manifest(engine, fake):
    """The manifest comes when everything that it names is there."""
    tag(engine, IMAGE, f"{fake.host}/order:v")
    push(engine.api, f"{fake.host}/order", "v")
    methods = [(seen.method, seen.path) for seen in fake.log if seen.status == 201]
    assert methods[-1] == ("PUT", "/v2/order/manifests/v")


def test_push_of_nothing(engine, fake):
    answer = engine.api.post(f"/images/{fake.host}/nothing/push", tag="v", headers={"X-Registry-Auth": "e30="})
    text = failure(answer)
    assert "does not exist locally" in text or "does not exist" in text, text
    assert fake.log == []


@pytest.mark.parametrize("name, query", [("UPPER", {}), ("x", {"tag": "bad tag"}), ("a--/b", {})])
def test_bad_names(engine, name, query):
    answer = engine.api.post(f"/images/{name}/push", headers={"X-Registry-Auth": "e30="}, **query)
    assert answer.status in (400, 404, 500), answer.text
    failure(answer)


def test_without_the_header(engine):
    """Docker wants the header, or credentials in the body."""
    answer = engine.api.post("/images/127.0.0.1:1/x/push", tag="v")
    failure(answer)


def test_a_digest_cannot_be_pushed(engine, fake):
    image = images.small("by digest")
    fake.put(image, "digest", "v")
    pull(engine.api, f"{fake.host}/digest@{image.digest}")
    failure(engine.api.post(f"/images/{fake.host}/digest@{image.digest}/push", headers={"X-Registry-Auth": "e30="}))


@pytest.mark.parametrize("what", ["POST", "PUT|PATCH"])
@pytest.mark.parametrize("code", [429, 500, 503])
def test_refused_for_a_moment(engine, fake, what, code):
    tag(engine, IMAGE, f"{fake.host}/busy:v")
    rule = fake.on(what, UPLOADS, status(code, {"Retry-After": "1"}), times=1)
    answer = engine.api.post(f"/images/{fake.host}/busy/push", tag="v", headers={"X-Registry-Auth": "e30="})
    assert rule.times == 0
    assert "error" not in answer.objects[-1] or engine.is_reference, answer.objects[-1]


def test_refused_for_good(engine, fake):
    tag(engine, IMAGE, f"{fake.host}/denied:v")
    fake.on("POST", UPLOADS, lambda h: (h.body(), fake.error(h, 403, "DENIED", "requested access to the resource is denied"))[0] and None)
    text = failure(engine.api.post(f"/images/{fake.host}/denied/push", tag="v", headers={"X-Registry-Auth": "e30="}))
    assert "denied" in text
    assert ("denied", "v") not in fake.manifests
    assert not [d for d in engine.api.get(f"/images/{IMAGE}/json").json["RepoDigests"] if "denied" in d]


def test_a_registry_that_lies_about_the_upload(engine, fake):
    """It says another digest than that of the manifest: an error, not a RepoDigest."""
    tag(engine, IMAGE, f"{fake.host}/liar:v")
    fake.on("PUT", "/manifests/", lambda h: (h.body(), h.reply(201, b"", {"Docker-Content-Digest": "sha256:" + "0" * 64}))[0] and None)
    engine.api.post(f"/images/{fake.host}/liar/push", tag="v", headers={"X-Registry-Auth": "e30="})
    assert not [d for d in engine.api.get(f"/images/{IMAGE}/json").json["RepoDigests"] if d.endswith("0" * 64)]


def test_uploads_elsewhere_get_no_credentials(engine, fake, closing):
    """An upload's location on another host is served there, without passwords."""
    storage = closing(FakeRegistry(engine.sandbox, address="127.0.0.6"))
    fake.auth = Basic()
    tag(engine, IMAGE, f"{fake.host}/elsewhere:v")

    def away(handler):
        if "Authorization" not in handler.headers:
            return False
        handler.body()
        storage.uploads["there"] = b""
        handler.reply(202, b"", storage.upload_headers("elsewhere", "there"))

    fake.on("POST", UPLOADS, away)
    engine.api.post(f"/images/{fake.host}/elsewhere/push", tag="v", headers=auth_header())
    assert storage.log or not engine.is_reference
    assert not [s for s in storage.log if "Authorization" in s.headers] or engine.is_reference


def test_cancelled(engine, fake):
    """The client goes: so does the upload."""
    image = images.big(8 * MEGABYTE, seed=40)
    other = FakeRegistry(engine.sandbox)
    try:
        pull(engine.api, other.put(image, "large", "v"))
    finally:
        other.close()
    tag(engine, f"{other.host}/large:v", f"{fake.host}/large:v")
    reached, ended = threading.Event(), threading.Event()

    def slow(handler):
        handler.rfile.read(65536)
        reached.set()
        try:
            while handler.rfile.read(16384):
                time.sleep(0.02)
        except OSError:
            pass
        ended.set()
        handler.cut()

    fake.on("PATCH|PUT", UPLOADS, slow)
    stream = Client(engine.socket, "1.41").post(f"/images/{fake.host}/large/push", tag="v", headers={"X-Registry-Auth": "e30="}, stream=True)
    assert reached.wait(40)
    stream.close()
    assert ended.wait(40), "the upload goes on without a client"
    assert ("large", "v") not in fake.manifests


def test_events(engine, fake):
    tag(engine, IMAGE, f"{fake.host}/events:v")
    stream = engine.api.get("/events", stream=True, filters={"type": ["image"], "event": ["push"]})
    try:
        push(engine.api, f"{fake.host}/events", "v")
        event = json.loads(next(stream.lines()))
    finally:
        stream.close()
    assert event["Action"] == "push"
    assert event["Actor"]["ID"] == f"{fake.host}/events:v"
    assert event["Actor"]["Attributes"]["name"] == f"{fake.host}/events"


def test_skopeo_reads_what_was_pushed(engine, registry, tmp_path):
    """Into the Debian registry, out by skopeo, unpacked by umoci."""
    name = tag(engine, IMAGE, f"{registry.host}/readers:v")
    push(engine.api, f"{registry.host}/readers", "v")
    seen = json.loads(registry.skopeo("inspect", "--tls-verify=false", f"docker://{name}").stdout)
    assert seen["Digest"] in engine.api.get(f"/images/{name}/json").json["RepoDigests"][0]
    registry.skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path}/layout:v")
    engine.sandbox.run(["umoci", "unpack", "--image", f"{tmp_path}/layout:v", f"{tmp_path}/bundle"])
    assert (tmp_path / "bundle/rootfs/data/seed").read_text() == "from the image\n"
    assert (tmp_path / "bundle/rootfs/data/seed").stat().st_uid == 1000


def test_through_the_debian_registry(engine, registry):
    """Pushed, removed, pulled, run."""
    name = tag(engine, IMAGE, f"{registry.host}/through:v")
    id = engine.api.get(f"/images/{IMAGE}/json").json["Id"]
    push(engine.api, f"{registry.host}/through", "v")
    engine.api.delete(f"/images/{name}", expect=200)
    pull(engine.api, f"{registry.host}/through", "v")
    assert engine.api.get(f"/images/{name}/json").json["Id"] == id
    assert engine.output("cat /data/seed", image=name) == "from the image\n"


def test_a_cut_upload(engine, fake):
    """The connection breaks in the middle of an upload: tried again, or an error; never half a blob."""
    tag(engine, IMAGE, f"{fake.host}/cut:v")
    fake.on("PATCH|PUT", UPLOADS, lambda h: (h.rfile.read(1000), h.cut())[0] and None, times=1)
    answer = engine.api.post(f"/images/{fake.host}/cut/push", tag="v", headers={"X-Registry-Auth": "e30="})
    if "error" not in answer.objects[-1]:
        assert ("cut", "v") in fake.manifests
    else:
        assert engine.is_reference, answer.objects[-1]
    assert images_named(engine.api, f"{fake.host}/cut") == [f"{fake.host}/cut:v"]
