"""What every attempt to escape is measured by."""

import pytest


@pytest.fixture
def canary(engine):
    """A directory of the host, outside everything a container may see."""
    path = engine.dir / engine.name("canary")
    path.mkdir()
    (path / "secret").write_text("host secret\n")
    yield path
    assert (path / "secret").read_text() == "host secret\n"
    assert [p.name for p in path.iterdir()] == ["secret"]
