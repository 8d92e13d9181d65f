"""Dockerfiles of the kinds that people write, and mistakes of the kinds that they make, by both engines."""

import re

import pytest

from harness.build import build, described
from harness.dockerfiles import BAD, BASE, BROKEN, GOOD, TREE

# Files that differ, and why: these and no others.
EXPLAINED = {"go": {"etc": "dockerd makes the directory in a container that never ran"}}

# What is said otherwise, and why.
OTHERWISE = {
    "comments alone": "one message for a file without instructions", "no image": "says more", "too much for FROM": "says more",
    "no stage name": "says more", "no user": "a user may have several words", "no directory": "a directory may",
    "no author": "an author may", "a bad time": "names the flag", "negative retries": "none at all may be 0, as in newer Docker",
    "a bad expansion": "says what is missing", "a bad modifier": "shows it as it is written",
    "a missing file in a stage": "says where it was looked for", "an unknown owner": "says it as USER does",
    "an unknown group": "the same", "onto a file": "names the path in the image", "a directory onto a file": "the same",
    "below a file": "the same", "an archive with holes": "says it in its own words", "a command on nothing": "is not tried",
}
# What dockerd builds.
BUILT = {
    "an argument alone": "an image of nothing", "an unknown trigger": "fails where it is triggered",
    "a file onto a directory": "the directory with all that is in it is replaced",
    "too many users": "a name with a space: neither engine says anything",
}
OURS_BUILDS = {"too many users"}
# What is found out before the build begins, and so is the answer's status.
EARLIER = {"an empty name"}


@pytest.mark.parametrize("name", GOOD)
def test_the_same(engine, reference, name):
    text, query = GOOD[name] if isinstance(GOOD[name], tuple) else (GOOD[name], {})
    text = text if re.search(r"(?im)^\ufeff?from ", text) else BASE + text
    theirs, ours = described(reference, TREE, text, **query), described(engine, TREE, text, **query)
    differing = {path for path in ours[0].keys() | theirs[0].keys() if ours[0].get(path) != theirs[0].get(path)}
    assert differing <= set() if engine.is_reference else differing <= set(EXPLAINED.get(name, {}))
    for what, a, b in zip(("configuration", "history", "layers", "author"), ours[1:], theirs[1:]):
        assert a == b, what
    reference.recorder.drain()


def core(error):
    """A message without where it was noticed."""
    line = error.splitlines()[0]
    return re.sub(r"^(dockerfile parse error (on )?line \d+|failed to parse Dockerfile|failed to process \".*?[^\\]\"): ", "", line).lower()


@pytest.mark.parametrize("name", BAD)
def test_refused(engine, reference, name):
    theirs, ours = (build(e, {**TREE, **BROKEN}, BAD[name], check=False) for e in (reference, engine))
    reference.recorder.drain()
    if name in BUILT:
        assert bool(ours.error) is (name not in OURS_BUILDS) or engine.is_reference
        return
    status = 400 if name in EARLIER and not engine.is_reference else theirs.status
    assert theirs.error and (ours.status, ours.code) == (status, theirs.code), (ours.error, theirs.error)
    assert "Successfully built" not in ours.text
    if name in OTHERWISE:
        assert ours.error
    elif "OCI runtime" in theirs.error:
        assert re.search(r'exec: .*', ours.error)[0].split(":")[1] in theirs.error
    elif "unable to find user" in theirs.error:
        assert theirs.error in ours.error
    else:
        assert core(theirs.error) in core(ours.error)
