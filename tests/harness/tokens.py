"""Who may do what at a registry of the tests: basic passwords, and bearer tokens of a token server of their own."""

import base64
import hashlib
import json
import re
import time
import uuid

from harness.registry import PASSWORD, USER
from harness.servers import Server
from harness.tls import openssl


def basic(handler):
    """(user, password) of the request, or None."""
    kind, _, value = handler.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    return tuple(base64.b64decode(value).decode().split(":", 1))


class Basic:
    """A registry that wants a user and a password."""

    def allows(self, handler):
        if basic(handler) == (USER, PASSWORD):
            return True
        handler.body()
        handler.reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                      {"WWW-Authenticate": 'Basic realm="tests"', "Content-Type": "application/json"})
        return False


def needed(seen):
    """(repository, action) that a request needs; None for /v2/ itself."""
    found = re.fullmatch(r"/v2/(.+)/(manifests|blobs|tags)/.*", seen.path)
    if found is None:
        return None
    return found[1], "pull" if seen.method in ("GET", "HEAD") else "push"


class TokenServer(Server):
    """Gives tokens to whom it knows, and to anybody for pulls of `public` repositories."""

    def __init__(self, sandbox, *args, **options):
        self.tokens, self.refresh = {}, {}
        self.public = set()
        self.lifetime = 300
        self.post = True  # whether the OAuth2 way is there
        self.service = "tests"
        self.identity = True  # whether it gives identity tokens to who asks for offline access
        self.signer = None
        super().__init__(sandbox, *args, **options)

    def answer(self, handler):
        if handler.seen.path != "/token":
            handler.body()
            handler.reply(404)
        elif handler.command == "POST":
            self.oauth(handler)
        else:
            self.plain(handler)

    def plain(self, handler):
        """GET: basic credentials, or none."""
        given = basic(handler)
        if given is not None and given != (USER, PASSWORD):
            handler.reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}')
            return
        scopes = re.findall(r"scope=([^&]+)", handler.seen.target)
        scopes = [scope for one in scopes for scope in one.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")
                  .replace("%20", " ").replace("+", " ").split(" ")]
        answer = self.grant(given and given[0], scopes)
        if given and self.identity and handler.seen.query.get("offline_token") == "true":
            answer["refresh_token"] = self.new_refresh(given[0])
        self.give(handler, answer)

    def oauth(self, handler):
        """POST: a password, or an identity token."""
        form = dict(pair.split("=", 1) for pair in handler.body().decode().split("&") if "=" in pair)
        from urllib.parse import unquote_plus
        form = {key: unquote_plus(value) for key, value in form.items()}
        handler.seen.extra = form
        if not self.post:
            handler.reply(404)
            return
        if form.get("grant_type") == "refresh_token":
            user = self.refresh.get(form.get("refresh_token"))
        else:
            user = USER if (form.get("username"), form.get("password")) == (USER, PASSWORD) else None
        if user is None:
            handler.reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}')
            return
        answer = self.grant(user, form.get("scope", "").split())
        answer["access_token"] = answer.pop("token")
        if self.identity and form.get("access_type") == "offline":
            answer["refresh_token"] = self.new_refresh(user)
        self.give(handler, answer)

    def new_refresh(self, user):
        token = f"identity-{uuid.uuid4().hex}"
        self.refresh[token] = user
        return token

    def grant(self, user, scopes):
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 1)[0], scope.split(":", 1)[1].rsplit(":", 1)[0], scope.rsplit(":", 1)[1]
            allowed = [a for a in actions.split(",") if user or (a == "pull" and name in self.public)]
            access.append({"type": kind, "name": name, "actions": allowed})
        token = uuid.uuid4().hex if self.signer is None else self.signer.token(user, self.service, access)
        self.tokens[token] = (access, time.monotonic() + self.lifetime)
        return {"token": token, "expires_in": self.lifetime, "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}

    def give(self, handler, answer):
        handler.reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


class Bearer:
    """A registry that wants tokens of a TokenServer."""

    def __init__(self, tokens):
        self.server = tokens
        self.revoked = set()

    def allows(self, handler):
        kind, _, token = handler.headers.get("Authorization", "").partition(" ")
        access, expires = self.server.tokens.get(token, (None, 0))
        wanted = needed(handler.seen)
        if kind.lower() == "bearer" and access is not None and token not in self.revoked and time.monotonic() < expires:
            if wanted is None or any(a["name"] == wanted[0] and wanted[1] in a["actions"] for a in access):
                return True
        handler.body()
        challenge = f'Bearer realm="{self.server.url}/token",service="{self.server.service}"'
        if wanted is not None:
            actions = "pull" if wanted[1] == "pull" else "pull,push"
            challenge += f',scope="repository:{wanted[0]}:{actions}"'
        if access is not None:
            challenge += ',error="insufficient_scope"'
        handler.reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                      {"WWW-Authenticate": challenge, "Content-Type": "application/json"})
        return False

    def revoke_all(self):
        """No token given so far is worth anything any more."""
        self.revoked |= set(self.server.tokens)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs tokens as docker-registry's `auth: token` wants them."""

    def __init__(self, authority):
        self.authority = authority
        self.pair = authority.issue("signer", "signer.test", key="rsa")
        der = openssl("x509", "-in", self.pair.cert, "-outform", "DER")
        self.head = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}

    def config(self, server):
        """The registry's configuration."""
        return {"realm": f"{server.url}/token", "service": server.service, "issuer": "tests",
                "rootcertbundle": str(self.authority.cert)}

    def token(self, user, service, access):
        now = int(time.time())
        claims = {"iss": "tests", "sub": user or "", "aud": service, "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": hashlib.sha256(str(now).encode()).hexdigest()[:16], "access": access}
        text = f"{base64url(json.dumps(self.head).encode())}.{base64url(json.dumps(claims).encode())}"
        signature = openssl("dgst", "-sha256", "-sign", self.pair.key, data=text.encode())
        return f"{text}.{base64url(signature)}"
