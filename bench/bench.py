#!/usr/bin/env python3
"""Gantry beside dockerd and bare runtimes, in one interleaved run: `make bench`.

Every engine does the same thing in turn, round after round, so that what the machine does meanwhile hits all of
them. The promises are ratios to dockerd in the same run. Needs root; leaves nothing behind but the results.
"""

import argparse
import json
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import builds
import many
import networks
import payload
import registry
import report
import rows
import runtimes
import transfers
from engines import Engine

HERE = Path(__file__).resolve().parent
# What containers write in the log row, and the archive of the archive rows.
LOG_BYTES, ARCHIVE_BYTES = 64 * rows.MEGABYTE, 250_000_000

# group -> (rounds that count, function of (engine, context), key of the row, or None if it returns several)
GROUPS = {
    "life": [
        (20, rows.start, "start"),
        (20, rows.cycle("bridge"), "cycle_bridge"),
        (20, rows.cycle("none"), "cycle_none"),
    ],
    "exec": [(20, rows.exec_true, "exec")],
    "networks": [
        (20, networks.network_cycle, "network_cycle"),
        (20, networks.connect, "connect"),
        (20, networks.start_with_ports, "start_ports"),
        (3, networks.throughput, None),
    ],
    "crowd": [(3, rows.crowd, None)],
    "many": [(1, many.many, None)],
    "logs": [(3, rows.logs, None)],
    "archives": [(3, rows.archives, None)],
    "builds": [(3, builds.small_steps, "build_steps"), (3, builds.by_command, "build_command"), (2, builds.known, None)],
    "contexts": [(1, builds.large_context, None), (1, builds.many_files, None)],
    "pull": [(3, transfers.pull, "pull"), (20, transfers.pull_here, "pull_here")],
    "push": [(3, transfers.push, "push"), (3, transfers.push_made, "push_made")],
    "images": [(20, transfers.image_list, "image_list")],
    "large": [(1, transfers.large_pull, None)],
}


def numbers(text):
    defined, running = text.split(":")
    return int(defined), int(running)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gantry", default=str(HERE.parent / "dist/gantry"), help="the program to measure")
    parser.add_argument("--engines", default="gantry,dockerd", help="which of gantry and dockerd")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, comma separated: " + ", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, help="rounds of what takes milliseconds, instead of 20")
    parser.add_argument("--large", type=float, default=2, help="gigabytes of the large image whose pull shows the memory")
    parser.add_argument("--crowd", type=int, default=100, help="containers that run at once")
    parser.add_argument("--many", type=numbers, default=(1000, 300), metavar="DEFINED:RUNNING", help="containers of the group \"many\"")
    parser.add_argument("--many-dockerd", type=numbers, default=(300, 100), metavar="DEFINED:RUNNING", help="the same for dockerd, which takes its time")
    parser.add_argument("--place", default="/var/lib",
                        help="where engines keep their state (a file system that overlayfs can stack on)")
    parser.add_argument("--no-firewall", action="store_true", help="run dockerd without iptables")
    parser.add_argument("--keep-going", action="store_true", help="exit with success even if a promise is not kept")
    return parser.parse_args()


class Context:
    """What the rows share."""

    def __init__(self, options, place):
        self.crowd = options.crowd
        self.many = {"gantry": options.many, "dockerd": options.many_dockerd}
        self.lines = payload.lines(place, LOG_BYTES)
        self._place = place
        self._big_tar = None
        self._residents = {}
        self._layout = self._large = self._thousand = self._large_context = self._many_files = None
        self._registries = {}
        self._filled = set()
        self.large_bytes = int(options.large * 1e9)
        self.with_thousand = set()
        self.floor = lambda key, seconds: None

    @property
    def big_tar(self):
        if self._big_tar is None:
            self._big_tar = payload.archive(self._place, ARCHIVE_BYTES)
        return self._big_tar

    @property
    def layout(self):
        """The image of the pull rows."""
        if self._layout is None:
            self._layout = registry.eight_layers(self._place, ARCHIVE_BYTES)
        return self._layout

    @property
    def large_context(self):
        if self._large_context is None:
            self._large_context = payload.context(self._place, 100, 10_000_000, "large-context")
        return self._large_context

    @property
    def many_files_context(self):
        if self._many_files is None:
            self._many_files = payload.context(self._place, 200_000, 500, "many-files")
        return self._many_files

    @property
    def thousand_tar(self):
        if self._thousand is None:
            self._thousand = transfers.thousand(self._place)
        return self._thousand

    def registry(self, engine, port=registry.PORT):
        """The engine's registry; all on the same port share their storage."""
        if (engine.name, port) not in self._registries:
            self._registries[engine.name, port] = registry.Registry(engine, port, f"{self._place}/registry-{port}")
        return self._registries[engine.name, port]

    def other_registry(self, engine):
        return self.registry(engine, registry.OTHER_PORT)

    def _fill(self, engine, name, layout):
        self.registry(engine)
        if name not in self._filled:
            layout().push(engine, name)
            self._filled.add(name)

    def image(self, engine):
        """Sees to it that the registry has the image of the pull rows."""
        self._fill(engine, registry.NAME, lambda: self.layout)

    def large_image(self, engine):
        self._fill(engine, registry.LARGE_NAME, lambda: registry.large(self._place, self.large_bytes))

    def stop(self):
        for one in self._registries.values():
            one.stop()

    def resident(self, engine):
        """A container that runs all the time, for exec."""
        if engine.name not in self._residents:
            api = engine.api()
            container = rows.define(api, ["/bin/sleep", "1000000"])
            api.call("POST", f"/containers/{container}/start")
            self._residents[engine.name] = container
        return self._residents[engine.name]


