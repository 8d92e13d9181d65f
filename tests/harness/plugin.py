"""Plugins beside an engine: started in its namespaces, found by it where Docker looks for them."""

import json
import subprocess
import uuid
from pathlib import Path

from harness.sandbox import die_with_parent

PROGRAM = Path(__file__).parent / "plugin_program.py"
SOCKETS = Path("/run/docker/plugins")
SPECS = Path("/etc/docker/plugins")


def private_places(engine):
    """The directories that engines look at, empty and seen by this engine alone."""
    if getattr(engine.sandbox, "has_plugin_places", False):
        return
    engine.sandbox.own_etc()
    for place in (SOCKETS, SPECS):
        # On a tmpfs of the sandbox' own, so that nothing of it is the machine's.
        engine.sandbox.run(["mkdir", "-p", place.parent])
        engine.sandbox.run(["mount", "-t", "tmpfs", "none", place.parent])
        engine.sandbox.run(["mkdir", "-p", place])
    engine.sandbox.has_plugin_places = True


class Plugin:
    """One plugin. `kinds` are the subsystems it implements and words that `plugin_program.py` knows."""

    def __init__(self, engine, *kinds, name=None, listen=None):
        private_places(engine)
        self.engine = engine
        self.kinds = kinds
        self.name = name or f"plugin-{uuid.uuid4().hex[:8]}"
        self.directory = engine.dir / f"{self.name}.d"
        self.directory.mkdir(exist_ok=True)
        self.listen = str(listen or SOCKETS / f"{self.name}.sock")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.engine.sandbox.enter(["python3", "-S", "-P", PROGRAM, self.listen, self.directory, *self.kinds]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent,
        )
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def stop(self):
        """It goes away; its socket stays, as after a crash."""
        if self.process is not None:
            # nsenter is the child; the program is its own child, in the pid namespace of the sandbox.
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            for child in children.read_text().split() if children.exists() else []:
                subprocess.run(["kill", "-9", child], check=False)
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def close(self):
        self.stop()
        self.engine.sandbox.run(["rm", "-f", self.listen], check=False)

    def calls(self, *methods):
        """(method, arguments) of every call so far; only of these methods if some are named."""
        try:
            lines = (self.directory / "calls").read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [tuple(json.loads(line)) for line in lines]
        return [call for call in found if not methods or call[0] in methods]

    def answer(self, method, **answer):
        """From now on `method` is answered by body=, status=, delay=; without them as usual."""
        path = self.directory / "answers.json"
        answers = json.loads(path.read_text()) if path.exists() else {}
        if answer:
            answers[method] = answer
        else:
            answers.pop(method, None)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(answers))
        new.rename(path)

    @property
    def state(self):
        return json.loads((self.directory / "state.json").read_text())

    def users(self, volume):
        """Who has a volume mounted, as the plugin knows it."""
        return self.state["volumes"][volume]["users"]
