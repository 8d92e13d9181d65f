"""Writes docs/api.md: `python -m conformance.table` in tests/, or `make docs-table`.

The rows are Docker's specifications, the verdicts what the tests showed (shown.txt) and what is declared (declared.py).
"""

from collections import Counter
from pathlib import Path

from conformance import shown, surface
from conformance.declared import DIFFERS, NOT_YET, REFUSED, note, verdict

PAGE = Path(__file__).parent.parent.parent / "docs/api.md"
WORKS, NOT_SHOWN = "works", "not shown"
STATES = (WORKS, REFUSED, DIFFERS, NOT_SHOWN, NOT_YET)
KIND_NAMES = {"query": "query", "filter": "filter", "header": "header", "body": "body"}
# In the order in which people look for them.
TAGS = ("Container", "Exec", "Image", "Volume", "Network", "System", "Distribution", "Session (experimental)", "Plugin",
        "Swarm", "Node", "Service", "Task", "Secret", "Config")
HEAD = """# The API, operation by operation

What of Docker's Engine API works here: each operation of version 1.35, and what later versions up to 1.51 added, with every
query parameter, filter, header and body field that Docker's specification has.

| | |
|---|---|
| works | a test that passes sends it, with a value that says something, and the request is done |
| refused as by Docker | tests send it to both engines, and both refuse it |
| differs | on purpose, as said beside it and in [differences.md](differences.md) |
| not shown | no test sends it: nothing is claimed |
| not yet | it is not there |

This page is written by `make docs-table` from what the tests did and from a list of declared differences; the tests fail when
it is not up to date. The last column names the test file in `tests/` that shows it. A field of a list's elements is written
`[]`, of a map's values `{}`.
"""


def state(line, record):
    """(verdict, remark) of an item."""
    declared, remark = verdict(line), note(line)
    if declared is not None:
        return declared.state, declared.why
    return (WORKS if line in record else NOT_SHOWN), (remark.why if remark else "")


def span(versions, all_versions):
    """When an item came and went, as far as the files tell."""
    known = [v for v in surface.specifications() if v >= surface.BASE]
    text = "" if versions[0] == known[0] else f"since {name(versions[0])}"
    if versions[-1] != known[-1] and versions[-1] != all_versions[-1]:
        text += f"{', ' if text else ''}until {name(versions[-1])}"
    return text


def name(version):
    return ".".join(map(str, version))


def operation_rows(operation, record):
    """Markdown of one operation."""
    verdict_here, why = state(operation.name, record)
    added = span(operation.versions, operation.versions)
    head = f"### {operation.name}\n\n{operation.summary.strip().rstrip('.')}{f' ({added})' if added else ''}: **{verdict_here}**"
    head += f" ({why})" if why else ""
    lines = [head + "."]
    if verdict_here == NOT_YET:
        for kind in surface.KINDS:
            names = [f"`{item}`" for k, item in operation.items if k == kind]
            if names:
                lines.append(f"Not yet, {KIND_NAMES[kind]}: {', '.join(names)}.")
        return "\n\n".join(lines)
    if operation.items:
        rows = ["| | | version | | shown by |", "|---|---|---|---|---|"]
        for (kind, item), versions in operation.items.items():
            line = surface.line(operation.name, (kind, item))
            found, why = state(line, record)
            rows.append(f"| {KIND_NAMES[kind]} | `{item}` | {span(versions, operation.versions)} | "
                        f"{found}{f': {why}' if why else ''} | {record.get(line, '') if found != NOT_YET else ''} |")
        lines.append("\n".join(rows))
    return "\n\n".join(lines)


def counts(operations, record):
    """How many operations and items have which verdict."""
    ops, items = Counter(), Counter()
    for operation in operations:
        ops[state(operation.name, record)[0]] += 1
        items.update(state(surface.line(operation.name, item), record)[0] for item in operation.items)
    return ops, items


def summary(groups, record):
    rows = ["| | operations | " + " | ".join(STATES) + " | parameters and fields | " + " | ".join(STATES) + " |",
            "|---|" + "--:|" * (2 + 2 * len(STATES))]
    total = Counter(), Counter()
    for tag, operations in groups.items():
        found = counts(operations, record)
        for sum_, part in zip(total, found):
            sum_.update(part)
        rows.append(summary_row(f"[{tag}](#{anchor(tag)})", found))
    rows.append(summary_row("all", total))
    return "\n".join(rows)


def summary_row(title, found):
    cells = [str(cell) for part in found for cell in (part.total(), *(part[s] or "" for s in STATES))]
    return f"| {title} | {' | '.join(cells)} |"


def anchor(tag):
    return tag.lower().replace(" ", "-").replace("(", "").replace(")", "")


def render(record):
    """The whole page."""
    groups = {}
    for operation in surface.surface().values():
        groups.setdefault(operation.tag, []).append(operation)
    groups = dict(sorted(groups.items(), key=lambda group: TAGS.index(group[0])))
    parts = [HEAD.strip(), summary(groups, record)]
    for tag, operations in groups.items():
        parts.append(f"## {tag}")
        parts += [operation_rows(operation, record) for operation in operations]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(shown.read()))
    print(f"wrote {PAGE}")
