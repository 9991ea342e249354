"""Results for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from drill.runner import Result
from drill.scenario import Scenario

_COUNTS = ("messages", "accepted", "lost", "doubled", "out_of_order", "open", "held", "failed")
_HEAD = (
    "#",
    "fault",
    "database",
    "verdict",
    "msgs",
    "got",
    "lost",
    "twice",
    "disorder",
    "open",
    "held",
    "failed",
)


def listing(scenarios: Iterable[Scenario]) -> str:
    """What there is."""
    rows = [
        (str(one.number), one.name, "/".join(one.databases), one.fault, one.expected) for one in scenarios
    ]
    return _aligned(
        [("#", "name", "databases", "fault", "expected beyond nothing lost, doubled or out of order"), *rows]
    )


def table(results: Sequence[Result]) -> str:
    """One line per scenario, then what did not hold."""
    lines = [_aligned([(*_HEAD, "decided s", "total s"), *map(_row, results)])]
    for result in results:
        lines += [f"{result.fault} on {result.database}: {violation}" for violation in result.violations]
        if result.violations:
            lines.append(f"    again: {result.command}")
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    start = (str(result.number), result.fault, result.database)
    if result.skipped:
        return (*start, f"skipped: {result.skipped}")
    counts = ["-" if result.verdict is None else str(result.verdict[name]) for name in _COUNTS]
    decided = "-" if result.decided_after is None else f"{result.decided_after:.1f}"
    return (*start, "ok" if result.ok else "VIOLATED", *counts, decided, f"{result.seconds:.1f}")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    )
