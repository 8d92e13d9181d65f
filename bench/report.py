"""The rows of the benchmark, their targets, and how they are printed."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """One line of the table. `better` says which way is good; `ratio` is the promise against dockerd."""

    key: str
    title: str
    unit: str
    better: str
    ratio: float | None = None
    limit: float | None = None
    values: dict = field(default_factory=dict)

    def add(self, engine, *values):
        self.values.setdefault(engine, []).extend(values)

    def median(self, engine):
        return statistics.median(self.values[engine]) if self.values.get(engine) else None

    def tail(self, engine):
        """The value that only one in ten is worse than."""
        values = sorted(self.values[engine], reverse=self.better == "more")
        return values[min(len(values) - 1, int(len(values) * 0.9))]

    def target(self):
        if self.limit is not None:
            return f"<= {self.limit:g} {self.unit}"
        if self.ratio is None:
            return ""
        return f"<= {self.ratio:g} x" if self.better == "less" else f">= {self.ratio:g} x"

    def verdict(self, engine="gantry", reference="dockerd"):
        """Whether the promise is kept: True, False, or None if it cannot be said."""
        ours, theirs = self.median(engine), self.median(reference)
        if ours is None:
            return None
        if self.limit is not None:
            return ours <= self.limit
        if self.ratio is None or not theirs:
            return None
        return ours / theirs <= self.ratio if self.better == "less" else ours / theirs >= self.ratio


def rows():
    """DESIGN's table; the ratios are the promises."""
    ms = {"unit": "ms", "better": "less"}
    return {row.key: row for row in [
        Row("start", "start, default bridge", ratio=0.08, **ms),
        Row("cycle_bridge", "create+start+wait+remove true, bridge", ratio=0.1, **ms),
        Row("cycle_none", "create+start+wait+remove true, none", ratio=0.08, **ms),
        Row("exec", "exec create+start+output of true", ratio=0.12, **ms),
        Row("network_cycle", "network create+remove", ratio=0.15, **ms),
        Row("connect", "connect of a running container", ratio=0.2, **ms),
        Row("start_ports", "start with 20 published ports", ratio=0.1, **ms),
        # Not below; the machine's noise is a twentieth.
        Row("container_stream", "iperf3, container to container", "Gbit/s", "more", ratio=0.95),
        Row("published_stream", "iperf3, by a published port", "Gbit/s", "more", ratio=0.95),
        Row("loopback_stream", "iperf3, by a port on 127.0.0.1", "Gbit/s", "more", ratio=3),
        Row("starts", "starts a second, 8 clients", "/s", "more", ratio=10),
        Row("removes", "forced removes a second, 8 clients", "/s", "more", ratio=7.5),
        Row("list", "list of 100 running containers", ratio=0.25, **ms),
        Row("many_list", "many containers: list of all", **ms),
        Row("many_running", "the same: list of those that run", **ms),
        Row("many_filtered", "the same: list by a label that none has", **ms),
        Row("many_inspect", "the same: inspect", **ms),
        Row("many_stats", "the same: stats of one, one-shot", **ms),
        Row("many_events", "the same: the events so far", **ms),
        Row("many_df", "the same: disk usage", "ms", "less"),
        Row("many_memory", "the same: memory for them", "MB", "less", limit=45),
        Row("many_total", "the same: memory of the engine", "MB", "less", limit=55),
        Row("log_write", "log, 64 MB of short lines, write", "MB/s", "more", ratio=10),
        Row("log_read", "log, 64 MB of short lines, read", "MB/s", "more", ratio=10),
        Row("import", "import of a 250 MB tar", "s", "less", ratio=0.33),
        Row("save", "save of it", "s", "less", ratio=0.3),
        Row("load", "load of it", "s", "less", ratio=0.5),
        Row("build_steps", "build, 20 small RUNs", "s", "less", ratio=0.2),
        Row("build_command", "the same by docker build (dockerd: BuildKit)", "s", "less", ratio=0.5),
        Row("build_known", "build, all known, 10,000 files", limit=100, **ms),
        Row("context_speed", "build context of 1 GB (tools: two cats)", "MB/s", "more"),
        Row("context_memory", "memory, most meanwhile", "MB", "less", limit=40),
        Row("files_seconds", "build context of 200,000 small files", "s", "less"),
        Row("files_memory", "memory, most meanwhile", "MB", "less", limit=60),
        Row("pull", "pull of 250 MB in 8 layers (gzip)", "s", "less", ratio=0.5),
        Row("pull_here", "pull of what is here", limit=30, **ms),
        Row("push", "push of the pulled image elsewhere", "s", "less", ratio=0.6),
        Row("push_made", "push of an imported 250 MB", "s", "less", ratio=0.6),
        Row("image_list", "list of 1,000 images", limit=15, **ms),
        Row("large_memory", "memory, most during a pull of a large image", "MB", "less", limit=40),
        Row("large_speed", "pull of a large image", "MB/s", "more"),
        Row("floor_gzip", "the pull's blobs: gzip -d", "s", "less"),
        Row("floor_sha_blobs", "the pull's blobs: sha256sum", "s", "less"),
        Row("floor_sha_tars", "the pull's layers: sha256sum", "s", "less"),
        Row("floor_tar", "the pull's layers: tar x", "s", "less"),
        Row("idle", "memory, idle after start (PSS)", "MB", "less", limit=12),
        Row("per_container", "memory for each running container", "MB", "less", limit=0.3),
        Row("boot", "start of the engine until it answers", **ms),
    ]}


def number(value):
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(found, engines):
    """The table as text: median, and in parentheses the value that one in ten exceeds."""
    lines = [["", "unit", *engines, "gantry/dockerd", "target", ""]]
    for row in found.values():
        if not row.values:
            continue
        cells = [row.title, row.unit]
        for engine in engines:
            median = row.median(engine)
            many = median is not None and len(row.values[engine]) > 2
            cells.append(number(median) + (f" ({number(row.tail(engine))})" if many else ""))
        ours, theirs = row.median("gantry"), row.median("dockerd")
        cells.append(f"{ours / theirs:.3f}" if ours is not None and theirs else "-")
        cells += [row.target(), {True: "ok", False: "MISSED", None: ""}[row.verdict()]]
        lines.append(cells)
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    rows = ["  ".join(cell.ljust(width) if at == 0 else cell.rjust(width)
                      for at, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines]
    return "\n".join([rows[0], "-" * len(rows[0]), *rows[1:]])
