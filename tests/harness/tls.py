"""A private certificate authority for the tests, made by openssl."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path

    def context(self, client_ca=None):
        """For a server; with `client_ca` clients need a certificate of it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """Signs certificates; its own is `cert`."""

    def __init__(self, folder, name="tests"):
        self.dir = Path(folder)
        self.dir.mkdir(exist_ok=True)
        self.cert, self.key = self.dir / "ca.crt", self.dir / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "10",
                "-subj", f"/CN={name} authority", "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign,digitalSignature", "-keyout", self.key, "-out", self.cert)

    def issue(self, name, *addresses, usage="serverAuth", key="ec"):
        """A certificate for `name` (host names, or addresses)."""
        pair = Pair(self.dir / f"{name}.cert", self.dir / f"{name}.key")
        request, extensions = self.dir / f"{name}.csr", self.dir / f"{name}.ext"
        names = [f"IP:{one}" if one[0].isdigit() else f"DNS:{one}" for one in addresses or [name]]
        extensions.write_text(f"subjectAltName={','.join(names)}\nextendedKeyUsage={usage}\n")
        kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        openssl("req", "-new", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-CAcreateserial", "-days", "10",
                "-extfile", extensions, "-out", pair.cert)
        return pair


def openssl(*args, data=None):
    return subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=True).stdout
