"""Who may pull and push: passwords, tokens and identity tokens, and the forms in which clients send them."""

import base64
import json
import time

import pytest

from harness import images
from harness.pulls import failure, images_named, pull, push
from harness.registry import PASSWORD, USER, DebianRegistry, FakeRegistry, auth_header
from harness.tls import Authority
from harness.tokens import Basic, Bearer, Signer, TokenServer

WRONG = auth_header(username=USER, password="wrong")


@pytest.fixture
def guarded(engine, closing):
    """A registry that wants passwords, with one image."""
    registry = closing(FakeRegistry(engine.sandbox, auth=Basic()))
    image = images.small("guarded")
    return registry, registry.put(image, "guarded", "v"), image


@pytest.fixture
def tokens(engine, closing):
    return closing(TokenServer(engine.sandbox, address="127.0.0.2"))


@pytest.fixture
def behind(engine, closing, tokens):
    """A registry that wants tokens, with one image."""
    registry = closing(FakeRegistry(engine.sandbox, auth=Bearer(tokens)))
    image = images.big(200_000, seed=20, layers=3)
    return registry, registry.put(image, "team/behind", "v"), image


@pytest.mark.parametrize("form", ["url", "url-unpadded", "standard"])
def test_forms_of_the_header(engine, guarded, form):
    """URL-safe base64 with and without padding, and the standard alphabet."""
    registry, name, image = guarded
    # The comment makes the two alphabets differ.
    text = json.dumps({"username": USER, "password": PASSWORD, "email": "?>~~>?", "serveraddress": registry.host}).encode()
    encoded = base64.urlsafe_b64encode(text).decode()
    if form == "url-unpadded":
        encoded = encoded.rstrip("=")
    if form == "standard":
        encoded = base64.b64encode(text).decode()
    answer = engine.api.post("/images/create", fromImage=name, headers={"X-Registry-Auth": encoded})
    if engine.is_reference and form != "url":
        return  # 20.10 takes these for no credentials, newer ones do not; either way it answers.
    assert answer.status == 200, answer.text
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


@pytest.mark.parametrize("value", ["!!!", "e30", "e30=", "bm90IGpzb24=", "", "bnVsbA==", "W10=", "x" * 5000])
def test_no_credentials_in_the_header(engine, guarded, value):
    """Empty or unreadable credentials are none, for a pull."""
    registry, name, _ = guarded
    answer = engine.api.post("/images/create", fromImage=name, headers={"X-Registry-Auth": value})
    assert "no basic auth credentials" in failure(answer)
    assert answer.status in (400, 500)
    assert images_named(engine.api, name) == []


def test_anonymous_where_public(engine, fake):
    pull(engine.api, fake.put(images.small("public"), "public", "v"), headers={"X-Registry-Auth": "e30="})
    assert not [seen for seen in fake.log if "Authorization" in seen.headers]


def test_wrong_password(engine, guarded):
    registry, name, _ = guarded
    answer = engine.api.post("/images/create", fromImage=name, headers=WRONG)
    failure(answer)
    assert answer.status in (401, 500), answer.text
    assert PASSWORD not in answer.text and "wrong" not in answer.text
    assert images_named(engine.api, name) == []


def test_basic_push(engine, guarded):
    registry, name, image = guarded
    pull(engine.api, name, headers=auth_header())
    engine.api.post(f"/images/{name}/tag", repo=f"{registry.host}/pushed", tag="v", expect=201)
    failure(engine.api.post(f"/images/{registry.host}/pushed/push", tag="v", headers={"X-Registry-Auth": "e30="}))
    push(engine.api, f"{registry.host}/pushed", "v", headers=auth_header())
    assert ("pushed", "v") in registry.manifests


def test_htpasswd_of_the_debian_registry(engine, closing):
    registry = closing(DebianRegistry(engine, htpasswd=True))
    engine.api.post("/images/busybox:e2e/tag", repo=f"{registry.host}/private", tag="v", expect=201)
    name = f"{registry.host}/private"
    failure(engine.api.post(f"/images/{name}/push", tag="v", headers=WRONG))
    push(engine.api, name, "v", headers=auth_header())
    engine.api.delete(f"/images/{name}:v", expect=200)
    answer = engine.api.post("/images/create", fromImage=name, tag="v")
    assert "no basic auth credentials" in failure(answer)
    pull(engine.api, name, "v", headers=auth_header())
    answer = engine.api.get(f"/distribution/{name}:v/json", headers=auth_header(), expect=200).json
    assert answer["Descriptor"]["digest"] in engine.api.get(f"/images/{name}:v/json").json["RepoDigests"][0]


