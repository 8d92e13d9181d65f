"""Options and fixtures of all end-to-end tests: one suite, two engines."""

import contextlib

import docker as sdk
import pytest

from conformance import shown
from harness import cli, rootfs
from harness.engine import VERSIONS, Engine
from harness.plugin import Plugin
from harness.registry import DebianRegistry, FakeRegistry
from harness.tls import Authority


def pytest_addoption(parser):
    parser.addoption("--engine", choices=["gantry", "reference"], default="gantry",
                     help="the engine to test: ours, or the dockerd that is installed")
    parser.addoption("--record", action="store_true",
                     help="write down which of the API's parameters the tests of this run show to work (make docs-table)")
    parser.addoption("--crash-rounds", type=int, default=100, help="how many times the crash test kills the daemon")


def pytest_configure(config):
    if config.getoption("engine") == "gantry":
        config.pluginmanager.register(shown.Plugin(config), "shown")


def pytest_generate_tests(metafunc):
    """`version`: each API version to try on this engine. `docker_path`: each docker command."""
    if "version" in metafunc.fixturenames:
        metafunc.parametrize("version", VERSIONS[metafunc.config.getoption("engine")])
    if "docker_path" in metafunc.fixturenames:
        found = cli.installed()
        metafunc.parametrize("docker_path", list(found.values()), ids=list(found))


def pytest_collection_modifyitems(config, items):
    """A known difference turns the expectation round: the test must fail on the engine that differs."""
    kind = config.getoption("engine")
    for item in items:
        for marker in item.iter_markers("differs"):
            if kind in marker.kwargs:
                item.add_marker(pytest.mark.xfail(reason=marker.kwargs[kind], strict=True))


class Shared:
    """The worker's engine, made at first use and again after a test broke it."""

    def __init__(self, kind):
        self.kind = kind
        self.engine = None

    def get(self):
        if self.engine is not None and self.engine.process.poll() is not None:
            self.close()
        if self.engine is None:
            self.engine = Engine(self.kind)
            self.engine.load_images()
        return self.engine

    def close(self):
        if self.engine is not None:
            self.engine.close()
            self.engine = None


class SharedRegistries:
    """One registry for each engine that the worker had."""

    def __init__(self):
        self.found = {}

    def get(self, engine):
        if engine not in self.found:
            self.close()
            self.found[engine] = DebianRegistry(engine)
        return self.found[engine]

    def close(self):
        for one in self.found.values():
            one.close()
        self.found.clear()


@pytest.fixture(scope="session")
def engine_kind(request):
    """"gantry" or "reference"."""
    return request.config.getoption("engine")


@pytest.fixture(scope="session")
def shared_engine(engine_kind):
    holder = Shared(engine_kind)
    yield holder
    holder.close()


@pytest.fixture
def engine(request, shared_engine):
    """The worker's engine, clean before and after."""
    found = shared_engine.get()
    found.recorder.drain()
    request.node.engine = found
    request.node.recorders = [found.recorder]
    yield found
    try:
        found.remove_everything()
    except Exception:
        shared_engine.close()
        raise


@contextlib.contextmanager
def loaded(*arguments, **options):
    """An engine that has the tests' images, until it is left."""
    made = Engine(*arguments, **options)
    try:
        made.load_images()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def module_engine(request, engine_kind):
    """One engine for a file's tests, started as its `ENGINE` says: arguments of `Engine`."""
    with loaded(engine_kind, **request.module.ENGINE) as made:
        yield made


@pytest.fixture
def engine_of_module(request, module_engine):
    """The same, clean before and after."""
    module_engine.recorder.drain()
    request.node.engine = module_engine
    yield module_engine
    module_engine.remove_everything()


@pytest.fixture(scope="module")
def reference():
    """dockerd, beside the engine that is tested."""
    with loaded("reference") as engine:
        yield engine


@pytest.fixture
def own_engine(request, engine_kind):
    """Makes engines for one test that kills, restarts or configures them."""
    made = []

    def make(*arguments, images=True, environment=None, prepare=None):
        """`prepare(engine)` runs when the engine's host is there and the engine is not: it may add arguments."""
        engine = Engine(engine_kind, arguments, environment, prepare)
        made.append(engine)
        request.node.engine = engine
        request.node.recorders = [one.recorder for one in made]
        if images:
            engine.load_images()
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def api(engine):
    return engine.api


@pytest.fixture
def docker(engine, docker_path):
    """One of the installed docker commands."""
    return cli.Cli(docker_path, engine)


@pytest.fixture(params=["auto", "1.35"])
def client(engine, request, monkeypatch):
    """docker-py, at the engine's newest version and at 1.35, without what this machine's user has told the docker command."""
    monkeypatch.setenv("DOCKER_CONFIG", str(engine.dir / "docker-config"))
    made = sdk.DockerClient(base_url=engine.host, version=request.param, timeout=120)
    yield made
    made.close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A private certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def closing():
    """closing(x): x.close() at the end of the test, and x back."""
    with contextlib.ExitStack() as stack:
        yield lambda it: stack.enter_context(contextlib.closing(it))


@pytest.fixture
def registry(engine, shared_registries):
    """Debian's registry beside the worker's engine, without TLS or passwords; tests use repositories of their own."""
    return shared_registries.get(engine)


@pytest.fixture(scope="session")
def shared_registries():
    holder = SharedRegistries()
    yield holder
    holder.close()


@pytest.fixture
def fake(engine, closing):
    """A registry of the tests' own beside the worker's engine."""
    return closing(FakeRegistry(engine.sandbox))


@pytest.fixture
def plugin(engine, closing):
    """plugin("VolumeDriver", ...): a plugin of the tests' own beside the worker's engine."""
    yield lambda *kinds, **options: closing(Plugin(engine, *kinds, **options)).start()
    # While they are there to answer.
    engine.remove_everything()


@pytest.fixture(scope="session")
def debian_tar():
    return rootfs.debian()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """A test also fails when an answer it caused is not what the specification of its version says."""
    result = yield
    findings, exchanges = [], []
    for recorder in getattr(pyfuncitem, "recorders", []):
        taken = recorder.take()
        findings += recorder.findings(taken)
        exchanges += taken
    if findings:
        pytest.fail("answers that differ from their OpenAPI:\n" + "\n".join(findings), pytrace=False)
    found = pyfuncitem.config.pluginmanager.get_plugin("shown")
    if found is not None:
        found.note(pyfuncitem.path.stem, exchanges)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    engine = getattr(item, "engine", None)
    if report.failed and engine is not None:
        report.sections.append(("engine log", engine.log_tail()))
    return report
