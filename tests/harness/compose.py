"""The two Composes: the one in Go (from the Python package index), and the older one in Python (Debian's)."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path


@cache
def programs():
    """{"v1": path, "v2": path}; a missing one is an error, not a skip."""
    found = {"v1": shutil.which("docker-compose", path="/usr/bin:/usr/local/bin")}
    packages = [Path(entry) / "compose/docker-compose" for entry in sys.path]
    found["v2"] = next((str(path) for path in packages if path.exists()), None)
    assert all(found.values()), f"a Compose is missing: {found}"
    return found


class Compose:
    """One Compose, one project directory, one engine."""

    def __init__(self, version, engine, folder, project):
        self.version, self.engine, self.folder, self.project = version, engine, folder, project
        self.files = ["compose.yaml"]
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(engine.dir), "DOCKER_HOST": engine.host,
                            "DOCKER_CONFIG": str(engine.dir / "docker-config"), "LANG": "C.UTF-8",
                            "COMPOSE_HTTP_TIMEOUT": "120"}

    def __call__(self, *words, check=True, timeout=180):
        """Run it to the end; the result has returncode, stdout and stderr."""
        files = [word for name in self.files for word in ("-f", name)]
        # Debian's Python is not the tests', whose packages it must not see.
        line = [programs()[self.version], "-p", self.project, *files, *map(str, words)]
        done = subprocess.run(line, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)
        if check:
            assert done.returncode == 0, f"{' '.join(line)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def out(self, *words, **options):
        return self(*words, **options).stdout.strip()

    def containers(self, service=None, all=False):
        """What the engine has of this project, from the API."""
        labels = [f"com.docker.compose.project={self.project}"]
        if service:
            labels.append(f"com.docker.compose.service={service}")
        return self.engine.api.get("/containers/json", all=all, filters=json.dumps({"label": labels})).json
