"""Testcontainers for Python. Its helper that cleans up behind it is an image of its own, so it is switched off."""

import pytest

from harness.engine import IMAGE

FOREVER = ["sh", "-c", "echo ready; exec sleep 1000"]


@pytest.fixture
def testcontainers(engine, monkeypatch, tmp_path):
    """The module, told where the engine is; it reads its environment when it is imported."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
    monkeypatch.setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    from testcontainers.core import config, container, waiting_utils
    monkeypatch.setattr(config.testcontainers_config, "ryuk_disabled", True)
    container.waiting_utils = waiting_utils
    return container


def test_waits_for_a_log(testcontainers):
    with testcontainers.DockerContainer(IMAGE).with_command(FOREVER) as container:
        testcontainers.waiting_utils.wait_for_logs(container, "ready", timeout=20)
        assert container.get_logs()[0] == b"ready\n"
        assert container.get_wrapped_container().status in ("created", "running")


def test_settings_ports_and_exec(testcontainers, engine):
    made = (testcontainers.DockerContainer(IMAGE).with_command(FOREVER).with_env("A", "b").with_exposed_ports(8080)
            .with_name(engine.name("tc")).with_kwargs(labels={"k": "v"}).with_volume_mapping("/tmp", "/host", "ro"))
    with made as container:
        assert int(container.get_exposed_port(8080)) > 1024
        assert container.get_container_host_ip()
        code, out = container.exec(["sh", "-c", "echo $A; exit 3"])
        assert (code, out) == (3, b"b\n")
        wrapped = container.get_wrapped_container()
        assert wrapped.labels["k"] == "v" and wrapped.labels["org.testcontainers"] == "true"
        name = wrapped.name
    assert engine.api.get(f"/containers/{name}/json").status == 404


def test_gives_up(testcontainers):
    with testcontainers.DockerContainer(IMAGE).with_command(["sh", "-c", "exit 1"]) as container:
        with pytest.raises((TimeoutError, RuntimeError)):
            testcontainers.waiting_utils.wait_for_logs(container, "never", timeout=1)
