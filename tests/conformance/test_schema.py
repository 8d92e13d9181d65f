"""The checker itself: what it must find, and what it must let pass."""

import pytest

from conformance.oracle import judge, specification, specifications, split
from conformance.schema import Checker
from harness.http import Exchange, Headers, demultiplex, json_objects

DOCUMENT = {"definitions": {
    "Item": {"type": "object", "required": ["Id"], "properties": {
        "Id": {"type": "string", "x-nullable": False}, "Size": {"type": "integer"}, "Kind": {"type": "string", "enum": ["a", "b"]},
        "When": {"type": "string", "format": "dateTime"}, "Names": {"type": "array", "items": {"type": "string"}},
        "Maybe": {"type": "integer", "x-nullable": True}, "Extra": {"type": "object", "additionalProperties": {"type": "integer"}},
        "Never": {"type": "array", "x-nullable": False, "items": {"type": "string"}}}},
    "Both": {"allOf": [{"$ref": "#/definitions/Item"}, {"type": "object", "properties": {"More": {"type": "boolean"}}}]},
    "Text": {"allOf": [{"type": "string", "enum": ["x"]}]},
}}


def findings(value, name="Item"):
    return [f"{f.kind} {f.pointer}" for f in Checker(DOCUMENT).check({"$ref": f"#/definitions/{name}"}, value)]


@pytest.mark.parametrize("value, expected", [
    ({"Id": "x"}, []), ({}, ["missing /Id"]), ({"Id": None}, ["null /Id"]), ({"Id": 5}, ["type /Id"]),
    ({"Id": "x", "Size": True}, ["type /Size"]), ({"Id": "x", "Kind": "c"}, ["enum /Kind"]), ({"Id": "x", "Names": None}, []),
    ({"Id": "x", "Names": ["a", 1]}, ["type /Names/1"]), ({"Id": "x", "Maybe": None}, []), ({"Id": "x", "Size": None}, ["null /Size"]),
    ({"Id": "x", "Never": None}, ["null /Never"]), ({"Id": "x", "Extra": {"a": 1, "b": "c"}}, ["type /Extra/b"]),
    ({"Id": "x", "Other": 1}, ["unknown /Other"]), ({"Id": "x", "When": "yesterday"}, ["format /When"]),
    ({"Id": "x", "When": "2024-01-02T03:04:05.123456789Z"}, []), ([], ["type "]),
])
def test_objects(value, expected):
    assert findings(value) == expected


def test_all_of():
    assert findings({"Id": "x", "More": True}, "Both") == []
    assert findings({"More": 1, "Other": 2}, "Both") == ["missing /Id", "type /More", "unknown /Other"]
    assert findings("x", "Text") == [] and findings("y", "Text") == ["enum "]


@pytest.mark.parametrize("target, expected", [
    ("/v1.41/containers/json?all=1", ((1, 41), "/containers/json")), ("/info", (None, "/info")),
    ("http://v1.35/images/json", (None, "/images/json")), ("/v1.44/images/a%2Fb/json", ((1, 44), "/images/a/b/json")),
])
def test_targets(target, expected):
    assert split(target) == expected


def test_versions():
    assert [specification(v)[0] for v in ((1, 24), (1, 35), (1, 40), (1, 43), (1, 51), (1, 99))] == \
        [(1, 25), (1, 35), (1, 35), (1, 41), (1, 51), (1, 51)]
    assert len(specifications()) == 5


def exchange(method, target, status, body=b"", kind="application/json", **options):
    return Exchange(method=method, target=target, status=status, body=body, complete=True, headers=Headers({"content-type": kind}), **options)


@pytest.mark.parametrize("made, expected", [
    (exchange("GET", "/v1.41/containers/x/json", 418, b'{"message":"x"}'), ["status"]),
    (exchange("GET", "/v1.41/containers/x/json", 404, b"plain"), ["json"]),
    (exchange("GET", "/v1.41/containers/x/json", 404, b'{"msg":"x"}'), ["missing", "unknown"]),
    (exchange("GET", "/v1.41/containers/x/json", 404, b'{"message":"x"}', "text/plain"), ["content-type"]),
    (exchange("POST", "/v1.41/containers/x/start", 204, b"body"), ["body"]),
    (exchange("POST", "/v1.41/containers/create", 201, b'{"Id":"x","Warnings":[]}'), []),
    (exchange("POST", "/v1.41/containers/create", 201, b'{"Id":"x"}'), ["missing"]),
    (exchange("GET", "/v1.41/no/such/path", 404, b"x"), []),
    (exchange("POST", "/v1.41/images/create?fromSrc=-", 200, b'{"status":"x"}{"nope":1}'), ["unknown"]),
    (exchange("POST", "/v1.41/images/create?fromSrc=-", 200, b'{"status":'), ["json"]),
])
def test_judge(made, expected):
    assert sorted(f.kind for _, f in judge(made)) == sorted(expected)


def test_json_objects():
    assert list(json_objects('{"a":1}\r\n[2] "x"\n')) == [{"a": 1}, [2], "x"]


def test_demultiplex():
    assert demultiplex(b"\1\0\0\0\0\0\0\2ab\2\0\0\0\0\0\0\1c") == (b"ab", b"c")
    with pytest.raises(AssertionError):
        demultiplex(b"\1\0\0\0\0\0\0\5ab")
