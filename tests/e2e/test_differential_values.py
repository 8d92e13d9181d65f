"""Values that cannot be, in each parameter and each field that the specification has: both engines refuse the same."""

import re

import pytest

from conformance.oracle import specification
from harness.engine import IMAGE
from harness.http import encode_query
from test_differential import BLAME, both, reference  # noqa: F401 (fixtures)

VERSION = (1, 41)
LOOP = "trap 'exit 0' TERM INT; while :; do sleep 0.05; done"
WRONG = {
    "integer": ["x", "1.5", "-1", "99999999999999999999", ""],
    "boolean": ["maybe", "-1", ""],
    "string": ["\x01", ""],
    "array": ["\x01", ""],
}
FILTERS = ["{", "[]", "5", '"x"', '{"nonsense":["x"]}', '{"label":"x"}', '{"label":5}', '{"label":{"x":false}}', '{"label":{"x":5}}', "null", "{}"]
# What makes a request of each operation sound but for the value that is tried; {id} is a container, {exec} an exec of it.
SOUND = {
    "GET /containers/json": {}, "GET /containers/{id}/json": {}, "GET /containers/{id}/top": {}, "GET /containers/{id}/logs": {"stdout": "1"},
    "GET /containers/{id}/stats": {"stream": "0"}, "POST /containers/{id}/resize": {"h": "10", "w": "10"}, "POST /containers/{id}/start": {},
    "POST /containers/{id}/stop": {"t": "0"}, "POST /containers/{id}/restart": {"t": "0"}, "POST /containers/{id}/kill": {},
    "POST /containers/{id}/rename": {}, "DELETE /containers/{id}": {"force": "1"}, "POST /containers/{id}/wait": {"condition": "not-running"},
    "HEAD /containers/{id}/archive": {"path": "/etc"}, "GET /containers/{id}/archive": {"path": "/etc"}, "PUT /containers/{id}/archive": {"path": "/tmp"},
    "POST /containers/prune": {}, "GET /events": {"until": "1"}, "POST /exec/{id}/resize": {"h": "10", "w": "10"}, "GET /images/json": {},
    "POST /containers/create": {}, "POST /containers/{id}/attach": {}, "GET /system/df": {}, "POST /images/prune": {}, "POST /commit": {},
}
# Where the answers may differ, and why (docs/differences.md): operation, parameter or field, value.
EXPECTED = {
    r"/wait condition ": "20.10 takes a condition that it does not know for the default",
    r"/resize [hw] '-1'": "20.10 takes what is left of it in sixteen bits",
    r"/create Image = None": "20.10 makes containers of no image",
    r"/attach logs ": "20.10 hijacks the connection before it says that no stream was asked for",
    r"/create NetworkingConfig\.EndpointsConfig\.bridge = None": "an empty object, which both take, says as much",
    r"/create NetworkingConfig\..*\.(LinkLocalIPs|Links|Aliases)\.0 = None: 400 here": "20.10 says it at the start, if at all",
    r"/create HostConfig\.(DeviceCgroupRules|DeviceRequests|Ulimits)\..* = None: 400 here": "20.10 says it at the start",
}


def status(answer):
    """The status; the connection is not waited for."""
    found = answer.status
    answer.close()
    return found


class Subject:
    """A container of one engine, made anew when a request changed it."""

    def __init__(self, engine, runs=True):
        self.engine, self.runs, self.id, self.exec = engine, runs, None, None

    def fresh(self):
        if self.id is not None:
            self.engine.api.delete(f"/containers/{self.id}", force=True)
        self.id = self.engine.start_container(LOOP, Tty=True).id
        body = {"Cmd": ["sh"], "Tty": True, "AttachStdin": True}
        self.exec = self.engine.api.post(f"/containers/{self.id}/exec", body, expect=201).json["Id"]
        if self.runs:
            self.engine.api.post(f"/exec/{self.exec}/start", {"Detach": True, "Tty": True}, expect=200)

    def path(self, template):
        return template.replace("{id}", self.exec if template.startswith("/exec") else self.id)


def same(ours, theirs):
    """20.10 blames itself for what its caller did; newer ones and ours do not."""
    return ours == theirs or ours in BLAME.get(theirs, ())


