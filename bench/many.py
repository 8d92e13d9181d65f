"""Many containers at once: how long it takes to look at them, and what the engine needs for them."""

import time
from urllib.parse import quote

import rows

SAMPLES = 20


def timed(call, samples=SAMPLES):
    """Milliseconds of each of several calls."""
    return [rows.clock(call) * 1000 for _ in range(samples)]


def many(engine, ctx):
    """Defines `defined` containers, starts `running` of them and asks about them."""
    defined, running = ctx.many[engine.name]
    api = engine.api()
    before = rows.settled_memory(engine)
    since = time.time()
    containers = [rows.define(api, ["/bin/sleep", "100000"]) for _ in range(defined)]
    rows.in_parallel(engine, containers[:running], lambda api, c: api.call("POST", f"/containers/{c}/start"))

    def get(url):
        return lambda: api.call("GET", url, sink=lambda _: None)

    # What one event costs those who look back: a create, start and network connect of each, as many as the engine remembers.
    history = f"/events?since={since:.9f}&until={time.time():.9f}"
    filters = quote('{"label":["none"]}')
    found = {
        "many_list": timed(get("/containers/json?all=1")),
        "many_running": timed(get("/containers/json")),
        "many_filtered": timed(get(f"/containers/json?all=1&filters={filters}")),
        "many_inspect": timed(get(f"/containers/{containers[0]}/json")),
        "many_stats": timed(get(f"/containers/{containers[0]}/stats?stream=0&one-shot=1")),
        "many_events": timed(get(history)),
        "many_df": timed(get("/system/df"), 3),
        "many_memory": (rows.settled_memory(engine) - before) / rows.MEGABYTE,
        "many_total": engine.memory() / rows.MEGABYTE,
    }
    rows.in_parallel(engine, containers, rows.remove)
    return found
