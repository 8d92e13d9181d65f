"""`gantry verify`: what is damaged is named, mended where that is possible, and nothing is said of what is sound."""

import json
import os
import subprocess

import pytest

from harness import images
from harness.engine import program
from harness.pulls import pull

pytestmark = pytest.mark.differs(reference="a command of Gantry's own")


def verify(engine, *flags):
    """(exit status, the object that was printed)."""
    found = subprocess.run([program("gantry"), "verify", "--config-file=/dev/null", f"--data-root={engine.data_root}",
                            "--json", *flags], capture_output=True, text=True, timeout=60)
    return found.returncode, json.loads(found.stdout) if found.stdout else found.stderr


@pytest.fixture
def stopped(own_engine, closing):
    """An engine with one pulled image, which has stopped: (engine, registry's name of it, image)."""
    from harness.registry import FakeRegistry
    engine = own_engine()
    assert not engine.is_reference, "a command of Gantry's own"
    registry = closing(FakeRegistry(engine.sandbox))
    image = images.runnable("verify me")
    name = registry.put(image, "verified", "v1")
    pull(engine.api, name)
    engine.stop()
    return engine, name, image


def blob(engine, digest):
    return engine.data_root / "images/blobs/sha256" / digest.removeprefix("sha256:")


def test_sound(stopped):
    engine, _, _ = stopped
    status, report = verify(engine)
    assert (status, report["sound"], report["findings"]) == (0, True, [])
    assert report["images"] == 2 and report["blobs"] >= 6 and report["layers"] >= 2


def test_not_beside_a_daemon(stopped):
    engine, _, _ = stopped
    engine.start()
    status, said = verify(engine)
    assert status == 2
    assert "in use by another daemon" in said


def test_a_damaged_blob(stopped):
    """It is named, with whom it hurts; after --repair the next pull fetches it again and all is well."""
    engine, name, image = stopped
    digest = image.layers[1].digest
    data = bytearray(blob(engine, digest).read_bytes())
    data[len(data) // 2] ^= 1
    os.chmod(blob(engine, digest), 0o644)
    blob(engine, digest).write_bytes(data)
    status, report = verify(engine)
    assert status == 1 and not report["sound"]
    found = next(one for one in report["findings"] if one["name"] == digest)
    assert (found["kind"], found["severity"], found["repaired"]) == ("blob", "damage", False)
    assert image.id.removeprefix("sha256:")[:12] in found["what"]
    assert verify(engine, "--repair")[0] == 1
    engine.start()
    pull(engine.api, name)
    engine.stop()
    assert verify(engine)[0] == 0


def test_a_changed_layer(stopped):
    """A file of an unpacked layer that changed is named, and comes back from its blob."""
    engine, _, image = stopped
    layer = engine.data_root / "layers" / image.layers[1].diff_id.removeprefix("sha256:")
    marker = next(layer.rglob("marker"))
    marker.write_text("somebody else's")
    status, report = verify(engine)
    assert status == 1
    assert any(one["kind"] == "layer" and "/marker" in one["what"] for one in report["findings"]), report
    _, report = verify(engine, "--repair")
    assert any(one["repaired"] for one in report["findings"])
    assert verify(engine)[0] == 0
    assert next(layer.rglob("marker")).read_text() == "verify me"