def report(found):
    left = [line for line in found if not any(re.search(pattern, line) for pattern in EXPECTED)]
    assert not left, "\n".join(left)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SOUND)
def test_parameters(both, name):  # noqa: F811
    method, template = name.split(" ")
    spec = specification(VERSION)[1]
    operation = spec.document["paths"][template][method.lower()]
    parameters = [p for p in operation["parameters"] if p["in"] == "query"] if "parameters" in operation else []
    subjects = [Subject(engine) for engine in both]
    changes = method in ("POST", "DELETE", "PUT")
    found, dirty = [], True
    for parameter in parameters:
        values = FILTERS if parameter["name"] == "filters" else WRONG[parameter["type"]]
        for value in values:
            answers = []
            for subject in subjects:
                if dirty:
                    subject.fresh()
                query = {**SOUND[name], parameter["name"]: value}
                if name == "POST /commit":
                    query.setdefault("container", subject.id)
                answers.append(status(subject.engine.api.request(
                    method, "", raw_target=f"/v1.41{subject.path(template)}?{encode_query(query)}", stream=True,
                    body=b"" if method == "PUT" else None,
                    json_body={"Image": IMAGE, "Cmd": ["true"]} if template.endswith("/create") else None)))
            dirty = changes and min(answers) < 400
            if not same(*answers):
                found.append(f"{name} {parameter['name']} {value!r}: {answers[0]} here, {answers[1]} there")
    report(found)


def leaves(checker, schema, path=()):
    """(way to it, type) of every field of a body; lists and maps are gone into once."""
    schema = checker.flatten(schema)
    kind = schema.get("type", "object")
    yield path, kind
    if schema.get("properties"):
        for name, item in schema["properties"].items():
            yield from leaves(checker, item, (*path, name))
    elif kind == "array":
        yield from leaves(checker, schema["items"], (*path, 0))
    elif isinstance(schema.get("additionalProperties"), dict):
        yield from leaves(checker, schema["additionalProperties"], (*path, "bridge" if path[-1] == "EndpointsConfig" else "80/tcp"))


def body_with(path, value):
    """The least document that has `value` there."""
    for part in reversed(path):
        value = [value] if part == 0 else {part: value}
    return value


def merged(base, over):
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}
    return over


OTHER_TYPES = {
    "string": [5, True, ["x"], {"x": 1}], "integer": ["x", True, [1], 1.5, 1 << 70], "number": ["x"], "boolean": ["x", 1, [True]],
    "array": ["x", 5, {"a": 1}], "object": ["x", 5, ["x"]],
}
BODIES = {
    "POST /containers/create": {"Image": IMAGE, "Cmd": ["true"]},
    "POST /containers/{id}/update": {},
    "POST /containers/{id}/exec": {"Cmd": ["true"]},
    "POST /exec/{id}/start": {"Detach": True},
    "POST /volumes/create": {},
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BODIES)
def test_types_of_fields(both, name):  # noqa: F811
    """A value of another type, and null, in each field."""
    method, template = name.split(" ")
    spec = specification(VERSION)[1]
    schema = next(p["schema"] for p in spec.document["paths"][template][method.lower()]["parameters"] if p["in"] == "body")
    subjects = [Subject(engine, runs=template != "/exec/{id}/start") for engine in both]
    found, dirty = [], True
    for path, kind in leaves(spec.checker, schema):
        for value in [*OTHER_TYPES[kind], None]:
            body = merged(BODIES[name], body_with(path, value))
            answers = []
            for subject in subjects:
                if dirty:
                    subject.fresh()
                answer = subject.engine.api.request(method, subject.path(template), json_body=body, stream=True)
                if answer.status == 201 and template == "/containers/create":
                    answer.read()
                    subject.engine.api.delete(f"/containers/{answer.json['Id']}")
                answers.append(status(answer))
            dirty = template.startswith("/exec") and min(answers) < 400
            if not same(*answers):
                found.append(f"{name} {'.'.join(map(str, path))} = {value!r}: {answers[0]} here, {answers[1]} there")
    report(found)
