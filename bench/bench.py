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

import payload
import report
import rows
import runtimes
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
    "crowd": [(3, rows.crowd, None)],
    "logs": [(3, rows.logs, None)],
    "archives": [(3, rows.archives, None)],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gantry", default=str(HERE.parent / "dist/gantry"), help="the program to measure")
    parser.add_argument("--engines", default="gantry,dockerd", help="which of gantry and dockerd")
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, comma separated: " + ", ".join(GROUPS))
    parser.add_argument("--rounds", type=int, help="rounds of what takes milliseconds, instead of 20")
    parser.add_argument("--crowd", type=int, default=100, help="containers that run at once")
    parser.add_argument("--place", default="/var/lib",
                        help="where engines keep their state (a file system that overlayfs can stack on)")
    parser.add_argument("--no-firewall", action="store_true", help="run dockerd without iptables")
    parser.add_argument("--keep-going", action="store_true", help="exit with success even if a promise is not kept")
    return parser.parse_args()


class Context:
    """What the rows share."""

    def __init__(self, options, place):
        self.crowd = options.crowd
        self.lines = payload.lines(place, LOG_BYTES)
        self._place = place
        self._big_tar = None
        self._residents = {}

    @property
    def big_tar(self):
        if self._big_tar is None:
            self._big_tar = payload.archive(self._place, ARCHIVE_BYTES)
        return self._big_tar

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
            for number in range(rounds + 1):
                for engine in random.sample(engines, len(engines)):
                    values = row(engine, context)
                    if number > 0:
                        note(found, engine.name, values if key is None else {key: values})
                for runtime in bare:
                    works = {"cycle_none": runtime.cycle, "exec": runtime.exec}.get(key)
                    if works is not None and number > 0:
                        note(found, runtime.name, {key: works()})


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
    found, engines, bare = report.rows(), [], []
    try:
        print(f"Linux {platform.release()}, {os.cpu_count()} cores; engines: {options.engines}", flush=True)
        image = payload.root_file_system(place)
        start_engines(options, place, image, found, engines)
        bare = runtimes.available(image, place)
        measure(options, Context(options, place), engines, bare, found)
    finally:
        for one in [*engines, *bare]:
            one.stop()
        shutil.rmtree(place, ignore_errors=True)
    names = [one.name for one in [*engines, *bare]]
    print(f"\n{report.table(found, names)}")
    print(f"\nMedians; in parentheses what one in ten exceeds. All values: {save(found, names)}")
    missed = [row.title for row in found.values() if row.verdict() is False]
    if missed and not options.keep_going:
        sys.exit(f"promises not kept: {', '.join(missed)}")


if __name__ == "__main__":
    main()
