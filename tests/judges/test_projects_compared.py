"""The projects' images built by both engines, compared file by file. `make judge`: it takes minutes."""

import hashlib
import re
from collections import Counter

import pytest

from e2e.test_build_both import DIFFERENT
from e2e.test_build_projects import make
from harness import machine
from harness.build import history, walk
from harness.engine import Engine

pytestmark = pytest.mark.timeout(1800)

# Files that two builds by one engine do not have in common either, and why.
UNLIKE = {
    r"etc/shadow-?": "the day on which a user was made",
    r"var/cache/ldconfig/aux-cache": "inode numbers and times",
    r".*/__pycache__/.*\.pyc": "times of the sources",
}


def digested(found):
    """The walk with digests instead of large contents."""
    return {path: (*entry[:4], hashlib.sha256(entry[4]).hexdigest() if isinstance(entry[4], bytes) and len(entry[4]) > 200
                   else entry[4]) for path, entry in found.items()}


def described(engine, name):
    way_out = machine.WayOut(engine.sandbox)
    try:
        built = make(engine, name, way_out)
    finally:
        way_out.close()
    inspected = engine.api.get(f"/images/{built.id}/json", expect=200).json
    config = {k: v for k, v in inspected["Config"].items() if k not in DIFFERENT and v not in (None, "", [], {}, False)}
    lines = [re.sub(r"(--chown=\S+?)? ?(file|dir|multi):[0-9a-f]{64}", r"\1 \2:", line) for line in history(engine, built.id)]
    return digested(walk(engine, built.id)), config, lines, len(inspected["RootFS"]["Layers"])


@pytest.mark.parametrize("name", ["nginx", "redis", "postgres", "rust", "python"])
def test_the_same(name, engine_kind):
    # One after the other, and each gone before the next: the images are large.
    found = []
    for kind in ("reference", engine_kind):
        engine = Engine(kind)
        try:
            found.append(described(engine, name))
        finally:
            engine.close()
    (theirs, *their_facts), (ours, *our_facts) = found
    differing = {path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)}
    reasons = {path: next((why for pattern, why in UNLIKE.items() if re.fullmatch(pattern, path)), None) for path in differing}
    unexplained = sorted(path for path, why in reasons.items() if why is None)
    assert not unexplained, "\n".join(f"{path}: ours {ours.get(path)}, theirs {theirs.get(path)}" for path in unexplained[:100])
    # What is explained by contents is the same in everything else.
    for path in differing:
        assert ours.get(path, ())[:4] == theirs.get(path, ())[:4], path
    print(f"{name}: {len(ours)} files; different contents: {dict(Counter(reasons.values()))}")
    for what, a, b in zip(("configuration", "history", "layers"), our_facts, their_facts):
        assert a == b, what