def start_engines(options, place, image, found, started):
    commands = {"gantry": [options.gantry, "daemon"], "dockerd": ["dockerd"]}
    if options.no_firewall:
        commands["dockerd"] += ["--iptables=false", "--ip6tables=false"]
    for name in options.engines.split(","):
        engine = Engine(name, commands[name], place)
        started.append(engine)
        found["boot"].add(name, engine.boot_seconds * 1000)
        found["idle"].add(name, rows.settled_memory(engine) / rows.MEGABYTE)
        with open(image, "rb") as tar:
            engine.api().call("POST", "/images/create?fromSrc=-&repo=bench&tag=latest", tar, "application/x-tar")


def measure(options, context, engines, bare, found):
    for group in options.only.split(","):
        print(f"  {group} ...", flush=True)
        for rounds, row, key in GROUPS[group]:
            if options.rounds is not None and rounds > 3:
                rounds = options.rounds
            # The first round warms every engine up and is not counted.
            for number in range(rounds + 1) if rounds > 1 or group != "many" else (1,):
                for engine in random.sample(engines, len(engines)):
                    values = row(engine, context)
                    if number > 0:
                        note(found, engine.name, values if key is None else {key: values})
                for other in bare:
                    if key in other.rows and number > 0:
                        seconds = other.rows[key]()
                        if seconds is not None:
                            note(found, other.name, {key: seconds})


def note(found, name, values):
    for key, value in values.items():
        found[key].add(name, *(value if isinstance(value, list) else [value]))


def save(found, engines):
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = folder / f"{stamp}.json"
    path.write_text(json.dumps({
        "time": stamp, "kernel": platform.release(), "cores": os.cpu_count(), "engines": engines,
        "rows": [{"key": row.key, "title": row.title, "unit": row.unit, "target": row.target(), "kept": row.verdict(),
                  "median": {name: row.median(name) for name in row.values}, "values": row.values}
                 for row in found.values() if row.values],
    }, indent=1) + "\n")
    return path


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("engines need root: run this as root")
    place = tempfile.mkdtemp(prefix="gantry-bench-", dir=options.place)
    found, engines, bare, context = report.rows(), [], [], None
    try:
        print(f"Linux {platform.release()}, {os.cpu_count()} cores; engines: {options.engines}", flush=True)
        image = payload.root_file_system(place)
        start_engines(options, place, image, found, engines)
        context = Context(options, place)
        context.floor = lambda key, seconds: note(found, "tools", {key: seconds})
        bare = runtimes.available(image, place)
        if "pull" in options.only.split(","):
            bare += [*registry.peers(engines[0], place), transfers.Tools(context, place)]
        measure(options, context, engines, bare, found)
    finally:
        if context is not None:
            context.stop()
        for one in [*engines, *bare]:
            one.stop()
        shutil.rmtree(place, ignore_errors=True)
    names = [one.name for one in [*engines, *bare]]
    # What a row measured beside the engines.
    names += ["tools"] if "tools" not in names and any("tools" in row.values for row in found.values()) else []
    print(f"\n{report.table(found, names)}")
    print(f"\nMedians; in parentheses what one in ten exceeds. All values: {save(found, names)}")
    missed = [row.title for row in found.values() if row.verdict() is False]
    if missed and not options.keep_going:
        sys.exit(f"promises not kept: {', '.join(missed)}")


if __name__ == "__main__":
    main()