@pytest.mark.parametrize("way", ["post", "get"])
def test_tokens(engine, tokens, behind, way):
    """A password becomes a token for just this repository; everything else is asked for with it."""
    tokens.post = way == "post"
    registry, name, image = behind
    pull(engine.api, name, headers=auth_header(username=USER, password=PASSWORD, serveraddress=registry.host))
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id
    assert all(access == [{"type": "repository", "name": "team/behind", "actions": ["pull"]}]
               for access, _ in tokens.tokens.values() if access)
    assert not [seen for seen in registry.log if seen.headers.get("Authorization", "").startswith("Basic")]
    assert len(tokens.requests("GET|POST", "/token")) <= 3, "a token for each request"


def test_anonymous_token(engine, tokens, behind):
    """Public repositories want a token too; it is given to anybody, without credentials."""
    registry, name, _ = behind
    tokens.public.add("team/behind")
    pull(engine.api, name)
    assert not [seen for seen in tokens.log if "Authorization" in seen.headers]


def test_token_refused(engine, tokens, behind):
    registry, name, _ = behind
    text = failure(engine.api.post("/images/create", fromImage=name))
    assert "pull access denied" in text or "unauthorized" in text, text
    assert images_named(engine.api, name) == []


def test_wrong_password_at_the_token_server(engine, tokens, behind):
    registry, name, _ = behind
    answer = engine.api.post("/images/create", fromImage=name, headers=WRONG)
    assert "unauthorized" in failure(answer) or "incorrect username or password" in failure(answer)
    assert images_named(engine.api, name) == []


def test_push_scope(engine, tokens, behind):
    registry, name, image = behind
    pull(engine.api, name, headers=auth_header())
    engine.api.post(f"/images/{name}/tag", repo=f"{registry.host}/team/other", tag="v", expect=201)
    push(engine.api, f"{registry.host}/team/other", "v", headers=auth_header())
    granted = [a for access, _ in tokens.tokens.values() for a in access if a["name"] == "team/other"]
    assert granted and all(set(a["actions"]) == {"pull", "push"} for a in granted)
    assert ("team/other", "v") in registry.manifests


@pytest.mark.differs(reference="20.10 asks for a new token when the old one's time is over, not when it is refused")
def test_a_token_that_ends_on_the_way(engine, tokens, behind):
    """Revoked between two layers: a new one is fetched, the pull goes on."""
    registry, name, image = behind
    seen = []

    def revoke(handler):
        if not seen:
            seen.append(1)
            registry.auth.revoke_all()
        return False

    registry.on("GET", image.layers[1].digest, revoke)
    answer = engine.api.post("/images/create", fromImage=name, headers=auth_header())
    assert "error" not in answer.objects[-1], answer.objects[-1]
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_short_lived_tokens(engine, tokens, behind):
    """Each token is good for no time at all after the first request; nothing may loop."""
    registry, name, image = behind
    tokens.lifetime = 0
    answer = engine.api.post("/images/create", fromImage=name, headers=auth_header())
    failure(answer)
    assert len(tokens.log) < 60


def test_identity_token(engine, tokens, behind):
    """What /auth gave instead of the password works in its place."""
    registry, name, image = behind
    login = engine.api.post("/auth", {"username": USER, "password": PASSWORD, "serveraddress": f"http://{registry.host}"}, expect=200).json
    assert login["Status"] == "Login Succeeded"
    assert login["IdentityToken"].startswith("identity-")
    pull(engine.api, name, headers=auth_header(identitytoken=login["IdentityToken"], serveraddress=registry.host))
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


def test_identity_token_that_is_unknown(engine, tokens, behind):
    registry, name, _ = behind
    failure(engine.api.post("/images/create", fromImage=name, headers=auth_header(identitytoken="identity-forged")))
    assert images_named(engine.api, name) == []


def test_registry_token(engine, tokens, behind):
    """A ready-made bearer token is sent as it is."""
    registry, name, image = behind
    token = tokens.grant(USER, ["repository:team/behind:pull"])["token"]
    tokens.log.clear()
    pull(engine.api, name, headers=auth_header(registrytoken=token))
    assert tokens.log == []
    assert engine.api.get(f"/images/{name}/json", expect=200).json["Id"] == image.id


