"""The way to a registry: TLS with private authorities and client certificates, mirrors, proxies, redirects."""

import shutil
import ssl

import pytest

from harness import images
from harness.pulls import failure, images_named, pull, push
from harness.registry import DebianRegistry, FakeRegistry, auth_header
from harness.sandbox import OUTSIDE_ADDRESS
from harness.servers import ForwardProxy, redirect
from harness.tokens import Basic


@pytest.fixture(scope="session")
def server_pair(authority):
    return authority.issue("registry.test", "registry.test", "registry-1.docker.io", OUTSIDE_ADDRESS)


@pytest.fixture
def certs_d(engine):
    """certs_d(host) is the engine's /etc/docker/certs.d/host, empty."""
    made = []

    def folder(host):
        path = engine.sandbox.own_etc() / "docker/certs.d" / host
        path.mkdir(parents=True)
        made.append(path)
        return path

    yield folder
    for path in made:
        shutil.rmtree(path)


@pytest.fixture
def secure(engine, closing, server_pair):
    """A TLS registry on the other machine with one image: (registry, name, image)."""
    registry = closing(FakeRegistry(engine.sandbox, "outside", tls=server_pair.context()))
    image = images.small("secure")
    return registry, registry.put(image, "secure", "v"), image


def test_unknown_authority(engine, secure):
    registry, name, _ = secure
    answer = engine.api.post("/images/create", fromImage=name)
    text = failure(answer)
    assert "certificate" in text and ("unknown authority" in text or "UnknownIssuer" in text), text
    assert answer.status == 500
    assert registry.log == [], "something was said to a server that is not trusted"


def test_private_authority(engine, secure, certs_d, authority):
    """Read when it is needed: no restart."""
    registry, name, image = secure
    failure(engine.api.post("/images/create", fromImage=name))
    shutil.copy(authority.cert, certs_d(registry.host) / "ca.crt")
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    push(engine.api, name)


def test_what_is_missing(engine, secure, certs_d, authority):
    """Docker's words where its fallbacks do not get in the way."""
    registry, name, image = secure
    shutil.copy(authority.cert, certs_d(registry.host) / "ca.crt")
    answer = engine.api.post("/images/create", fromImage=f"{registry.host}/secure", tag="w", expect=404)
    assert answer.message == f"manifest for {registry.host}/secure:w not found: manifest unknown: manifest unknown"
    answer = engine.api.post("/images/create", fromImage=f"{registry.host}/none", tag="v", expect=404)
    assert answer.message == f"manifest for {registry.host}/none:v not found: manifest unknown: manifest unknown"


def test_wrong_host_name(engine, closing, authority, certs_d):
    pair = authority.issue("elsewhere.test", "elsewhere.test")
    registry = closing(FakeRegistry(engine.sandbox, "outside", tls=pair.context()))
    name = registry.put(images.small("wrong name"), "wrong-name", "v")
    shutil.copy(authority.cert, certs_d(registry.host) / "ca.crt")
    text = failure(engine.api.post("/images/create", fromImage=name))
    assert "certificate" in text, text
    assert registry.log == []


def test_plain_http_is_for_loopback_and_the_insecure(engine, closing):
    registry = closing(FakeRegistry(engine.sandbox, "outside"))
    name = registry.put(images.small("plain"), "plain", "v")
    text = failure(engine.api.post("/images/create", fromImage=name, headers=auth_header()))
    assert "HTTP response to HTTPS client" in text or "TLS" in text.upper(), text
    assert registry.log == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_protocol(engine, closing, server_pair, certs_d, authority):
    """Below TLS 1.2 nobody is spoken to."""
    context = server_pair.context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    registry = closing(FakeRegistry(engine.sandbox, "outside", tls=context))
    name = registry.put(images.small("old"), "old", "v")
    shutil.copy(authority.cert, certs_d(registry.host) / "ca.crt")
    failure(engine.api.post("/images/create", fromImage=name))
    assert registry.log == []


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_client_certificate(engine, closing, authority, server_pair, certs_d, key):
    registry = closing(FakeRegistry(engine.sandbox, "outside", tls=server_pair.context(authority.cert)))
    image = images.small("client certificate")
    name = registry.put(image, "client", "v")
    folder = certs_d(registry.host)
    shutil.copy(authority.cert, folder / "ca.crt")
    failure(engine.api.post("/images/create", fromImage=name))
    assert registry.log == []
    client = authority.issue(f"client-{key}", usage="clientAuth", key=key)
    shutil.copy(client.cert, folder / "client.cert")
    shutil.copy(client.key, folder / "client.key")
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_client_certificate_of_the_debian_registry(engine, closing, authority, server_pair, certs_d):
    registry = closing(DebianRegistry(engine, "outside", tls=server_pair, client_ca=authority.cert))
    folder = certs_d(registry.host)
    client = authority.issue("client-debian", usage="clientAuth")
    for source, target in {authority.cert: "ca.crt", client.cert: "client.cert", client.key: "client.key"}.items():
        shutil.copy(source, folder / target)
    name = f"{registry.host}/mutual"
    engine.api.post("/images/busybox:e2e/tag", repo=name, tag="v", expect=201)
    push(engine.api, name, "v")
    engine.api.delete(f"/images/{name}:v", expect=200)
    pull(engine.api, name, "v")


