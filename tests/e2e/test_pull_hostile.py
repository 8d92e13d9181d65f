"""Registries that lie: one clear error each, and nothing left behind."""

import gzip
import hashlib
import json
import os
import re
import tarfile
import threading
from pathlib import Path

import pytest

from harness import images
from harness.engine import wait_until
from harness.images import DOCKER, INDEX, LAYER, MANIFEST, OCI
from harness.pulls import failure, images_named, pull
from harness.registry import FakeRegistry, auth_header, wrong_bytes
from harness.rootfs import TarBuilder
from harness.tokens import Basic
from test_hostile_archives import ESCAPES

MEGABYTE = 1 << 20
JSON = {"Content-Type": "application/json"}
SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@pytest.fixture
def own_attempts(own_engine, closing):
    """An engine short of patience, and a registry: each failed attempt is said to cost seconds."""
    engine = own_engine("--max-download-attempts=1")
    return engine, closing(FakeRegistry(engine.sandbox))


def content(engine):
    """Files of the data root that could be somebody's content, without what is made to be resumed."""
    found = set()
    for folder, _, names in os.walk(engine.data_root):
        place = os.path.relpath(folder, engine.data_root)
        if "partial" not in place:
            found.update(f"{place}/{name}" for name in names if not name.endswith((".db", ".redb", ".log")))
    return found


def refused(engine, name, *words, **query):
    """The pull fails with one of `words` in its text, nothing is named, nothing is kept."""
    before = content(engine)
    answer = engine.api.post("/images/create", fromImage=name, timeout=90, **query)
    text = failure(answer)
    assert not words or any(word in text.lower() for word in words), text
    assert len(text) < 2000
    assert images_named(engine.api, f"{name.split('/')[0]}/*") == []
    if not engine.is_reference:  # 20.10 removes what it unpacked some time later, or never.
        wait_until(lambda: content(engine) <= before, what=f"an end of {sorted(content(engine) - before)[:5]}")
    return answer, text


def served(fake, reference, media_type, data, digest=None):
    """Answer manifest requests for `reference` with these bytes."""
    headers = {"Content-Type": media_type, "Docker-Content-Digest": digest or images.sha256(data)}
    fake.on("GET|HEAD", f"/manifests/{reference}$", lambda handler: handler.reply(200, data, headers))
    return f"{fake.host}/liar:{reference}"


def test_missing_tag(engine, fake):
    fake.put(images.small("there"), "there", "v")
    answer, text = refused(engine, f"{fake.host}/there:missing", "manifest unknown")
    assert answer.status == 404
    assert text == f"manifest for {fake.host}/there:missing not found: manifest unknown: manifest unknown"


def test_missing_repository(engine, fake):
    answer, text = refused(engine, f"{fake.host}/none:v", "manifest unknown")
    assert answer.status == 404


def test_missing_repository_all_tags(engine, fake):
    answer, text = refused(engine, f"{fake.host}/none", "name unknown", "not known", "not found")
    assert answer.status in (404, 500)


def test_denied(engine, fake):
    """401 without a way in, and 403."""
    for code in (401, 403):
        fake.on("GET|HEAD", "/manifests/", lambda h, code=code: fake.error(h, code, "DENIED", "not for you"))
        answer, text = refused(engine, f"{fake.host}/denied:v", "denied", "unauthorized")
        assert answer.status in (404, 500, 403, 401)


def test_nobody_there(engine):
    answer, text = refused(engine, "127.0.0.1:1/x:v", "connection refused")
    assert answer.status == 500


