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

import measures
import payload
import report
from engines import Bare, Dockerd, Gantry, Podman

HERE = Path(__file__).resolve().parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gantry", default=HERE.parent / "dist/gantry", help="the program to measure")
    parser.add_argument("--engines", default="gantry,dockerd", help="which of gantry, dockerd, podman")
    parser.add_argument("--only", default="", help="groups, comma separated: life, exec, burst, crowd, logs, archive")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of what takes milliseconds")
    parser.add_argument("--place", default="/var/lib", help="where engines keep their state (a file system that "
                        "overlayfs can stack on)")
    parser.add_argument("--no-firewall", action="store_true", help="run dockerd without iptables")
    parser.add_argument("--keep-going", action="store_true", help="exit with success even if a promise is not kept")
    return parser.parse_args()


def start_engines(options, place):
    known = {"gantry": lambda: Gantry(place, options.gantry),
             "dockerd": lambda: Dockerd(place, "dockerd", not options.no_firewall),
             "podman": lambda: Podman(place, "podman")}
    return [known[name]() for name in options.engines.split(",")]


def start_bare(place, root):
    """runc and crun, as far as they work here (crun refuses hybrid cgroups)."""
    found = []
    for name in ("runc", "crun"):
        if shutil.which(name) is None:
            continue
        bare = Bare(name, place, root)
        try:
            bare.prepare()
            found.append(bare)
        except Exception as problem:
            bare.stop()
            print(f"{name} does not run here by itself: {problem}")
    return found


class Run:
    """One run of the benchmark."""

    def __init__(self, options, place):
        self.options = options
        self.place = place
        self.rows = report.rows()
        self.sessions = []
        self.bare = []
        self.only = set(filter(None, options.only.split(",")))

    def wanted(self, group):
        return not self.only or group in self.only

    def each(self, rounds, work):
        """Calls `work` for every engine, in another order each round. The first round is not counted."""
        for round in range(rounds + 1):
            order = list(self.sessions)
            random.shuffle(order)
            for session in order:
                work(session, round > 0)

    def measure(self):
        rounds = self.options.rounds
        if self.wanted("life"):
            self.step("starts and whole lives")
            self.each(rounds, self.life)
            self.bare_runs(rounds, "cycle_none", lambda bare: bare.cycle())
        if self.wanted("exec"):
            self.step("exec")
            self.each(rounds, lambda session, counts: self.note("exec", session, measures.execute(session), counts))
            self.bare_runs(rounds, "exec", lambda bare: bare.exec())
        if self.wanted("burst"):
            self.step("eight clients at once")
            self.each(2, self.burst)
        if self.wanted("crowd"):
            self.step("a hundred containers")
            for session in self.sessions:
                times, memory = measures.crowd(session, 100, 30)
                self.note("list", session, *times)
                self.note("each", session, memory)
        if self.wanted("logs"):
            self.step("logs")
            self.each(3, self.logs)
        if self.wanted("archive"):
            self.step("archives")
            tar = payload.archive(self.place, 250_000_000)
            self.each(3, lambda session, counts: self.archive(session, tar, counts))

    def step(self, what):
        print(f"  {what} ...", flush=True)

    def note(self, key, session, *values):
        *values, counts = values if isinstance(values[-1], bool) else (*values, True)
        if counts:
            self.rows[key].add(session.engine.name, *values)

    def bare_runs(self, rounds, key, work):
        for _ in range(rounds):
            for bare in self.bare:
                began = time.perf_counter()
                work(bare)
                self.rows[key].add(bare.name, time.perf_counter() - began)

    def life(self, session, counts):
        self.note("start", session, measures.start_bridge(session), counts)
        self.note("cycle_bridge", session, measures.cycle(session, "bridge"), counts)
        self.note("cycle_none", session, measures.cycle(session, "none"), counts)

    def burst(self, session, counts):
        starts, removes = measures.burst(session, 64)
        self.note("starts", session, starts, counts)
        self.note("removes", session, removes, counts)

    def logs(self, session, counts):
        write, read = measures.logs(session, self.log_bytes)
        self.note("log_write", session, write, counts)
        self.note("log_read", session, read, counts)

    def archive(self, session, tar, counts):
        for key, took in zip(("import", "save", "load"), measures.archive(session, tar)):
            self.note(key, session, took, counts)

    def open(self):
        root = payload.root_file_system(self.place)
        tar, self.log_bytes = payload.image(self.place, root, 64_000_000)
        for engine in start_engines(self.options, self.place):
            session = None
            try:
                took = engine.start()
            finally:
                # An engine that started halfway must be stopped too.
                session = measures.Session(engine, self.place)
                self.sessions.append(session)
            self.rows["boot"].add(engine.name, took)
            self.rows["idle"].add(engine.name, measures.settled_memory(engine))
            session.load(tar)
        self.bare = start_bare(self.place, root)

    def close(self):
        for session in self.sessions:
            session.engine.stop()
        for bare in self.bare:
            bare.stop()


def save(rows, engines):
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = folder / f"{stamp}.json"
    path.write_text(json.dumps({
        "time": stamp, "kernel": platform.release(), "cores": os.cpu_count(), "engines": engines,
        "rows": [{"key": row.key, "title": row.title, "unit": row.unit, "target": row.target(), "kept": row.verdict(),
                  "median": {name: row.median(name) for name in row.values}, "values": row.values}
                 for row in rows.values() if row.values],
    }, indent=1) + "\n")
    return path


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("engines need root: run this as root")
    place = tempfile.mkdtemp(prefix="gantry-bench-", dir=options.place)
    run = Run(options, place)
    try:
        print(f"Linux {platform.release()}, {os.cpu_count()} cores; engines: {options.engines}", flush=True)
        run.open()
        run.measure()
    finally:
        run.close()
        shutil.rmtree(place, ignore_errors=True)
    engines = [session.engine.name for session in run.sessions] + [bare.name for bare in run.bare]
    print()
    print(report.table(run.rows, engines))
    print(f"\nMedians; in parentheses what one in ten exceeds. All values: {save(run.rows, engines)}")
    missed = [row.title for row in run.rows.values() if row.verdict() is False]
    if missed and not options.keep_going:
        sys.exit(f"promises not kept: {', '.join(missed)}")


if __name__ == "__main__":
    main()
