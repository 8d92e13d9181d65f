"""docs/api.md says what the tests showed and what is declared, no more and no less."""

import re

import pytest

from conformance import shown, surface, table
from conformance.declared import DECLARED, DIFFERS, NOT_YET, NOTE, REFUSED, verdict
from harness.http import Exchange, Headers

DIFFERENCES = (table.PAGE.parent / "differences.md")


def test_the_page_is_up_to_date():
    assert table.PAGE.read_text() == table.render(shown.read()), "run make docs-table"


def test_the_record_names_what_there_is():
    unknown = shown.read().keys() - surface.lines()
    assert not unknown, sorted(unknown)
    assert sum(surface.BASE in operation.versions for operation in surface.surface().values()) == 105


@pytest.mark.parametrize("entry", DECLARED, ids=[f"{entry.state} {entry.pattern}" for entry in DECLARED])
def test_a_declaration_is_about_something(entry):
    assert any(entry.covers(line) for line in surface.lines())
    assert entry.state in (NOT_YET, DIFFERS, NOTE, REFUSED)
    assert bool(entry.page) == (entry.state in (NOT_YET, DIFFERS))
    assert entry.page in DIFFERENCES.read_text(), "docs/differences.md does not say it"


def test_what_is_not_there_is_not_shown():
    """A feature that has come must leave the list."""
    late = [line for line in shown.read() if (entry := verdict(line)) and entry.state == NOT_YET]
    assert not late, late


def ask(method, target, body=b"", status=200):
    headers = Headers()
    headers["X-Registry-Auth"] = "e30="
    return surface.asked(Exchange(method=method, target=target, request_headers=headers, request_body=body, status=status))


def test_what_a_request_asks_for():
    create = "POST /containers/create"
    body = (b'{"cmd":["x"],"Tty":false,"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"1"}]},"Memory":0},'
            b'"NetworkingConfig":{"EndpointsConfig":{"a":{"Aliases":["b"]}}},"Volumes":{"/x":{}}}')
    assert ask("POST", "/v1.41/containers/create?name=x", body, 201) == {
        create, f"{create} | query name", f"{create} | body Cmd", f"{create} | body HostConfig.PortBindings{{}}[].HostPort",
        f"{create} | body NetworkingConfig.EndpointsConfig{{}}.Aliases", f"{create} | body Volumes"}
    assert ask("POST", "/v1.41/containers/create?name=x", body, 404) == set()
    assert ask("GET", '/containers/json?all=&filters={"status":["x"],"none":[]}') == {
        "GET /containers/json", "GET /containers/json | query filters", "GET /containers/json | filter status"}
    assert ask("POST", "/images/a/b/push") == {"POST /images/{name}/push", "POST /images/{name}/push | header X-Registry-Auth"}
    assert ask("PUT", "/v1.35/containers/a/archive?path=%2F", b"tar") == {
        f"PUT /containers/{{id}}/archive{rest}" for rest in ("", " | query path", " | body (all of it)")}


def test_bookkeeping():
    record = {"a": "test_x", "b": "test_x", "c": "test_cli"}
    found = {"a": {"test_y"}, "c": {"test_y", "test_cli"}}
    assert shown.missing(record, found, {"test_x"}) == ["b\ttest_x"]
    assert shown.missing(record, found, {"test_cli"}) == []
    assert shown.update(record, found, {"test_x", "test_cli", "test_y"}) == {"a": "test_y", "c": "test_y"}
    assert re.match(r"# The API", table.HEAD)