@pytest.mark.parametrize("missing", ["client.key", "client.cert"])
def test_half_a_client_certificate(engine, secure, certs_d, authority, missing):
    registry, name, _ = secure
    folder = certs_d(registry.host)
    client = authority.issue("client-half", usage="clientAuth")
    for source, target in {authority.cert: "ca.crt", client.cert: "client.cert", client.key: "client.key"}.items():
        if target != missing:
            shutil.copy(source, folder / target)
    text = failure(engine.api.post("/images/create", fromImage=name))
    assert missing in text, text


def test_a_broken_authority_file(engine, secure, certs_d):
    """Not a certificate: an error or nobody trusted, but no crash and no trust."""
    registry, name, _ = secure
    (certs_d(registry.host) / "ca.crt").write_text("this is no certificate\n")
    failure(engine.api.post("/images/create", fromImage=name))
    assert registry.log == []


INSECURE = {"address": lambda r: r.host, "host": lambda r: r.address, "network": lambda r: "10.99.0.0/24"}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("form", ["address", "network"])
def test_insecure_registries(own_engine, closing, server_pair, tls, form):
    """Plain HTTP, or a certificate that nobody knows: taken where the configuration says so."""
    made = []

    def prepare(engine):
        registry = closing(FakeRegistry(engine.sandbox, "outside", tls=server_pair.context() if tls else None))
        made.append(registry)
        engine.arguments.append(f"--insecure-registry={INSECURE[form](registry)}")

    engine = own_engine(images=False, prepare=prepare)
    image = images.small("insecure")
    name = made[0].put(image, "insecure", "v")
    pull(engine.api, name)
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    info = engine.api.get("/info", expect=200).json["RegistryConfig"]
    if form == "network":
        assert "10.99.0.0/24" in info["InsecureRegistryCIDRs"]
    else:
        assert info["IndexConfigs"][made[0].host]["Secure"] is False


@pytest.fixture
def hub(own_engine, closing, authority, server_pair):
    """hub(mirrors, ...): an engine for which registry-1.docker.io is a registry of the tests; (engine, hub, mirrors)."""
    def make(count=1, **options):
        made = []

        def prepare(engine):
            made.append(closing(FakeRegistry(engine.sandbox, "outside", port=443, tls=server_pair.context())))
            made.extend(closing(FakeRegistry(engine.sandbox)) for _ in range(count))
            engine.sandbox.hosts(**{"registry-1_docker_io": OUTSIDE_ADDRESS})
            # The machine's own authorities decide about docker.io: certs.d is for others.
            with open(engine.sandbox.own_etc() / "ssl/certs/ca-certificates.crt", "a") as bundle:
                bundle.write(authority.cert.read_text())
            engine.arguments.extend(f"--registry-mirror={mirror.url}" for mirror in made[1:])

        engine = own_engine(images=False, prepare=prepare, **options)
        return engine, made[0], made[1:]
    return make


def test_the_default_registry(hub):
    """Names without a host are docker.io's, names without a path its library's."""
    engine, default, _ = hub(0)
    image = images.small("default")
    default.put(image, "library/thing", "latest")
    default.put(image, "someone/thing", "v")
    pull(engine.api, "thing", "latest")
    pull(engine.api, "docker.io/someone/thing", "v")
    found = engine.api.get("/images/thing/json", expect=200).json
    assert sorted(found["RepoTags"]) == ["someone/thing:v", "thing:latest"]
    assert sorted(found["RepoDigests"]) == sorted([f"thing@{image.digest}", f"someone/thing@{image.digest}"])


