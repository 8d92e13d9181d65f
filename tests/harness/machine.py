"""What builds need of the machine they run on: a way out of the sandbox, and how packages are fetched here.

Nothing of it is written in the tests: it is read when they run.
"""

import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from harness.sandbox import ENGINE_ADDRESS
from harness.servers import ForwardProxy


class WayOut(ForwardProxy):
    """A proxy that containers of the sandbox reach and that asks the machine's network, or the machine's own proxy."""

    def __init__(self, sandbox):
        super().__init__(sandbox, address=ENGINE_ADDRESS)
        self.own = next((os.environ[key] for key in ("http_proxy", "HTTP_PROXY") if os.environ.get(key)), None)

    @property
    def arguments(self):
        """Docker's own build arguments for it."""
        return {name: self.url for name in ("http_proxy", "https_proxy")}

    def answer(self, handler):
        if self.own is None:
            return super().answer(handler)
        # The other proxy reads the same words.
        lines = [f"{handler.command} {handler.path} HTTP/1.1", "Connection: close",
                 *(f"{k}: {v}" for k, v in handler.headers.items() if k.lower() not in ("connection", "proxy-connection"))]
        there = self.connect((urlsplit(self.own).hostname, urlsplit(self.own).port or 80))
        there.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        return self.relay(handler, there)

    def connect(self, target):
        return socket.create_connection(target, timeout=60)


def pip_configuration():
    """A pip.conf that says what this machine's pip says about the index, and whom to believe."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    said = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        name = name.removeprefix("global.").removeprefix(":env:").removeprefix(".")
        if name in ("index-url", "extra-index-url", "trusted-host"):
            said[name] = value.strip("'")
    return "\n".join(["[global]", "cert = /machine/ca.crt", *(f"{k} = {v}" for k, v in said.items()), ""])


def cargo_configuration():
    """What this machine's cargo is told about registries."""
    home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    found = next((path for path in (home / "config.toml", home / "config") if path.is_file()), None)
    return found.read_text() if found else ""


def files():
    """Files for a build's context by their names there."""
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    return {"machine/ca.crt": Path(bundle).read_bytes(), "machine/pip.conf": pip_configuration(),
            "machine/cargo.toml": cargo_configuration()}
