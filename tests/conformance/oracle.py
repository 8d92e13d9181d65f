"""Holds the specifications and judges recorded exchanges by them."""

import json
import re
import threading
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

from conformance.allowed import allowed
from conformance.schema import Checker, Finding
from harness.http import json_objects

SPECIFICATIONS = Path(__file__).parent.parent / "api"
NEWEST = (1, 51)
VERSIONED = re.compile(r"^/v(\d+)\.(\d+)(/.*)$")
STREAMS = {"/events", "/images/create", "/images/load", "/containers/{id}/stats", "/build"}
PROGRESS_KEYS = {"status", "progress", "progressDetail", "id", "error", "errorDetail", "stream", "aux"}


class Specification:
    """One version's operations."""

    def __init__(self, path):
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self.document = yaml.load(path.read_text(), Loader=loader)
        self.checker = Checker(self.document)
        self.operations = []
        for template, item in self.document["paths"].items():
            pattern = re.compile("^" + re.sub(r"\\{[^}]*\\}", "(.+)", re.escape(template)) + "$")
            # The plainer template wins: /containers/json before /containers/{id}.
            self.operations.append((template.count("{"), -len(template), template, pattern, item))
        self.operations.sort(key=lambda operation: operation[:2])

    def find(self, method, path):
        """(template, operation) for a request, or None."""
        for _, _, template, pattern, item in self.operations:
            operation = item.get(method.lower())
            if operation is not None and pattern.match(path):
                return template, operation
        return None


@cache
def specifications():
    """Versions that have a file, oldest first."""
    return sorted(tuple(map(int, p.stem[1:].split("."))) for p in SPECIFICATIONS.glob("v*.yaml"))


@cache
def specification(version):
    """The file for `version`: its own, or the next older one."""
    known = [v for v in specifications() if v <= version] or specifications()[:1]
    return known[-1], Specification(SPECIFICATIONS / f"v{known[-1][0]}.{known[-1][1]}.yaml")


def split(target):
    """(version or None, path) of a request target."""
    if target.startswith("http://"):
        target = "/" + target.split("/", 3)[3]
    path = unquote(urlsplit(target).path)
    match = VERSIONED.match(path)
    if match:
        return (int(match[1]), int(match[2])), match[3]
    return None, path


def judge(exchange, newest=NEWEST):
    """Findings for one exchange, each with the operation it is about; a path without a version means `newest`."""
    version, path = split(exchange.target)
    known, spec = specification(version or newest)
    found = spec.find("GET" if exchange.method == "HEAD" and path != "/_ping" else exchange.method, path)
    if found is None or not exchange.status:
        return []
    template, operation = found
    # A version between two files may have fields of the newer one.
    exact = version is None or version == known
    where = f"{exchange.method} v{known[0]}.{known[1]} {template} {exchange.status}"
    return [(where, finding) for finding in _judge(exchange, spec, template, operation)
            if exact or finding.kind != "unknown"]


def _judge(exchange, spec, template, operation):
    responses = operation["responses"]
    status = exchange.status
    declared = responses.get(status, responses.get(str(status)))
    if declared is None and status not in (400, 503):
        # Any operation may refuse a malformed request; the files mention 400 here and there only.
        yield Finding("status", "", f"{status} is not declared ({sorted(map(str, responses))})")
    if exchange.hijacked or exchange.method == "HEAD":
        if exchange.body:
            yield Finding("body", "", "a body where none may be")
        return
    if status >= 400 and exchange.complete:
        schema = {"$ref": "#/definitions/ErrorResponse"}
        yield from _body(exchange, spec, schema)
        return
    if template in STREAMS:
        yield from _stream(exchange, spec, template, (declared or {}).get("schema"))
        return
    schema = (declared or {}).get("schema")
    if status in (204, 304):
        if exchange.body:
            yield Finding("body", "", "a body where none may be")
    elif schema is not None and exchange.complete and spec.checker.resolve(schema).get("type") != "string":
        if "application/json" in operation.get("produces", spec.document.get("produces", [])):
            yield from _body(exchange, spec, schema)


def _body(exchange, spec, schema):
    if exchange.headers.get("content-type", "").split(";")[0] != "application/json":
        yield Finding("content-type", "", f"{exchange.headers.get('content-type')!r}")
    try:
        value = json.loads(exchange.body)
    except ValueError:
        yield Finding("json", "", f"not JSON: {exchange.body[:200]!r}")
        return
    yield from spec.checker.check(schema, value)


def _stream(exchange, spec, template, schema):
    text = exchange.body.decode(errors="replace")
    try:
        for value in json_objects(text):
            if template == "/events":
                yield from spec.checker.check(schema or {}, value)
            elif template in ("/images/create", "/images/load", "/build"):
                for key in value.keys() - PROGRESS_KEYS:
                    yield Finding("unknown", f"/{key}", "a field that progress messages do not have")
    except ValueError:
        if exchange.complete and text:
            yield Finding("json", "", f"not a stream of JSON: {text[:200]!r}")


class Recorder:
    """Exchanges of the running test."""

    def __init__(self, engine, newest=NEWEST):
        self.engine = engine
        self.newest = newest
        self._lock = threading.Lock()
        self._exchanges = []

    def add(self, exchange):
        with self._lock:
            self._exchanges.append(exchange)

    def exchanges(self):
        """Everything recorded so far."""
        with self._lock:
            return list(self._exchanges)

    def take(self):
        """Everything recorded so far, which is then forgotten."""
        with self._lock:
            exchanges, self._exchanges = self._exchanges, []
        return exchanges

    def drain(self):
        """Judge everything recorded so far and forget it; returns lines of text."""
        return self.findings(self.take())

    def findings(self, exchanges):
        """What is wrong with exchanges, in lines of text."""
        lines = []
        for exchange in exchanges:
            for where, finding in judge(exchange, self.newest):
                if not allowed(self.engine, where, finding):
                    line = f"{where}: {finding}"
                    if line not in lines:
                        lines.append(line)
        return lines