def test_a_name_that_nobody_knows(engine):
    (engine.sandbox.own_etc() / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    answer, text = refused(engine, "nowhere.invalid/x:v")
    assert answer.status == 500
    assert "nowhere.invalid" in text


@pytest.mark.parametrize("name, tag", [
    ("UPPER", None), ("a//b", None), ("-x", None), ("127.0.0.1:1/", None), ("x" * 300, None), ("x:" + "t" * 129, None),
    ("x@sha256:abc", None), ("x", "bad tag"), ("x", "../../etc"), ("x", "sha256:abc"), ("../x", None), ("x/../y", None),
    ("x y", None), ("x", "-t"), ("http://127.0.0.1/x", None), ("0123456789abcdef" * 4, None), ("x@md5:" + "0" * 32, None),
])
def test_names_outside_the_grammar(engine, name, tag):
    answer = engine.api.post("/images/create", fromImage=name, tag=tag)
    assert answer.status == 400, answer.text
    assert re.search("invalid|must be lowercase|cannot specify|must not be more|unsupported digest", answer.message), answer.message


def test_not_a_manifest(engine, fake):
    for data in (b"", b"{}", b"[]", b"null", b"not json", b"\0" * 100, b"{" * 1000, b'{"schemaVersion": 2}', b"[" * 100_000):
        refused(engine, served(fake, "broken", MANIFEST[DOCKER], data))


@pytest.mark.parametrize("change", [
    pytest.param({"schemaVersion": 3}, marks=pytest.mark.differs(reference="20.10 does not look at it")),
    pytest.param({"config": None}, marks=pytest.mark.differs(reference="20.10 panics")),
    {"config": {"digest": "sha256:xyz"}}, {"layers": "many"}, {"layers": [None]},
    {"layers": [{"mediaType": LAYER[DOCKER, "gzip"], "size": -1, "digest": "sha256:" + "0" * 64}]},
    {"layers": [{"mediaType": LAYER[DOCKER, "gzip"], "size": 1 << 62, "digest": "sha256:" + "0" * 64}]},
    {"layers": [{"mediaType": LAYER[DOCKER, "gzip"], "size": 10, "digest": "sha256:../../../../etc/passwd"}]},
    {"layers": []},
], ids=lambda c: str(c)[:60])
def test_manifests_that_do_not_fit(engine, fake, change):
    image = images.small("does not fit", manifest=change)
    if image.manifest.count(b'"config": null'):
        fake.blobs.pop(image.id, None)
    refused(engine, fake.put(image, "unfit", "v"))


def test_a_manifest_under_another_digest(engine, fake):
    """What was asked for by digest has that digest, whatever the registry says."""
    good, other = images.small("good"), images.small("other")
    fake.put(good, "liar", "v")
    fake.put(other, "liar", "w")
    served(fake, good.digest, other.media_type, other.manifest, digest=good.digest)
    refused(engine, f"{fake.host}/liar@{good.digest}", "digest", "verif")


def test_a_member_under_another_digest(engine, fake):
    good, other = images.small("good"), images.small("other")
    name = fake.put_index("liar", [good], "v")
    fake.put(other, "liar")
    served(fake, good.digest, other.media_type, other.manifest, digest=good.digest)
    refused(engine, name, "digest", "verif")


def test_an_endless_manifest(engine, fake):
    ended = threading.Event()

    def endless(handler):
        handler.head(200, None, {"Content-Type": MANIFEST[DOCKER], "Transfer-Encoding": "chunked",
                                 "Docker-Content-Digest": "sha256:" + "0" * 64})
        if handler.command == "HEAD":
            return
        try:
            for _ in range(1024):
                handler.wfile.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except OSError:
            ended.set()
            raise

    fake.on("GET|HEAD", "/manifests/", endless)
    refused(engine, f"{fake.host}/endless:v")
    assert ended.wait(40) or engine.is_reference, "64 MB were read"


def test_a_manifest_that_is_too_big(engine, fake):
    image = images.small("padded", manifest={"annotations": {"x": "y" * (5 * MEGABYTE)}})
    name = fake.put(image, "padded", "v")
    if engine.is_reference:
        engine.api.post("/images/create", fromImage=name)  # 20.10 takes it.
    else:
        refused(engine, name)


def test_nested_indexes(engine, fake):
    """An index in an index is no image; one that contains itself is not followed for ever."""
    image = images.small("nested")
    fake.put(image, "nested")
    inner_type, inner = images.index([image], OCI)
    fake.put_manifest("nested", inner_type, inner)
    entry = {"mediaType": inner_type, "digest": images.sha256(inner), "size": len(inner),
             "platform": {"architecture": "amd64", "os": "linux"}}
    name = fake.put_manifest("nested", *images.index([entry], OCI), "v")
    answer = engine.api.post("/images/create", fromImage=name)
    if "error" not in answer.text:
        assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    # As deep as it pleases the registry.
    depth = 0
    for depth in range(200):
        entry = {"mediaType": inner_type, "digest": images.sha256(inner), "size": len(inner),
                 "platform": {"architecture": "amd64", "os": "linux"}}
        inner = images.index([entry], OCI)[1]
        fake.put_manifest("nested", inner_type, inner)
    fake.put_manifest("nested", inner_type, inner, "deep")
    fake.log.clear()
    failure(engine.api.post("/images/create", fromImage=f"{fake.host}/nested:deep"))
    assert len(fake.log) < 40
    assert depth == 199


def test_an_empty_index(engine, fake):
    refused(engine, fake.put_index("empty", [], "v"), "no match")


def test_a_huge_index(engine, fake):
    """A hundred thousand entries are too many or an error; not gigabytes."""
    entry = {"mediaType": MANIFEST[DOCKER], "digest": "sha256:" + "0" * 64, "size": 10,
             "platform": {"architecture": "s390x", "os": "linux"}}
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX[DOCKER], "manifests": [entry] * 100_000}).encode()
    refused(engine, served(fake, "huge", INDEX[DOCKER], data))