def test_mirror(hub):
    engine, default, (mirror,) = hub()
    image = images.small("mirrored")
    mirror.put(image, "library/mirrored", "v")
    messages = pull(engine.api, "mirrored", "v")
    assert messages[0] == {"status": "Pulling from library/mirrored", "id": "v"}
    assert messages[-1] == {"status": "Status: Downloaded newer image for mirrored:v"}
    assert engine.api.get("/images/mirrored:v/json", expect=200).json["RepoDigests"] == [f"mirrored@{image.digest}"]
    assert default.log == []
    assert mirror.url in engine.api.get("/info", expect=200).json["RegistryConfig"]["Mirrors"][0]


def test_a_mirror_that_has_not_got_it(hub):
    """The next mirror, then the registry itself."""
    engine, default, (empty, down) = hub(2)
    down.close()
    image = images.small("not mirrored")
    default.put(image, "library/rare", "v")
    pull(engine.api, "rare", "v")
    assert empty.requests("GET|HEAD", "/manifests/v")
    assert engine.api.get("/images/rare:v/json", expect=200).json["Id"] == image.id


@pytest.mark.differs(reference="20.10 gives the password to mirrors that ask for one")
def test_a_mirror_gets_no_passwords(hub):
    engine, default, (mirror,) = hub()
    mirror.auth = Basic()
    default.auth = Basic()
    image = images.small("private")
    default.put(image, "someone/private", "v")
    mirror.put(image, "someone/private", "v")
    pull(engine.api, "someone/private", "v", headers=auth_header())
    assert not [s for s in mirror.log if "Authorization" in s.headers]
    assert default.blob_requests()


def test_a_push_does_not_go_to_the_mirror(hub):
    engine, default, (mirror,) = hub()
    mirror.put(images.small("push"), "someone/pushed", "v")
    pull(engine.api, "someone/pushed", "v")
    mirror.log.clear()
    push(engine.api, "someone/pushed", "v")
    assert mirror.log == []
    assert ("someone/pushed", "v") in default.manifests


def test_other_hosts_do_not_use_the_mirror(hub, closing):
    engine, _, (mirror,) = hub()
    other = closing(FakeRegistry(engine.sandbox))
    pull(engine.api, other.put(images.small("other host"), "library/other", "v"))
    assert mirror.log == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("case", ["upper", "lower"])
def test_proxy(own_engine, closing, server_pair, tls, case):
    """HTTP_PROXY and HTTPS_PROXY, but not for who is in NO_PROXY."""
    made = []

    def prepare(engine):
        made.append(closing(FakeRegistry(engine.sandbox, "outside", tls=server_pair.context() if tls else None)))
        made.append(closing(FakeRegistry(engine.sandbox, "outside", tls=server_pair.context() if tls else None)))
        made.append(closing(ForwardProxy(engine.sandbox)))
        engine.sandbox.hosts(direct_test=OUTSIDE_ADDRESS)
        variables = {"HTTP_PROXY": made[2].url, "HTTPS_PROXY": made[2].url, "NO_PROXY": "direct.test,192.168.0.0/16"}
        engine.environment.update({key.lower() if case == "lower" else key: value for key, value in variables.items()})
        engine.arguments += [f"--insecure-registry={made[0].host}", f"--insecure-registry=direct.test:{made[1].port}"]

    engine = own_engine(images=False, prepare=prepare)
    registry, direct, proxy = made
    image = images.small("through a proxy")
    pull(engine.api, registry.put(image, "proxied", "v"))
    assert registry.log
    targets = [s.target for s in proxy.log]
    assert targets and all(registry.host in target for target in targets), targets
    proxy.log.clear()
    direct.put(image, "direct", "v")
    pull(engine.api, f"direct.test:{direct.port}/direct", "v")
    assert proxy.log == []
    info = engine.api.get("/info", expect=200).json
    assert (info["HttpProxy"], info["NoProxy"]) == (proxy.url, "direct.test,192.168.0.0/16")


