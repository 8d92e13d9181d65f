"""Clients for Node.js: dockerode, and Testcontainers on top of it. The scripts are in clients/node."""

import os
import subprocess
from pathlib import Path

import pytest

from harness.engine import IMAGE
from harness.sandbox import die_with_parent

SCRIPTS = Path(__file__).parent.parent / "clients/node"


@pytest.fixture
def node(engine, tmp_path):
    """Run a script to its end; it must succeed."""
    assert (SCRIPTS / "node_modules").is_dir(), f"run npm ci in {SCRIPTS}"

    def run(script, *arguments):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DOCKER_HOST": engine.host,
                       "TESTCONTAINERS_RYUK_DISABLED": "true", "TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1"}
        done = subprocess.run(["node", str(SCRIPTS / script), *arguments], env=environment, cwd=tmp_path, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=250, preexec_fn=die_with_parent)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


def test_dockerode(node, engine, registry):
    done = node("dockerode.js", IMAGE, f"{registry.host}/{engine.name('node')}")
    assert len(done) == 14 and all(line.startswith("ok ") for line in done)


def test_testcontainers(node):
    assert len(node("testcontainers.js", IMAGE)) == 6