def test_schema1(engine, fake):
    """The schema of old: refused in words that say so (20.10 still tries to read it)."""
    data = json.dumps({"schemaVersion": 1, "name": "old", "tag": "v", "architecture": "amd64", "fsLayers": [], "history": []}).encode()
    _, text = refused(engine, served(fake, "v1", SCHEMA1, data))
    if not engine.is_reference:
        assert "schema" in text.lower() and re.search("not supported|no longer supported|deprecated|unsupported", text), text


@pytest.mark.parametrize("media_type", [
    pytest.param("application/vnd.docker.plugin.v1+json", marks=pytest.mark.differs(reference="20.10 takes it for an image")),
    "application/vnd.cncf.helm.config.v1+json", "application/octet-stream"])
def test_something_else_than_an_image(engine, fake, media_type):
    image = images.small("no image", OCI)
    body = json.loads(image.manifest)
    body["config"]["mediaType"] = media_type
    data = json.dumps(body).encode()
    fake.put(image, "artifact")
    name = fake.put_manifest("artifact", MANIFEST[OCI], data, "v")
    if media_type == "application/octet-stream":
        engine.api.post("/images/create", fromImage=name)  # What some old registries really say.
        return
    refused(engine, name)


@pytest.mark.parametrize("media_type", ["text/html", "application/x-unknown", "", "application/json", "x" * 1000])
def test_unknown_manifest_types(engine, fake, media_type):
    """What calls itself something unknown is judged by its content or refused; never believed to be an image of nothing."""
    image = images.small("unknown type")
    data = json.dumps({**json.loads(image.manifest), "mediaType": media_type}).encode()
    fake.put(image, "liar")
    name = served(fake, "unknown", media_type, data)
    answer = engine.api.post("/images/create", fromImage=name)
    if "error" not in answer.text and answer.status == 200:
        assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


@pytest.mark.parametrize("media_type", ["application/vnd.example.layer+encrypted", "text/plain"])
def test_unknown_layer_types(engine, fake, media_type):
    image = images.image([images.layer(images.files(a="b"), mediaType=media_type)], OCI)
    name = fake.put(image, "layer-type", "v")
    if engine.is_reference:
        engine.api.post("/images/create", fromImage=name)  # 20.10 does not look.
    else:
        refused(engine, name)


def test_a_wrong_layer(engine, fake):
    image = images.small("wrong layer")
    name = fake.put(image, "wrong-layer", "v")
    fake.on("GET", image.layers[0].digest, wrong_bytes(fake))
    refused(engine, name, "digest", "checksum", "verif")


