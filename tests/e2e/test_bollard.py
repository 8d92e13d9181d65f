"""Docker's client for Rust. The cases are in clients/rust, a program that is built once."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.engine import IMAGE, REPOSITORY
from harness.rootfs import locked
from harness.sandbox import die_with_parent

SUITE = Path(__file__).parent.parent / "clients/rust"
BUILT = REPOSITORY / "target/clients"
CASES = re.findall(r'^        "(\w+)" =>', (SUITE / "src/cases.rs").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def suite():
    """The program; cargo has nothing to do if it is up to date."""
    with locked("bollard"):
        done = subprocess.run(["cargo", "build", "--locked", "--quiet", "--target-dir", BUILT], cwd=SUITE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return next(BUILT.glob("*/debug/bollard-suite"))


@pytest.fixture
def judge(engine, suite):
    """Run one case; it must succeed."""

    def run(case, version):
        environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": engine.host}
        done = subprocess.run([suite, case, IMAGE, version], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=250, preexec_fn=die_with_parent)
        assert done.returncode == 0, done.stderr

    return run


# The first one waits for the build.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_bollard(judge, case):
    judge(case, "negotiate")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", ["attach", "events", "exec", "images", "lifecycle", "logs"])
def test_bollard_in_an_old_version(judge, case):
    judge(case, "1.35")
