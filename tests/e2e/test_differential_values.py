"""Values that cannot be, in each parameter and each field that the specification has: both engines refuse the same, in words
that say as much."""

import json
import re

import pytest

from conformance.oracle import specification
from harness.engine import IMAGE
from harness.http import encode_query
from test_differential import BLAME, both  # noqa: F401 (a fixture)

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


# Where both refuse in other words, and why those are as good: operation, parameter or field, value; ours; theirs.
OTHER_WORDS = [
    (r" filters ", r"^invalid filter: .", r"^(json: cannot unmarshal|unexpected end of JSON input)", "ours says that it is a filter"),
    (r"/logs (since|until) ", r"^invalid value for \"(since|until)\": ", r"^strconv\.ParseInt: ", "ours names the parameter"),
    (r"/events (since|until) ", r"^invalid value for \"(since|until)\": ", r"^strconv\.ParseInt: ", "ours names the parameter"),
    (r"/top ps_args ", r"^Error running ps: .*unsupported option", r"^ps: error: garbage option", "there is no ps program"),
    (r"/rename name ", r"^Invalid container name ", r"^Error when allocating new name: Invalid container name ", "the same"),
    (r"/create platform ", r"unknown operating system or architecture", r"is an invalid component of", "20.10's has a pattern of what may be"),
    (r"StorageOpt", r"^--storage-opt is supported only for overlay over xfs", r"^Unknown option", "no option is of use here"),
    (r"  = None", r"^got EOF while reading request body$", r"^EOF$", "newer Docker's words"),
]
# Go's names of types, which say nothing to others, and where its reader stopped: newer Docker names other ones than 20.10.
GO = [(r"Go (struct field \w+\.|value)", "Go "), (r" of type .*", ""), (r"^json: cannot unmarshal number \S+ into", "json: cannot unmarshal number into")]
# 20.10 reads these fields by itself and says that there was a list; ours says what was in it.
ONE_OR_MANY = re.compile(r" (Cmd|Entrypoint|Shell|HostConfig\.Cap(Add|Drop))\.0 = ")


def plain(text):
    """A message without what the two engines call differently: ids, types, the case of its first letter."""
    text = re.sub(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{12}\b", "ID", text.strip()).lower()
    for pattern, instead in GO:
        text = re.sub(pattern.lower(), instead.lower(), text)
    return text


def same_words(what, ours, theirs):
    ours_plain, theirs_plain = plain(ours), plain(theirs)
    if ONE_OR_MANY.search(what):
        ours_plain, theirs_plain = (re.sub(r"unmarshal \w+ into", "unmarshal into", text) for text in (ours_plain, theirs_plain))
    return ours_plain == theirs_plain or any(
        re.search(pattern, what) and re.search(here, ours) and re.search(there, theirs) for pattern, here, there, _ in OTHER_WORDS)


def outcome(answer):
    """The status, and the message if it is a refusal; what is done is not waited for."""
    message = ""
    if answer.status >= 400 and answer.exchange.method != "HEAD":
        text = answer.read().decode(errors="replace")
        try:
            message = json.loads(text)["message"]
        except (ValueError, KeyError, TypeError):
            message = text
    answer.close()
    return answer.status, message


def disagreement(what, answers):
    """What differs between the two outcomes, if anything."""
    (ours, our_words), (theirs, their_words) = answers
    if not same(ours, theirs):
        return f"{what}: {ours} here, {theirs} there"
    if min(ours, theirs) >= 400 and not same_words(what, our_words, their_words):
        return f"{what}: {our_words!r} here, {their_words!r} there"
    return None


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
    left = [line for line in found if line and not any(re.search(pattern, line) for pattern in EXPECTED)]
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
                answers.append(outcome(subject.engine.api.request(
                    method, "", raw_target=f"/v1.41{subject.path(template)}?{encode_query(query)}", stream=True,
                    body=b"" if method == "PUT" else None,
                    json_body={"Image": IMAGE, "Cmd": ["true"]} if template.endswith("/create") else None)))
            dirty = changes and min(answers)[0] < 400
            found.append(disagreement(f"{name} {parameter['name']} {value!r}", answers))
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
                answers.append(outcome(answer))
            dirty = template.startswith("/exec") and min(answers)[0] < 400
            found.append(disagreement(f"{name} {'.'.join(map(str, path))} = {value!r}", answers))
    report(found)