def test_a_wrong_document(engine, fake):
    image = images.small("wrong document")
    name = fake.put(image, "wrong-document", "v")
    fake.on("GET", image.id, wrong_bytes(fake))
    refused(engine, name, "digest", "verif")


def test_a_layer_with_another_diff_id(engine, fake):
    """The blob is what the manifest says; its content is not what the document says."""
    layer = images.layer(images.files(a="what is sent"))
    layer.diff_id = images.sha256(b"something else")
    refused(engine, fake.put(images.image([layer]), "diff-id", "v"), "diffid", "diff id", "digest", "verif", "match")


def test_more_layers_than_diff_ids(engine, fake):
    layers = [images.layer(images.files(a="1")), images.layer(images.files(b="2"))]
    for diff_ids in ([layers[0].diff_id], [one.diff_id for one in layers] * 2, []):
        image = images.image(layers, document={"rootfs": {"type": "layers", "diff_ids": diff_ids}})
        refused(engine, fake.put(image, f"count{len(diff_ids)}", "v"))


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b"junk", b'{"rootfs": {"type": "layers", "diff_ids": ["x"]}}', b"[" * 100_000],
                         ids=["empty", "object", "null", "list", "junk", "ids", "deep"])
def test_broken_documents(engine, fake, data):
    layer = images.layer(images.files(a="1"))
    manifest = {"config": {"mediaType": images.DOCUMENT[DOCKER], "digest": images.sha256(data), "size": len(data)}}
    image = images.image([layer], manifest=manifest)
    name = fake.put(image, "document", "v")
    fake.blobs[images.sha256(data)] = data
    fake.linked.add(("document", images.sha256(data)))
    refused(engine, name)