def test_proxy_with_a_password(own_engine, closing):
    made = []

    def prepare(engine):
        made.append(closing(FakeRegistry(engine.sandbox, "outside")))
        made.append(closing(ForwardProxy(engine.sandbox)))
        engine.environment["HTTP_PROXY"] = f"http://user:pass%40word@{made[1].host}"
        engine.environment["HTTPS_PROXY"] = f"http://user:pass%40word@{made[1].host}"
        engine.arguments.append(f"--insecure-registry={made[0].host}")

    engine = own_engine(images=False, prepare=prepare)
    registry, proxy = made
    pull(engine.api, registry.put(images.small("proxy password"), "proxied", "v"))
    import base64
    wanted = "Basic " + base64.b64encode(b"user:pass@word").decode()
    assert all(s.headers.get("Proxy-Authorization") == wanted for s in proxy.log) and proxy.log
    assert not [s for s in registry.log if "Proxy-Authorization" in s.headers]
    assert "pass" not in engine.api.get("/info", expect=200).json["HttpProxy"].replace("xxxxx", "")


def test_redirected_blobs_get_no_credentials(engine, closing):
    """Another host (port, address) learns neither passwords nor tokens."""
    storage = closing(FakeRegistry(engine.sandbox, address="127.0.0.4"))
    registry = closing(FakeRegistry(engine.sandbox, auth=Basic()))
    image = images.small("redirected")
    name = registry.put(image, "redirected", "v")
    storage.put(image, "redirected", "v")

    def away(handler):
        if "Authorization" not in handler.headers:
            return False
        handler.reply(307, b"", {"Location": f"{storage.url}{handler.seen.path}"})

    registry.on("GET", "/blobs/", away)
    pull(engine.api, name, headers=auth_header())
    assert storage.blob_requests()
    assert not [s for s in storage.log if "Authorization" in s.headers]
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_redirects_on_the_same_host(engine, fake):
    """Relative locations; the pull is as if there were none."""
    image = images.small("relative")
    name = fake.put(image, "relative", "v")
    fake.linked |= {("moved", digest) for digest in image.blobs}
    fake.on("GET", "/relative/blobs/", lambda h: h.reply(302, b"", {"Location": h.seen.path.replace("relative", "moved")}))
    pull(engine.api, name)
    assert fake.requests("GET", "/moved/blobs/")


@pytest.mark.parametrize("what", ["/manifests/", "/blobs/", "/tags/list"])
def test_endless_redirects(engine, fake, what):
    name = fake.put(images.small("circle"), "circle", "v")
    fake.on("GET|HEAD", what, redirect(fake.url + "{path}"))
    answer = engine.api.post("/images/create", fromImage=name.removesuffix(":v") if "tags" in what else name)
    if what == "/v2/$" and not engine.is_reference:
        # Gantry asks for what it wants without asking this first.
        assert fake.requests("GET", "/v2/$") == []
        engine.api.delete(f"/images/{name}")
        return
    text = failure(answer)
    assert "redirect" in text, text
    assert len(fake.log) < 150
    assert images_named(engine.api, f"{fake.host}/*") == []


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "http://", "//", "data:,x"])
def test_redirects_to_nowhere(engine, fake, location):
    image = images.small("nowhere")
    name = fake.put(image, "nowhere", "v")
    fake.on("GET", "/blobs/" + image.id, lambda h: h.reply(307, b"", {"Location": location}))
    failure(engine.api.post("/images/create", fromImage=name))
    assert images_named(engine.api, f"{fake.host}/*") == []


def test_no_step_down_to_http(engine, secure, certs_d, authority, closing):
    """A secure registry's redirect to plain HTTP on the same host does not take the password along."""
    registry, name, image = secure
    registry.auth = Basic()
    plain = closing(FakeRegistry(engine.sandbox, "outside"))
    plain.put(image, "secure", "v")
    shutil.copy(authority.cert, certs_d(registry.host) / "ca.crt")

    def down(handler):
        if "Authorization" not in handler.headers:
            return False
        handler.reply(307, b"", {"Location": f"{plain.url}{handler.seen.path}"})

    registry.on("GET", "/blobs/", down)
    engine.api.post("/images/create", fromImage=name, headers=auth_header())
    assert not [s for s in plain.log if "Authorization" in s.headers]