@pytest.mark.parametrize("access", ["pull", "push"])
def test_tokens_of_the_debian_registry(engine, closing, tokens, tmp_path, access):
    """Signed ones, as docker-registry checks them."""
    tokens.signer = Signer(Authority(tmp_path / "signer"))
    registry = closing(DebianRegistry(engine, token=tokens.signer.config(tokens)))
    name = f"{registry.host}/signed"
    engine.api.post("/images/busybox:e2e/tag", repo=name, tag="v", expect=201)
    if access == "push":
        failure(engine.api.post(f"/images/{name}/push", tag="v", headers={"X-Registry-Auth": "e30="}))
    push(engine.api, name, "v", headers=auth_header())
    engine.api.delete(f"/images/{name}:v", expect=200)
    if access == "pull":
        failure(engine.api.post("/images/create", fromImage=name, tag="v"))
    pull(engine.api, name, "v", headers=auth_header())


def test_login(engine, guarded):
    registry, _, _ = guarded
    body = {"username": USER, "password": PASSWORD, "serveraddress": registry.host}
    assert engine.api.post("/auth", body, expect=200).json == {"IdentityToken": "", "Status": "Login Succeeded"}
    answer = engine.api.post("/auth", {**body, "password": "wrong"}, expect=(401, 500))
    assert "unauthorized" in answer.message or "401" in answer.message


def test_login_where_nobody_asks(engine, fake):
    """A registry without passwords takes any."""
    answer = engine.api.post("/auth", {"username": "a", "password": "b", "serveraddress": fake.host}, expect=200)
    assert answer.json["Status"] == "Login Succeeded"


def test_login_with_a_token_server(engine, tokens, behind):
    registry, _, _ = behind
    body = {"username": USER, "password": PASSWORD, "serveraddress": registry.host}
    tokens.identity = False
    assert engine.api.post("/auth", body, expect=200).json == {"IdentityToken": "", "Status": "Login Succeeded"}
    answer = engine.api.post("/auth", {**body, "password": "wrong"})
    assert answer.status in (401, 500), answer.text


@pytest.mark.parametrize("body, status", [
    ({"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"}, (500,)),
    ({"username": "a", "password": "b", "serveraddress": "http://"}, (400, 500)),
    ({"username": "a", "password": "b", "serveraddress": "a b"}, (400, 500)),
    ("text", (400, 500)), ([1], (400, 500)),
], ids=str)
def test_bad_logins(engine, body, status):
    assert engine.api.post("/auth", body).status in status


def test_secrets_stay_out_of_the_log(own_engine, closing):
    """Neither passwords nor tokens, not even at level debug."""
    engine = own_engine("--debug", images=False)
    tokens = closing(TokenServer(engine.sandbox))
    registry = closing(FakeRegistry(engine.sandbox, auth=Bearer(tokens)))
    name = registry.put(images.small("secrets"), "secrets", "v")
    password = "hush-hush-4711"
    pull(engine.api, name, headers=auth_header())
    engine.api.post("/images/create", fromImage=name, headers=auth_header(username=USER, password=password))
    engine.api.post("/auth", {"username": USER, "password": password, "serveraddress": registry.host})
    identity = engine.api.post("/auth", {"username": USER, "password": PASSWORD, "serveraddress": registry.host}).json["IdentityToken"]
    pull(engine.api, name, headers=auth_header(identitytoken=identity))
    log = engine.log.read_text()
    for secret in [password, f'"{PASSWORD}"', identity, base64.b64encode(f"{USER}:{password}".encode()).decode(), *tokens.tokens]:
        assert secret not in log, secret


def test_a_realm_elsewhere_gets_no_password_over_plain_http_of_another_host(engine, closing):
    """The token server that a registry names gets the credentials; whom that one redirects to does not."""
    thief = closing(TokenServer(engine.sandbox, address="127.0.0.3"))
    tokens = closing(TokenServer(engine.sandbox, address="127.0.0.2"))
    tokens.on("GET|POST", "/token", lambda h: (h.body(), h.reply(307, b"", {"Location": f"{thief.url}/token"}))[0] and None)
    registry = closing(FakeRegistry(engine.sandbox, auth=Bearer(tokens)))
    name = registry.put(images.small("realm"), "realm", "v")
    engine.api.post("/images/create", fromImage=name, headers=auth_header())
    assert not [s for s in thief.log if "Authorization" in s.headers]
    if not engine.is_reference:  # Go sends the form of a POST again.
        assert not [s for s in thief.log if PASSWORD.encode() in s.body]


def test_clocks(engine, tokens, behind):
    """A token without times in its answer is good for a while."""
    registry, name, image = behind
    tokens.give = lambda handler, answer: handler.reply(200, json.dumps(
        {k: v for k, v in answer.items() if k in ("token", "access_token")}).encode(), {"Content-Type": "application/json"})
    began = time.monotonic()
    pull(engine.api, name, headers=auth_header())
    assert time.monotonic() - began < 20