def test_a_document_that_is_too_big(engine, fake):
    data = json.dumps({"os": "linux", "architecture": "amd64", "config": {"Labels": {"x": "y" * (40 * MEGABYTE)}},
                       "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    image = images.image([], manifest={"config": {"mediaType": images.DOCUMENT[DOCKER], "digest": images.sha256(data), "size": len(data)}})
    name = fake.put(image, "fat", "v")
    fake.blobs[images.sha256(data)] = data
    fake.linked.add(("fat", images.sha256(data)))
    if engine.is_reference:
        return  # 20.10 reads whatever comes.
    refused(engine, name)


@pytest.mark.parametrize("length", [-1000, 1000], ids=["short", "long"])
def test_lying_content_length(own_attempts, length):
    """Fewer or more bytes than Content-Length (and the manifest) says."""
    engine, fake = own_attempts
    image = images.big(200_000, seed=30)
    name = fake.put(image, "length", "v")
    data = image.layers[0].blob

    def lie(handler):
        handler.reply(200, data, length=len(data) + length)
        handler.cut()

    fake.on("GET", image.layers[0].digest, lie)
    refused(engine, name)


@pytest.mark.parametrize("size", [-1000, 1000], ids=["small", "large"])
def test_lying_descriptor_size(engine, fake, size):
    """The blob has its digest but not the size that the manifest says."""
    layer = images.layer(images.files(a=images.noise(100_000)))
    layer.descriptor["size"] = len(layer.blob) + size
    name = fake.put(images.image([layer]), "size", "v")
    if engine.is_reference:
        engine.api.post("/images/create", fromImage=name)  # 20.10 goes by the digest alone.
        return
    refused(engine, name)


def test_an_endless_layer(own_attempts):
    """A body that never ends is cut where the manifest says that it ends."""
    engine, fake = own_attempts
    image = images.big(100_000, seed=31)
    name = fake.put(image, "endless", "v")
    sent = [0]

    def endless(handler):
        handler.head(200, None, {"Transfer-Encoding": "chunked"})
        try:
            for _ in range(2048):
                handler.wfile.write(b"10000\r\n" + b"\0" * 65536 + b"\r\n")
                sent[0] += 65536
        except OSError:
            pass
        handler.cut()

    fake.on("GET", image.layers[0].digest, endless)
    refused(engine, name)
    assert sent[0] < 64 * MEGABYTE or engine.is_reference


def test_a_truncated_layer(own_attempts):
    engine, fake = own_attempts
    image = images.big(200_000, seed=32)
    name = fake.put(image, "truncated", "v")
    data = image.layers[0].blob
    fake.on("GET", image.layers[0].digest, lambda h: h.reply(200, data[:100_000]) if h.seen.start == 0 else h.reply(416))
    refused(engine, name)


def test_headers_without_end(own_attempts):
    engine, fake = own_attempts

    def headers(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            for number in range(2_000_000):
                handler.wfile.write(b"X-%d: %s\r\n" % (number, b"y" * 1000))
                if number * 1000 > 64 * MEGABYTE:
                    break
        except OSError:
            pass
        handler.cut()

    fake.on("GET|HEAD", "/manifests/|/v2/$", headers)
    refused(engine, f"{fake.host}/headers:v")


@pytest.mark.parametrize("text", [b"SSH-2.0-OpenSSH\r\n", b"\0" * 100, b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_not_http(own_attempts, text):
    engine, fake = own_attempts
    fake.on("GET|HEAD", "/", lambda h: (h.wfile.write(text), h.cut())[0] and None)
    refused(engine, f"{fake.host}/nothttp:v")


def test_endless_tag_pages(own_attempts):
    """Each page names a next one."""
    engine, fake = own_attempts
    fake.put(images.small("pages"), "pages", "a")

    def page(handler):
        handler.reply(200, json.dumps({"name": "pages", "tags": []}).encode(),
                      {**JSON, "Link": f'</v2/pages/tags/list?last={len(fake.log)}>; rel="next"'})

    fake.on("GET", "/tags/list", page)
    if engine.is_reference:
        return  # 20.10 asks for ever.
    refused(engine, f"{fake.host}/pages")


def test_tags_that_are_none(engine, fake):
    """Names of tags come from the registry and are as hostile as the rest."""
    fake.put(images.small("tags"), "tags", "v")
    fake.on("GET", "/tags/list", lambda h: h.reply(200, json.dumps({"name": "tags", "tags": ["../../x", "a b", "", "-"]}).encode(), JSON))
    refused(engine, f"{fake.host}/tags", "invalid", "tag")


def test_error_texts_are_bounded(own_attempts):
    """A registry's words are passed on, not its megabytes nor its control characters raw."""
    engine, fake = own_attempts
    fake.on("GET|HEAD", "/manifests/", lambda h: fake.error(h, 400, "ODD", "long words " * 200_000))
    answer = engine.api.post("/images/create", fromImage=f"{fake.host}/words:v")
    text = failure(answer)
    assert len(text) < 10_000 or engine.is_reference


@pytest.mark.parametrize("escape", ESCAPES)
def test_path_tricks(engine, fake, escape):
    """Refused or confined; never outside."""
    passwd = Path("/etc/passwd").read_bytes()
    image = images.image([images.layer(ESCAPES[escape](TarBuilder()).bytes())])
    answer = engine.api.post("/images/create", fromImage=fake.put(image, "escape", "v"))
    assert answer.objects
    for place in (Path("/tmp"), Path("/"), engine.sandbox.root / "tmp", engine.sandbox.root, engine.data_root, engine.dir):
        assert not list(place.glob("escape-*")), place
    assert Path("/etc/passwd").read_bytes() == passwd


@pytest.mark.parametrize("entry", [".wh.", ".wh..", "a/.wh..", ".wh../x", ".wh.a/b", "./.wh..wh.", "a/.wh...", "/.wh.", ".wh./"])
def test_odd_whiteouts(engine, fake, entry):
    """Of `/`, of `..`, of nothing: an error, or an image that hides nothing outside."""
    layers = [images.files(keep="1", a__b="2"), TarBuilder().add(entry, "").bytes()]
    image = images.image([images.layer(data) for data in layers])
    name = fake.put(image, "whiteout", "v")
    answer = engine.api.post("/images/create", fromImage=name)
    assert answer.objects
    if "error" in answer.objects[-1]:
        assert images_named(engine.api, name) == []
    engine.api.get("/_ping", expect=200)
    assert engine.output("echo fine") == "fine\n"


def test_whiteout_and_opaque_through_symlinks(engine, fake):
    """A whiteout below a name that is a link in a lower layer stays in the image."""
    (engine.dir / "victim").mkdir()
    (engine.dir / "victim/file").write_text("still here")
    layers = [TarBuilder().symlink("l", str(engine.dir / "victim")).bytes(),
              TarBuilder().add("l/.wh.file", "").add("l/.wh..wh..opq", "").bytes()]
    engine.api.post("/images/create", fromImage=fake.put(images.image([images.layer(d) for d in layers]), "links", "v"))
    assert (engine.dir / "victim/file").read_text() == "still here"


def test_a_bomb(engine, fake):
    """Much from little: what the manifest says is small, the content is not; the disk of the test decides, not memory."""
    zeros = TarBuilder().add("zeros", b"\0" * (64 * MEGABYTE)).bytes()
    image = images.image([images.layer(zeros)])
    assert len(image.layers[0].blob) < MEGABYTE
    pull(engine.api, fake.put(image, "bomb", "v"))


def test_trailing_garbage_in_gzip(engine, fake):
    data = images.files(a="1")
    blob = gzip.compress(data) + b"garbage after the end"
    layer = images.Layer(blob, images.sha256(data))
    name = fake.put(images.image([layer]), "garbage", "v")
    answer = engine.api.post("/images/create", fromImage=name)
    assert answer.objects


@pytest.mark.parametrize("keep", [0.5, 0.99])
def test_a_layer_that_is_itself_truncated(engine, fake, keep):
    """The blob has its digest; the compressed data in it end too early."""
    data = images.files(a=images.noise(100_000))
    blob = gzip.compress(data)
    layer = images.Layer(blob[:int(len(blob) * keep)], "sha256:" + hashlib.sha256(data).hexdigest())
    refused(engine, fake.put(images.image([layer]), "cut-inside", "v"))


def test_urls_of_foreign_layers(engine, fake, closing):
    """Layers kept elsewhere: fetched there, without credentials; only from http and https."""
    elsewhere = closing(FakeRegistry(engine.sandbox, address="127.0.0.5"))
    fake.auth = Basic()
    layer = images.layer(images.files(a="foreign"))
    layer.descriptor = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                        "urls": [f"{elsewhere.url}/v2/foreign/blobs/{layer.digest}"]}
    image = images.image([layer])
    name = fake.put(image, "foreign", "v")
    fake.blobs.pop(layer.digest)
    elsewhere.blobs[layer.digest] = layer.blob
    elsewhere.linked.add(("foreign", layer.digest))
    answer = engine.api.post("/images/create", fromImage=name, headers=auth_header())
    assert not [s for s in elsewhere.log if "Authorization" in s.headers]
    if not engine.is_reference:  # 20.10 takes foreign layers on Windows alone.
        assert "error" not in answer.objects[-1], answer.objects[-1]
        assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


@pytest.mark.parametrize("url", ["file:///etc/passwd", "unix:///var/run/docker.sock", "ftp://127.0.0.1/x", "", "::"])
def test_bad_urls_of_foreign_layers(engine, fake, url):
    layer = images.layer(images.files(a="foreign"))
    layer.descriptor = {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": [url]}
    image = images.image([layer])
    name = fake.put(image, "foreign", "v")
    fake.blobs.pop(layer.digest)
    refused(engine, name)


def test_an_old_archive_kind_in_a_layer(engine, fake):
    """Device nodes and unusual types in a layer are what they are, or an error; the engine stays up."""
    data = TarBuilder().add("null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3).add("odd", kind=b"Z").bytes()
    engine.api.post("/images/create", fromImage=fake.put(images.image([images.layer(data)]), "kinds", "v"))
    engine.api.get("/_ping", expect=200)
