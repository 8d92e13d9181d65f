"""The record of what the tests show: `shown.txt`, an item of the API's surface and the test file that shows it in each line.

Each run against Gantry checks the lines of the files that it ran whole; `--record` brings the record up to date instead.
"""

import pytest

from conformance import surface
from pathlib import Path

RECORD = Path(__file__).with_name("shown.txt")
# Clients write fields that nobody looks at, and not every machine has the same ones: they prove what nothing else does.
CLIENTS = ("test_aiodocker", "test_bollard", "test_cli", "test_docker_py", "test_node_clients", "test_testcontainers")


def read():
    """{item: test file}"""
    if not RECORD.exists():
        return {}
    return dict(line.split("\t") for line in RECORD.read_text().splitlines() if line)


def write(record):
    RECORD.write_text("".join(f"{item}\t{record[item]}\n" for item in sorted(record)))


def best(files):
    """The file to name among those that show an item."""
    return min(files, key=lambda name: (name.startswith(CLIENTS), name))


def update(record, found, whole):
    """The record after a run: `found` is {item: files}, `whole` the files that ran from beginning to end."""
    updated = {item: name for item, name in record.items() if name not in whole}
    for item, files in found.items():
        updated[item] = best(files | ({updated[item]} if item in updated else set()))
    return updated


def missing(record, found, whole):
    """Lines of the record that files which ran whole do not bear out."""
    return sorted(f"{item}\t{name}" for item, name in record.items() if name in whole and item not in found)


class Plugin:
    """Gathers in each worker; judges in the process that has the workers."""

    def __init__(self, config):
        self.config = config
        self.found = {}
        self.ran, self.partial = set(), set()

    def note(self, name, exchanges):
        """A test of file `name` passed with these exchanges."""
        for exchange in exchanges:
            for item in surface.asked(exchange):
                self.found.setdefault(item, set()).add(name)

    def pytest_deselected(self, items):
        self.partial |= {item.path.stem for item in items}

    def pytest_collection_modifyitems(self, config, items):
        # One test named on the command line is no whole file.
        self.partial |= {item.path.stem for item in items if any("::" in argument for argument in config.args)}

    def pytest_runtest_logreport(self, report):
        name = Path(report.nodeid.split("::")[0]).stem
        self.ran.add(name)
        if report.failed:
            self.partial.add(name)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node, error):
        output = getattr(node, "workeroutput", {}).get("shown")
        if output is None:
            self.partial |= self.ran
            return
        for item, files in output["found"].items():
            self.found.setdefault(item, set()).update(files)
        self.partial.update(output["partial"])

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["shown"] = {
                "found": {item: sorted(files) for item, files in self.found.items()}, "partial": sorted(self.partial)}
            return
        self.whole = self.ran - self.partial if not session.shouldstop else set()
        self.lines = []
        if self.config.getoption("record"):
            write(update(read(), self.found, self.whole))
        else:
            self.lines = missing(read(), self.found, self.whole)
            if self.lines and session.exitstatus == 0:
                session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        if getattr(self, "lines", None):
            terminalreporter.section("not shown any more (conformance/shown.txt; make docs-table)")
            for line in self.lines:
                terminalreporter.write_line(line)
