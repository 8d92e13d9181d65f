"""What there is to ask for: every operation of Docker's specifications with its query parameters, headers, filter keys and
body fields, and which of them a request asks for.

An item is a line like `POST /containers/create | body HostConfig.RestartPolicy.Name`; the operation alone is one, too.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import parse_qsl, urlsplit

from conformance.oracle import specification, specifications, split

# The version whose operations are counted; what later files add is told apart.
BASE = (1, 35)
FILTER = re.compile(r"^\s*- `([a-z][a-z-]*)[=`]", re.MULTILINE)
KINDS = ("query", "filter", "header", "body")


@dataclass
class Operation:
    """One operation of the union of all files: its items in the files' order, each with the versions that have it."""

    method: str
    template: str
    tag: str
    summary: str
    versions: list = field(default_factory=list)
    items: dict = field(default_factory=dict)

    @property
    def name(self):
        return f"{self.method} {self.template}"


def fields(checker, schema, path="", above=()):
    """The leaves of a schema as paths: `.` for a field, `[]` for a list's element, `{}` for a map's."""
    key = id(checker.resolve(schema))
    schema = checker.flatten(schema)
    if key in above:
        return
    above = (*above, key)
    # 1.35 says `properties: additionalProperties` for a map.
    if schema.get("properties", {}).keys() - {"additionalProperties"}:
        for name, item in schema["properties"].items():
            yield from fields(checker, item, f"{path}.{name}" if path else name, above)
    elif schema.get("type") == "array":
        below = list(fields(checker, schema.get("items", {}), f"{path}[]", above))
        yield from below if below != [f"{path}[]"] else [path]
    elif isinstance(schema.get("additionalProperties"), dict):
        below = list(fields(checker, schema["additionalProperties"], path + "{}", above))
        yield from below if below != [path + "{}"] else [path]
    else:
        yield path or "(all of it)"


def items(checker, operation):
    """(kind, name) of everything that a request to an operation may say."""
    for parameter in operation.get("parameters", []):
        parameter = checker.resolve(parameter)
        where = parameter["in"]
        if where == "body":
            for name in fields(checker, parameter["schema"]):
                yield "body", name
        elif where in ("query", "header"):
            yield where, parameter["name"]
            if parameter["name"] == "filters":
                for name in FILTER.findall(parameter.get("description", "")):
                    yield "filter", name


def tag(template, operation):
    """The chapter; the files forgot it for the logs of tasks."""
    return operation.get("tags", ["Task" if template.startswith("/tasks/") else "System"])[0]


@cache
def surface():
    """{name: Operation} of all files from 1.35 on."""
    found = {}
    for version in specifications():
        if version < BASE:
            continue
        spec = specification(version)[1]
        for template, methods in spec.document["paths"].items():
            for method, operation in methods.items():
                name = f"{method.upper()} {template}"
                entry = found.setdefault(name, Operation(method.upper(), template, tag(template, operation), operation.get("summary", "")))
                entry.versions.append(version)
                for item in items(spec.checker, operation):
                    versions = entry.items.setdefault(item, [])
                    if version not in versions:
                        versions.append(version)
    for operation in found.values():
        # What one file calls a list and another describes is described.
        for kind, name in list(operation.items):
            if any(k == kind and other.startswith((f"{name}[]", f"{name}{{}}", f"{name}.")) for k, other in operation.items):
                del operation.items[kind, name]
        operation.items = dict(sorted(operation.items.items(), key=lambda item: KINDS.index(item[0][0])))
    return found


def line(operation, item=None):
    """An item as the record writes it."""
    return operation if item is None else f"{operation} | {item[0]} {item[1]}"


def lines():
    """Every item there is."""
    return {line(name, item) for name, operation in surface().items() for item in (None, *operation.items)}


def find(method, path):
    """The operation a request is to: the plainer template wins."""
    for version in reversed([v for v in specifications() if v >= BASE]):
        found = specification(version)[1].find(method, path)
        if found is not None:
            return surface()[f"{method} {found[0]}"]
    return None


def asked(exchange):
    """The items that an exchange shows: what a request said, if it was done. A field of Go's zero value says nothing,
    because clients write all of theirs into each request."""
    done = exchange.status and (exchange.status < 400 or exchange.hijacked)
    operation = find(exchange.method, split(exchange.target)[1]) if done else None
    if operation is None:
        return set()
    found = {line(operation.name)}
    known = operation.items
    for name, value in parse_qsl(urlsplit(exchange.target).query, keep_blank_values=True):
        if ("query", name) in known and value != "":
            found.add(line(operation.name, ("query", name)))
            if name == "filters":
                found |= {line(operation.name, ("filter", key)) for key in filter_keys(value) if ("filter", key) in known}
    for kind, name in known:
        if kind == "header" and exchange.request_headers.get(name):
            found.add(line(operation.name, (kind, name)))
    bodies = {name: name for kind, name in known if kind == "body"}
    if "(all of it)" in bodies:
        if exchange.request_body:
            found.add(line(operation.name, ("body", "(all of it)")))
    elif bodies and exchange.request_body:
        found |= {line(operation.name, ("body", name)) for name in body_fields(exchange.request_body, bodies)}
    return found


def filter_keys(text):
    try:
        value = json.loads(text)
    except ValueError:
        return ()
    # The negation of a filter is documented with it.
    return [key.rstrip("!") for key in value] if isinstance(value, dict) else ()


def body_fields(data, known):
    """Those of the known fields that a JSON body sets, without regard to case."""
    try:
        value = json.loads(data)
    except ValueError:
        return set()
    lowered = {name.lower(): name for name in known}
    found = set()

    def walk(value, paths):
        """`paths` are the ways in which what is here may be written: a map's keys are anything."""
        found.update(lowered[path] for path in paths if path in lowered and value not in (None, "", 0, False, [], {}))
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, [p for path in paths for p in ((f"{path}.{key.lower()}" if path else key.lower()), path + "{}")])
        elif isinstance(value, list):
            for below in value:
                walk(below, [path + "[]" for path in paths])

    walk(value, [""])
    return found
